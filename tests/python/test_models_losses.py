"""Every model of samples with every loss: values, flows, and the end of flows against other solvers."""

import copy
import pickle
import re

import grokflow as gf
import numpy as np
import pytest
from grokflow._backend import core
from grokflow.losses import CrossEntropy, Huber, Logistic, Loss
from reference import models as reference
from scipy.integrate import solve_ivp
from scipy.special import expit

RNG = np.random.default_rng(5)
N, P, K = 9, 3, 3
X, X_TEST = RNG.standard_normal((N, P)), RNG.standard_normal((4, P))
REAL, SIGNS = RNG.standard_normal(N), RNG.choice([-1, 1], N)
REALS, SIGNS_K = RNG.standard_normal((N, K)), RNG.choice([0, 1], (N, K))
CLASSES = np.arange(N) % K
SOFT = RNG.dirichlet(np.ones(K), N)

NETWORKS = {
    "linear": lambda space, y, **options: space.LinearRegression(X, y, **options),
    "diagonal": lambda space, y, **options: space.DiagonalLinearNetwork(X, y, **options),
    "two-layer": lambda space, y, **options: space.TwoLayerNetwork(
        X, y, width=4, output_bias=True, output_scale=0.5, **options
    ),
    "mlp": lambda space, y, **options: space.MLP(X, y, (4, 3), activation="gelu", **options),
}
SINGLE = {"huber": (Huber(delta=0.3), REAL), "logistic": ("logistic", SIGNS)}
SEVERAL = {
    "huber": (Huber(delta=0.3), REALS),
    "logistic": ("logistic", SIGNS_K),
    "classes": ("cross_entropy", CLASSES),
    "smoothed": (CrossEntropy(label_smoothing=0.2), CLASSES),
    "soft": ("cross_entropy", SOFT),
}
CASES = {f"{name}-{case}": (NETWORKS[name], *SINGLE[case]) for name in NETWORKS for case in SINGLE}
CASES |= {
    f"{name}-{case}-{K}": (NETWORKS[name], *SEVERAL[case])
    for name in ("two-layer", "mlp")
    for case in SEVERAL
}
each = pytest.mark.parametrize(("network", "loss", "y"), CASES.values(), ids=CASES)


def made(network, loss, y, **options):
    problem = network(gf.models, y, loss=loss, **options)
    return problem, problem.initial_weights(seed=1)


@each
def test_agrees_with_the_reference(network, loss, y):
    test = (X_TEST, y[:4])
    problem, w = made(network, loss, y, test=test)
    twin = network(reference, y, loss=loss, test=test)
    v = RNG.standard_normal(w.size)
    assert problem.scale == twin.scale
    assert problem.loss(w) == pytest.approx(twin.loss(w), rel=1e-13)
    assert problem.test_loss(w) == pytest.approx(twin.test_loss(w), rel=1e-13)
    np.testing.assert_allclose(problem.predict(w), twin.outputs(w).reshape(problem.shape), atol=1e-13)
    np.testing.assert_allclose(problem.gradient(w), twin.gradient(w), atol=1e-13)
    np.testing.assert_allclose(problem.hvp(w, v), twin.hvp(w, v), atol=1e-13)
    np.testing.assert_allclose(problem.hessian(w), twin.hessian(w), atol=1e-13)
    gf.check_problem(problem, w).raise_if_failed()


@each
def test_is_the_loss_on_the_outputs(network, loss, y):
    """A model with targets 0 has its outputs for residuals."""
    problem, w = made(network, loss, y)
    model = network(gf.models, np.zeros(problem.shape))
    above = gf.OutputModel(
        outputs=lambda w: model.residual(w).reshape(problem.shape),
        jvp=lambda w, v: model.jvp(w, v).reshape(problem.shape),
        vjp=lambda w, u: model.vjp(w, u.ravel()),
        gram=model.gram,
        num_params=w.size,
        shape=problem.shape,
        targets=y,
        loss=loss,
    )
    functions = ("loss", "gradient") + ("residual", "jacobian", "gram") * problem.attained
    assert problem.attained == above.attained
    for function in functions:
        ours, theirs = getattr(problem, function)(w), getattr(above, function)(w)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)


