"""Models given by their outputs, with every loss: derivatives, and flows against SciPy."""

import copy
import gc
import pickle
import re
import weakref

import grokflow as gf
import numpy as np
import pytest
from grokflow.callbacks import CallbackError
from grokflow.losses import CrossEntropy, Huber, Logistic, Loss, Squares
from reference.outputs import OutputModel as Reference
from scipy.integrate import solve_ivp

RNG = np.random.default_rng(3)
N, P, H, K = 8, 3, 4, 3
X = RNG.standard_normal((N, P))
X_TEST = RNG.standard_normal((5, P))
D = H * P + K * H
W, V, U = RNG.standard_normal(D), RNG.standard_normal(D), RNG.standard_normal((N, K))
CLASSES = RNG.integers(0, K, N)


# A network with one hidden layer, f = tanh(X A^T) C^T, w = [A, C].
def layers(w):
    return w[: H * P].reshape(H, P), w[H * P :].reshape(K, H)


def outputs(w, inputs=X):
    A, C = layers(w)
    return np.tanh(inputs @ A.T) @ C.T


def test_outputs(w):
    return outputs(w, X_TEST)


test_outputs.__test__ = False  # no test


def jvp(w, v):
    (A, C), (dA, dC) = layers(w), layers(v)
    a = np.tanh(X @ A.T)
    return ((1 - a**2) * (X @ dA.T)) @ C.T + a @ dC.T


def vjp(w, u):
    A, C = layers(w)
    a = np.tanh(X @ A.T)
    return np.concatenate([(((u @ C) * (1 - a**2)).T @ X).ravel(), (u.T @ a).ravel()])


def gram(w):
    J = np.array([vjp(w, e.reshape(N, K)) for e in np.eye(N * K)])
    return J @ J.T


def linearize(w):
    return outputs(w), {"w": w}


class LogCosh(Loss):
    """A loss of one's own."""

    def value(self, outputs, targets):
        return np.sum(np.log(np.cosh(outputs - targets)))

    def gradient(self, outputs, targets):
        return np.tanh(outputs - targets)

    def factor(self, outputs, targets):
        B = np.zeros((*outputs.shape, outputs.shape[1]))
        B[:, range(K), range(K)] = 1.0 / np.cosh(outputs - targets)
        return np.sinh(outputs - targets), B


REAL = RNG.standard_normal((N, K))
CASES = {
    "squares": (Squares(), REAL),
    "huber": (Huber(delta=0.5), REAL),
    "smoothed": (CrossEntropy(label_smoothing=0.1), CLASSES),
    "soft": (CrossEntropy(), RNG.dirichlet(np.ones(K), N)),
    "classes": (CrossEntropy(), CLASSES),
    "logistic": (Logistic(), RNG.choice([-1, 1], (N, K))),
}
each = pytest.mark.parametrize(("loss", "targets"), CASES.values(), ids=CASES)
attained = pytest.mark.parametrize(
    ("loss", "targets"), [c for n, c in CASES.items() if n not in ("classes", "logistic")]
)


def model(loss, targets, kind=gf.OutputModel, **options):
    return kind(
        outputs=outputs,
        jvp=jvp,
        vjp=vjp,
        num_params=D,
        shape=(N, K),
        targets=targets,
        loss=loss,
        **options,
    )


# Values


@each
def test_agrees_with_the_reference(loss, targets):
    test = (test_outputs, targets[:5])
    ours, theirs = (model(loss, targets, kind, test=test) for kind in (gf.OutputModel, Reference))
    assert ours.scale == theirs.scale
    assert ours.loss(W) == pytest.approx(theirs.loss(W), rel=1e-13)
    assert ours.quantity("test_loss", W) == pytest.approx(theirs.quantity("test_loss", W), rel=1e-13)
    np.testing.assert_allclose(ours.gradient(W), theirs.gradient(W), atol=1e-14)
    np.testing.assert_array_equal(ours.outputs(W), outputs(W))
    np.testing.assert_array_equal(ours.test_outputs(W), test_outputs(W))
    np.testing.assert_allclose(ours.hvp(W, V), theirs.hvp(W, V), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.hessian(W), theirs.hessian(W), rtol=1e-5, atol=1e-6)


@attained
def test_pseudo_residuals_make_it_a_sum_of_squares(loss, targets):
    """To first order, and by kernels; what does not depend on the choice of B is the same."""
    ours, theirs = model(loss, targets, gram=gram), model(loss, targets, Reference)
    assert ours.attained
    assert ours.num_residuals == theirs.residual(W).size
    np.testing.assert_allclose(ours.scale * ours.vjp(W, ours.residual(W)), ours.gradient(W), atol=1e-14)
    J = ours.jacobian(W)
    np.testing.assert_allclose(J.T @ J, theirs.jacobian(W).T @ theirs.jacobian(W), atol=1e-12)
    np.testing.assert_allclose(J @ V, ours.jvp(W, V), atol=1e-13)
    np.testing.assert_allclose(ours.gram(W), J @ J.T, atol=1e-12)
    np.testing.assert_array_equal(ours.gram(W), ours.gram(W).T)
    np.testing.assert_allclose(model(loss, targets).gram(W), ours.gram(W), atol=1e-12)  # by products


@pytest.mark.parametrize("name", ["classes", "logistic"])
def test_labels_that_are_certain_leave_no_residuals(name):
    problem = model(*CASES[name])
    assert not problem.attained
    assert problem.num_residuals == 0
    with pytest.raises(TypeError, match="no residuals, hence no gram"):
        problem.gram(W)


def test_squares_are_least_squares():
    own = gf.LeastSquares(
        residual=lambda w: (outputs(w) - REAL).ravel(),
        jvp=lambda w, v: jvp(w, v).ravel(),
        vjp=lambda w, u: vjp(w, u.reshape(N, K)),
        num_params=D,
        num_residuals=N * K,
    )
    ours = model("mse", REAL)
    for function in ("loss", "gradient", "residual", "gram"):
        np.testing.assert_allclose(getattr(ours, function)(W), getattr(own, function)(W), rtol=1e-13)


def test_a_loss_of_ones_own():
    problem = model(LogCosh(), REAL)
    assert problem.scale == 1 / N
    assert problem.loss(W) == pytest.approx(np.log(np.cosh(outputs(W) - REAL)).sum() / N, rel=1e-13)
    np.testing.assert_allclose(
        problem.scale * problem.vjp(W, problem.residual(W)), problem.gradient(W), atol=1e-14
    )
    slope = (problem.gradient(W + 1e-6 * V) - problem.gradient(W - 1e-6 * V)) / 2e-6
    np.testing.assert_allclose(problem.hvp(W, V), slope, atol=1e-6)


@each
def test_the_state_of_a_point_takes_its_place(loss, targets):
    seen = []

    def from_state(function):
        def called(state, *arguments):
            seen.append(state)
            return function(state["w"], *arguments)

        return called

    plain = model(loss, targets)
    kept = gf.OutputModel(
        outputs=outputs,
        linearize=linearize,
        jvp=from_state(jvp),
        vjp=from_state(vjp),
        hvp=from_state(plain.hvp),
        num_params=D,
        shape=(N, K),
        targets=targets,
        loss=loss,
    )
    np.testing.assert_allclose(kept.gradient(W), plain.gradient(W), atol=1e-15)
    np.testing.assert_allclose(kept.hvp(W, V), plain.hvp(W, V), atol=1e-15)
    assert all(isinstance(state, dict) for state in seen)
    assert len(seen) == 2


def test_outputs_may_be_a_vector():
    y = np.where(CLASSES > 0, 1, 0)
    problem = gf.OutputModel(
        outputs=lambda w: outputs(w)[:, 0],
        jvp=lambda w, v: jvp(w, v)[:, 0],
        vjp=lambda w, u: vjp(w, np.column_stack([u, np.zeros((N, K - 1))])),
        num_params=D,
        shape=(N,),
        targets=y,
        loss="logistic",
    )
    assert problem.outputs(W).shape == (N,)
    value = np.mean(np.logaddexp(0.0, -np.where(y > 0, 1, -1) * outputs(W)[:, 0]))
    assert problem.loss(W) == pytest.approx(value, rel=1e-13)


@each
def test_copies_and_pickles(loss, targets):
    problem = model(loss, targets, linearize=None, parameters={"A": (H, P), "C": (K, H)})
    for twin in (copy.deepcopy(problem), pickle.loads(pickle.dumps(problem))):
        assert twin.loss(W) == problem.loss(W)
        assert twin.blocks == problem.blocks
        np.testing.assert_array_equal(twin.gradient(W), problem.gradient(W))


def test_a_cycle_through_functions_and_loss_is_collected():
    class Own(LogCosh):
        def __init__(self):
            self.problem = gf.OutputModel(
                outputs=self.outputs, jvp=jvp, vjp=vjp, num_params=D, shape=(N, K), targets=REAL, loss=self
            )

        def outputs(self, w):
            return outputs(w)

    own = Own()
    own.problem.gradient(W)
    alive = weakref.ref(own)
    del own
    gc.collect()
    assert alive() is None