@each
def test_copies_know_their_loss(network, loss, y):
    problem, w = made(network, loss, y)
    for twin in (copy.deepcopy(problem), pickle.loads(pickle.dumps(problem))):
        assert twin.loss(w) == problem.loss(w)
        assert repr(twin) == repr(problem)
        assert twin._hash == problem._hash
    assert "loss=" in repr(problem)


def test_classes_may_be_a_column():
    flat, column = (gf.models.MLP(X, y, (3,), loss="cross_entropy") for y in (CLASSES, CLASSES[:, None]))
    w = flat.initial_weights()
    assert column.shape == (N, K)
    assert column.loss(w) == flat.loss(w)


def test_the_hash_tells_losses():
    hashes = [
        network(gf.models, REAL, loss=loss)._hash
        for network in (NETWORKS["mlp"], NETWORKS["linear"])
        for loss in ("squares", Huber(), Huber(delta=2.0))
    ]
    assert len(set(hashes)) == len(hashes)
    assert NETWORKS["mlp"](gf.models, REAL, loss="mse")._hash == NETWORKS["mlp"](gf.models, REAL)._hash


class Own(Loss):
    def value(self, outputs, targets):
        return np.sum(np.log(np.cosh(outputs[:, 0] - targets)))

    def gradient(self, outputs, targets):
        return np.tanh(outputs - targets[:, None])

    def factor(self, outputs, targets):
        r = outputs - targets[:, None]
        return np.sinh(r), 1.0 / np.cosh(r)[:, :, None]


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_a_loss_of_ones_own(network):
    problem, w = made(network, Own(), REAL)
    gf.check_problem(problem, w).raise_if_failed()
    assert problem._hash is None
    sol = gf.gradient_flow(problem, w, (0, 100), weight_decay=1e-2)
    assert sol.success, sol.message
    assert sol["train_loss"][-1] < sol["train_loss"][0]


# Flows


@each
def test_flows_agree_with_scipy(network, loss, y):
    """In kernel space, by products and by a dense Hessian."""
    problem, w0 = made(network, loss, y)
    lam, T, rtol = 1e-2, 200.0, 1e-7
    times = np.geomspace(1e-2, T, 20)

    def field(t, w):
        return -problem.gradient(w) - lam * w

    exact = solve_ivp(field, (0, T), w0, "LSODA", times, rtol=1e-11, atol=1e-12).y.T
    for curvature in ["dense", "krylov"] + ["gram"] * problem.attained:
        sol = gf.gradient_flow(
            problem, w0, (0, T), weight_decay=lam, curvature=curvature, rtol=rtol, atol=1e-10, t_eval=times
        )
        assert sol.success, sol.message
        assert np.abs(sol.w - exact).max() <= 50 * rtol * np.abs(exact).max(), curvature


@pytest.mark.slow
def test_logistic_regression_ends_at_the_minimiser_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    lam = 1e-3
    problem, w0 = made(NETWORKS["linear"], "logistic", SIGNS)
    sol = gf.gradient_flow(problem, w0, (0, 1e5), weight_decay=lam, rtol=1e-8)
    theirs = linear_model.LogisticRegression(C=1 / (N * lam), fit_intercept=False, tol=1e-12, max_iter=10000)
    np.testing.assert_allclose(sol.final, theirs.fit(X, SIGNS).coef_[0], rtol=1e-6)


@pytest.mark.slow
def test_softmax_regression_ends_at_the_minimiser_of_scikit_learn():
    """By its outputs: a linear model of several classes."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    lam = 1e-2
    problem = gf.OutputModel(
        outputs=lambda w: X @ w.reshape(K, P).T,
        jvp=lambda w, v: X @ v.reshape(K, P).T,
        vjp=lambda w, u: (u.T @ X).ravel(),
        num_params=K * P,
        shape=(N, K),
        targets=CLASSES,
        loss="cross_entropy",
    )
    sol = gf.gradient_flow(problem, np.zeros(K * P), (0, 1e4), weight_decay=lam, rtol=1e-8)
    theirs = linear_model.LogisticRegression(C=1 / (N * lam), fit_intercept=False, tol=1e-12, max_iter=10000)
    np.testing.assert_allclose(sol.final.reshape(K, P), theirs.fit(X, CLASSES).coef_, rtol=1e-5, atol=1e-7)


def test_separable_data_are_followed_into_saturation():
    """The weights grow like log t (Soudry et al., arXiv:1710.10345), with all digits of a loss of 1e-30."""
    line = gf.models.LinearRegression([[1.0], [2.0]], [1, 1], loss="logistic", scale="sum")
    sol = gf.gradient_flow(line, [0.0], (0, 1e30), weight_decay=1e-300, rtol=1e-9)
    assert sol.success, sol.message
    # dw/dt = e^-w (1 + e^-w) but for smaller terms: e^w = t + log t + ...
    assert sol.final[0] == pytest.approx(np.log(1e30), rel=1e-7)
    assert sol["train_loss"][-1] == pytest.approx(1e-30, rel=1e-5)


# Kinks


ACTIVATIONS = ["relu", "leaky_relu", "abs"]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_huber_with_kinks_is_squares_where_no_residual_is_large(activation):
    """Through the loss on top of a piece, or without one: modes, forces and landing are the same."""
    x, y = np.linspace(-1.5, 1.5, 6)[:, None], np.abs(np.linspace(-1.5, 1.5, 6))
    nets = [
        gf.models.TwoLayerNetwork(x, y, width=12, activation=activation, loss=loss)
        for loss in ("squares", Huber(delta=1e6))
    ]
    w0 = nets[0].initial_weights(std=1.0, seed=np.random.default_rng(2))
    flows = [gf.gradient_flow(net, w0, (0, 1e4), weight_decay=1e-3, rtol=1e-8) for net in nets]
    assert all(sol.success for sol in flows)
    for part in ("neuron", "sample", "kind"):
        assert list(flows[0].mode_changes[part]) == list(flows[1].mode_changes[part])
    assert len(flows[0].mode_changes) > 5
    np.testing.assert_allclose(flows[1].w, flows[0].w, atol=1e-6)
    lands = [gf.limit_map(net, w0) for net in nets]
    assert lands[0].status == lands[1].status
    np.testing.assert_allclose(lands[1].w, lands[0].w, atol=1e-6)


@pytest.mark.parametrize("loss", ["logistic", Huber(delta=0.2)], ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_kinks_are_the_limit_of_smooth_activations(activation, loss):
    """With act = s z + (1 - s) smooth_relu(z) of a width that sinks, sliding included."""
    x = np.linspace(-1.5, 1.5, 6)[:, None]
    y = np.where(np.abs(x[:, 0]) > 0.7, 1, -1)
    below = {"relu": 0.0, "leaky_relu": 0.01, "abs": -1.0}[activation]
    net = gf.models.TwoLayerNetwork(x, y, width=6, activation=activation, loss=loss)
    w0 = net.initial_weights(std=1.0, seed=np.random.default_rng(4))
    lam, T, m = 1e-2, 300.0, 6
    sol = gf.gradient_flow(net, w0, (0, T), weight_decay=lam, rtol=1e-8)
    assert sol.success, sol.message
    assert len(sol.mode_changes) > 1
    assert "split" not in sol.mode_changes["kind"]  # where more than one solution goes on

    def smoothed(eps):
        criterion, targets = net.criterion, y.astype(float)

        def field(t, w):
            u, v, b = w[:m], w[m : 2 * m], w[2 * m :]
            z = x @ v[None] + b
            slope = below + (1.0 - below) * expit(z / eps)
            act = below * z + (1.0 - below) * eps * np.logaddexp(0.0, z / eps)
            g = criterion.gradient((act @ u)[:, None], targets[:, None])[:, 0] / len(y)
            back = (g[:, None] * slope) * u
            return -np.concatenate([act.T @ g, x[:, 0] @ back, back.sum(axis=0)]) - lam * w

        return solve_ivp(field, (0, T), w0, "LSODA", rtol=1e-9, atol=1e-10).y[:, -1]

    errors = [np.abs(smoothed(eps) - sol.final).max() for eps in (1e-2, 1e-3)]
    assert errors[1] < 1e-2
    assert errors[1] < 0.2 * errors[0]  # of first order in the width


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_drift_with_kinks_and_a_loss(activation):
    x, y = np.linspace(-1.5, 1.5, 4)[:, None], np.array([1.0, -0.5, 0.3, 1.2])
    nets = [
        gf.models.TwoLayerNetwork(x, y, width=12, activation=activation, loss=loss)
        for loss in ("squares", Huber(delta=1e6), Own())
    ]
    w0 = nets[0].initial_weights(std=1.0, seed=np.random.default_rng(2))
    start = gf.limit_map(nets[0], w0)
    assert start.status == "landed"
    drifts = [gf.norm_flow(net, start.w, (0, 1), rtol=1e-8) for net in nets]
    for drift in drifts[1:]:  # the manifold of minimisers is one and the same
        np.testing.assert_allclose(drift.final, drifts[0].final, atol=1e-6)


# The limit


def test_smoothed_labels_have_a_limit():
    problem = gf.models.MLP(X, CLASSES, (20,), loss=CrossEntropy(label_smoothing=0.2))
    landing = gf.limit_map(problem, problem.initial_weights(seed=1))
    assert landing.status == "landed", landing.message
    p = np.exp(problem.predict(landing.w))
    q = 0.8 * np.eye(K)[CLASSES] + 0.2 / K
    np.testing.assert_allclose(p / p.sum(axis=1, keepdims=True), q, atol=1e-12)
    slow = gf.norm_flow(problem, landing.w, (0, 1))
    assert slow.success, slow.message
    p = np.exp(problem.predict(slow.final))
    np.testing.assert_allclose(p / p.sum(axis=1, keepdims=True), q, atol=1e-10)


def test_the_loss_of_the_slow_phase_is_predicted():
    """To first order in lam, above the entropy of the labels."""
    problem = gf.models.MLP(X, CLASSES, (20,), loss=CrossEntropy(label_smoothing=0.2))
    phases = gf.two_phase(problem, problem.initial_weights(seed=1), [1e-4], s_end=1.0)
    least = problem.loss(phases.landing.w)
    q = np.sort(0.8 * np.eye(K)[0] + 0.2 / K)
    assert least == pytest.approx(-q @ np.log(q), rel=1e-12)
    flow = phases.flows[1e-4]
    assert phases.predicted_loss(1e-4)[-1] - least == pytest.approx(flow["train_loss"][-1] - least, rel=0.05)


def test_the_trace_of_the_hessian_is_known_for_squares_only():
    calls = []

    def model(loss):
        return gf.OutputModel(
            outputs=lambda w: calls.append(w) or X @ w.reshape(P, K),
            jvp=lambda w, v: X @ v.reshape(P, K),
            vjp=lambda w, u: (X.T @ u).ravel(),
            num_params=P * K,
            shape=(N, K),
            targets=np.eye(K)[CLASSES],
            loss=loss,
        )

    problem = model(CrossEntropy(label_smoothing=0.2))
    with pytest.raises(ValueError, match="known for the squared loss only; give a Regularizer of your own"):
        gf.norm_flow(problem, np.ones(P * K), (0, 1), regularizer="hessian_trace")
    assert not calls
    squares = model("squares")
    value, gradient = core.hessian_trace(squares._core).evaluate(np.ones(P * K))
    assert value == pytest.approx(squares.scale * K * np.sum(X**2))
    assert np.abs(gradient).max() < 1e-6


# Runs that go on


@pytest.mark.parametrize("loss", ["cross_entropy", CrossEntropy(label_smoothing=0.2), "mse"], ids=str)
def test_a_checkpoint_holds_the_loss(tmp_path, loss):
    path = tmp_path / "run.ckpt"
    y = REALS if loss == "mse" else CLASSES
    problem, w0 = made(NETWORKS["mlp"], loss, y)
    options = {"w0": w0, "t_span": (0, 100), "weight_decay": 1e-3}
    whole = gf.gradient_flow(problem, **options)
    gf.gradient_flow(problem, **options, checkpoint=path, max_steps=30)
    rest = gf.resume(path, max_steps=10**6)
    np.testing.assert_array_equal(rest.w, whole.w)
    assert rest.settings["problem_hash"] == whole.settings["problem_hash"]


def test_a_checkpoint_asks_for_a_loss_of_ones_own(tmp_path):
    path = tmp_path / "run.ckpt"
    problem, w0 = made(NETWORKS["linear"], Own(), REAL)
    options = {"w0": w0, "t_span": (0, 100), "weight_decay": 1e-3}
    whole = gf.gradient_flow(problem, **options)
    gf.gradient_flow(problem, **options, checkpoint=path, max_steps=30)
    with pytest.raises(ValueError, match="Own"):
        gf.resume(path, max_steps=10**6)
    np.testing.assert_array_equal(gf.resume(path, problem, max_steps=10**6).w, whole.w)


# What is refused


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (
            lambda m: m.MLP(X, CLASSES, (3,), loss="hinge"),
            ValueError,
            "loss is 'hinge'; choose from 'squares'",
        ),
        (lambda m: m.MLP(X, CLASSES - 1, (3,), loss="cross_entropy"), ValueError, "y[0] is class -1"),
        (
            lambda m: m.MLP(X, 1.0 * CLASSES, (3,), loss="cross_entropy"),
            TypeError,
            "classes must be integers",
        ),
        (lambda m: m.MLP(X, 1.1 * SOFT, (3,), loss="cross_entropy"), ValueError, "y[0] sums to 1.1"),
        (lambda m: m.MLP(X, -SOFT, (3,), loss="cross_entropy"), ValueError, "must not be negative"),
        (
            lambda m: m.MLP(X, CLASSES, (3,), loss="cross_entropy", test=(X_TEST, [0, 1, 2, 3])),
            ValueError,
            "test y[3] is class 3; there are 3 outputs",
        ),
        (lambda m: m.MLP(X, 0 * CLASSES, (3,), loss="cross_entropy"), ValueError, "take loss='logistic'"),
        (lambda m: m.MLP(X, REALS, (3,), loss="logistic"), ValueError, "a label is 1 or -1, or 1 or 0"),
        (lambda m: m.MLP(X, np.full(N, np.nan), (3,), loss="huber"), ValueError, "y[0] is nan"),
        (lambda m: m.MLP(X, CLASSES[:4], (3,), loss="cross_entropy"), ValueError, "y has shape (4,)"),
        (lambda m: m.MLP(X, REAL[:4], (3,), loss=Own()), ValueError, "y has shape (4,); there must be 9"),
        (
            lambda m: m.LinearRegression(X, CLASSES, loss="cross_entropy"),
            ValueError,
            "loss='logistic'",
        ),
        (lambda m: m.LinearRegression(X, REALS, loss="huber"), ValueError, "the outputs have (9,)"),
        (lambda m: m.LinearRegression(X, REAL, loss=Logistic), TypeError, "loss is <class"),
    ],
)
def test_misuse_is_told(build, error, words):
    with pytest.raises(error, match=re.escape(words)):
        build(gf.models)