# Their check


@each
def test_what_is_right_passes(loss, targets):
    gf.check_problem(model(loss, targets, gram=gram)).raise_if_failed()


def test_what_is_wrong_is_named():
    def failures(loss=None, **change):
        functions = {"outputs": outputs, "jvp": jvp, "vjp": vjp, "num_params": D, "shape": (N, K)}
        problem = gf.OutputModel(**{**functions, "targets": REAL, "loss": loss or LogCosh(), **change})
        return [failure.function for failure in gf.check_problem(problem).failures]

    class Slope(LogCosh):
        def gradient(self, outputs, targets):
            return 2.0 * super().gradient(outputs, targets)

    class Factor(LogCosh):
        def factor(self, outputs, targets):
            rho, B = super().factor(outputs, targets)
            return rho / 2.0, 2.0 * B

    right = model(LogCosh(), REAL)
    assert failures() == []
    assert failures(jvp=lambda w, v: 2.0 * jvp(w, v)) == ["jvp"]
    assert failures(vjp=lambda w, u: 2.0 * vjp(w, u)) == ["vjp"]
    assert failures(gram=lambda w: 2.0 * gram(w)) == ["gram"]
    assert failures(hvp=lambda w, v: 2.0 * right.hvp(w, v)) == ["hvp"]
    assert failures(Slope()) == ["loss.gradient"]
    assert failures(Factor()) == ["loss.factor"]


# Flows


@each
def test_flows_agree_with_scipy(loss, targets):
    problem = model(loss, targets)
    lam, T, rtol = 1e-2, 200.0, 1e-7
    t_eval = np.geomspace(1e-2, T, 30)
    exact = solve_ivp(
        lambda t, w: -problem.gradient(w) - lam * w, (0, T), W, "LSODA", t_eval, rtol=1e-11, atol=1e-12
    )
    for curvature in ["dense", "krylov"] + ["gram"] * problem.attained:
        sol = gf.gradient_flow(
            problem, W, (0, T), weight_decay=lam, curvature=curvature, rtol=rtol, atol=1e-10, t_eval=t_eval
        )
        assert sol.success, sol.message
        assert np.abs(sol.w - exact.y.T).max() <= 50 * rtol * np.abs(exact.y).max(), curvature


# What is refused


def test_wrong_outputs_are_told():
    good = {
        "jvp": jvp,
        "vjp": vjp,
        "num_params": D,
        "shape": (N, K),
        "targets": CLASSES,
        "loss": "cross_entropy",
    }
    bad = gf.OutputModel(outputs=lambda w: outputs(w).T, **good)
    with pytest.raises(
        CallbackError, match=re.escape("outputs returned shape (3, 8), expected shape (8, 3)")
    ):
        bad.gradient(W)
    bad = gf.OutputModel(outputs=outputs, linearize=lambda w: outputs(w), **good)
    with pytest.raises(CallbackError, match="linearize returned a ndarray, expected a pair"):
        bad.gradient(W)


def test_a_factor_of_the_wrong_shape_is_told():
    class Wrong(LogCosh):
        def factor(self, outputs, targets):
            return outputs, np.ones(3)

    class Single(LogCosh):
        def factor(self, outputs, targets):
            return np.ones((8, 3, 3))

    with pytest.raises(ValueError, match=re.escape("Wrong.factor returned shapes (8, 3) and (3,)")):
        model(Wrong(), REAL)
    with pytest.raises(ValueError, match=r"Single\.factor must return two arrays, rho and B"):
        model(Single(), REAL)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"shape": 8}, ValueError, "shape is 8; it must be (n,) or (n, k)"),
        ({"shape": (0, 3)}, ValueError, "shape[0] is 0"),
        ({"shape": (N,), "loss": "cross_entropy"}, ValueError, "take loss='logistic'"),
        ({"outputs": None}, TypeError, "outputs is missing; give outputs(w) -> (n, k)"),
        ({"jvp": None}, TypeError, "jvp is missing"),
        ({"test": outputs}, ValueError, "test must be a tuple (outputs, targets)"),
        ({"test": (outputs, [0, 9]), "loss": "cross_entropy"}, ValueError, "test targets[1] is class 9"),
        ({"scale": "max"}, ValueError, "scale is 'max'"),
    ],
)
def test_misuse_is_told(change, error, words):
    good = {"outputs": outputs, "jvp": jvp, "vjp": vjp, "num_params": D, "shape": (N, K), "targets": CLASSES}
    with pytest.raises(error, match=re.escape(words)):
        gf.OutputModel(**{**good, "loss": "cross_entropy", **change})
