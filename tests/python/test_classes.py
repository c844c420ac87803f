"""Accuracy and margin by name, and losses whose labels are certain: no minimiser, no limit."""

import grokflow as gf
import numpy as np
import pytest
from reference.outputs import OutputModel as Reference
from scipy.optimize import linprog

RNG = np.random.default_rng(0)
N, P, K = 12, 4, 3
X, X_TEST = RNG.standard_normal((N, P)), RNG.standard_normal((7, P))
W_TRUE = RNG.standard_normal((P, K))
CLASSES, CLASSES_TEST = (X @ W_TRUE).argmax(axis=1), (X_TEST @ W_TRUE).argmax(axis=1)


def linear(loss, targets, targets_test, k=K, inputs=X):
    """A linear model of k outputs, as keywords of `OutputModel`."""
    shape = (N, k) if k > 1 else (N,)
    functions = {
        "outputs": lambda w: (inputs @ w.reshape(P, k)).reshape(shape),
        "jvp": lambda w, v: (inputs @ v.reshape(P, k)).reshape(shape),
        "vjp": lambda w, u: (inputs.T @ u.reshape(N, k)).ravel(),
        "test": (lambda w: (X_TEST @ w.reshape(P, k)).reshape((-1, *shape[1:])), targets_test),
    }
    return functions | {"num_params": P * k, "shape": shape, "targets": targets, "loss": loss}


def signs(classes):
    return np.where(classes == 0, 1.0, -1.0)


CASES = {
    "classes": linear("cross_entropy", CLASSES, CLASSES_TEST),
    "probabilities": linear("cross_entropy", 0.7 * np.eye(K)[CLASSES] + 0.1, np.eye(K)[CLASSES_TEST]),
    "codes": linear("squares", np.eye(K)[CLASSES], np.eye(K)[CLASSES_TEST]),
    "signs": linear("logistic", signs(CLASSES), signs(CLASSES_TEST), k=1),
    "zeros": linear("logistic", (CLASSES == 0) * 1.0, (CLASSES_TEST == 0) * 1.0, k=1),
}


@pytest.mark.parametrize("name", CASES)
def test_quantities_are_those_of_the_definition(name):
    ours, twin = gf.OutputModel(**CASES[name]), Reference(**CASES[name])
    for w in RNG.standard_normal((5, ours.num_params)):
        for quantity in ("train_accuracy", "test_accuracy", "margin"):
            assert ours.quantity(quantity, w) == pytest.approx(twin.quantity(quantity, w), abs=1e-14)


def test_where_there_are_no_classes_there_is_no_accuracy():
    ours = gf.OutputModel(**linear("squares", RNG.standard_normal((N, K)), RNG.standard_normal((7, K))))
    assert not {"train_accuracy", "margin"} & set(ours.quantities)
    with pytest.raises(ValueError, match="unknown observable 'margin'"):
        gf.gradient_flow(ours, np.zeros(P * K), (0, 1), weight_decay=0.1, observe=["margin"])


def test_a_flow_observes_them():
    """By default; and the margin of separable data turns positive where the last sample is learned."""
    ours = gf.OutputModel(**CASES["classes"])
    sol = gf.gradient_flow(ours, 0.01 * np.ones(P * K), (0, 1e5), weight_decay=1e-4, save_states=True)
    names = ("train_accuracy", "test_accuracy", "margin")
    assert set(names) <= set(sol.observed)
    for i in (0, len(sol.t) // 2, -1):
        assert [sol[name][i] for name in names] == [ours.quantity(name, sol.w[i]) for name in names]
    assert ((sol["margin"] > 0) == (sol["train_accuracy"] == 1.0)).all()
    assert sol["train_accuracy"][-1] == 1.0
    assert sol.settings["observe"]["margin"] == "margin"


@pytest.mark.parametrize("name", ["classes", "signs"])
def test_a_loss_of_certain_labels_has_no_limit(name):
    """Said once the loss is below c log 2, and not where the weights have run away for ever."""
    ours = gf.OutputModel(**CASES[name])
    landing = gf.limit_map(ours, np.zeros(ours.num_params) + 0.1)
    assert landing.status == landing.path.status == "no_minimiser"
    assert landing.t < 1e4
    assert landing.loss < ours.scale * np.log(2.0)
    assert ours.quantity("margin", landing.w) > 0
    assert "smallest margin" in landing.message
    assert "label_smoothing" in landing.message


def test_doubt_gives_it_one():
    ours = gf.OutputModel(**CASES["classes"] | {"loss": gf.losses.CrossEntropy(label_smoothing=0.1)})
    landing = gf.limit_map(ours, np.zeros(ours.num_params) + 0.1)
    assert landing.success, landing.message
    assert np.linalg.norm(ours.gradient(landing.w)) < 1e-10


def test_data_that_are_not_separable_have_one_too():
    """Each input once with each class: all outputs are equal there, and F = log k."""
    inputs, targets = np.repeat(np.eye(P), K, axis=0), np.tile(np.arange(K), P)
    ours = gf.OutputModel(**linear("cross_entropy", targets, CLASSES_TEST, inputs=inputs))
    landing = gf.limit_map(ours, np.arange(P * K) / (P * K))
    assert landing.success, landing.message
    assert landing.loss == pytest.approx(np.log(K), rel=1e-12)
    assert ours.quantity("margin", landing.w) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("loss", ["logistic", "cross_entropy"])
def test_one_sample_with_both_labels_holds_the_loss_up_and_not_the_weights(loss):
    """F stays above c log 2, and the weights of the others run away until their part of it is round-off."""
    inputs = np.diag([1.0, 3.0, 0.1, 0.5])[[0, 1, 3] * 3 + [2, 2, 0]]
    classes = np.array([0, 1, 0] * 3 + [0, 1, 0])
    single = loss == "logistic"
    targets = signs(classes) if single else classes
    ours = gf.OutputModel(**linear(loss, targets, targets[:7], k=1 if single else 2, inputs=inputs))
    landing = gf.limit_map(ours, np.full(ours.num_params, 0.1), rtol=1e-4)
    assert landing.status == "no_minimiser", landing.message
    floor = ours.scale * 2 * np.log(2.0)
    assert floor < landing.loss < 1.001 * floor
    assert "that the others do not feel" in landing.message
    assert landing.t < 1e9


def is_separable(rows):
    """Whether ``rows @ v >= 0`` with one of them positive for some v, by linear programming."""
    n, d = rows.shape
    gains = linprog(
        np.repeat([0.0, -1.0], [d, n]),
        A_ub=np.hstack([-rows, np.eye(n)]),
        b_ub=np.zeros(n),
        bounds=[(None, None)] * d + [(0.0, 1.0)] * n,
    )
    return -gains.fun > 1e-6


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("k", [1, 3])
def test_there_is_a_minimiser_unless_a_hyperplane_parts_some_and_errs_in_none(k, seed):
    """Inputs on a lattice lie on such hyperplanes with all of their labels."""
    rng = np.random.default_rng(seed)
    inputs = np.hstack([rng.integers(-1, 2, (N, P - 1)), np.ones((N, 1))])
    chance = rng.integers(0, max(k, 2), N)
    classes = np.where((inputs[:, 0] > 0) | (rng.random(N) < 0.2), chance, 0) if seed % 3 else chance
    if k == 1:
        rows = signs(classes)[:, None] * inputs
    else:
        others = classes[:, None] != np.arange(k)
        rows = np.einsum("np,njk->njpk", inputs, np.eye(k)[classes][:, None] - np.eye(k))[others].reshape(
            -1, P * k
        )
    targets = signs(classes) if k == 1 else classes
    loss = "logistic" if k == 1 else "cross_entropy"
    ours = gf.OutputModel(**linear(loss, targets, targets[:7], k=k, inputs=inputs))
    landing = gf.limit_map(ours, 0.01 * rng.standard_normal(ours.num_params))
    assert landing.status == ("no_minimiser" if is_separable(rows) else "landed"), landing.message
    assert landing.t < 1e12


@pytest.mark.parametrize("width", [8, 30])
def test_networks_run_away_from_samples_with_two_labels(width):
    rng = np.random.default_rng(width)
    inputs, classes = rng.standard_normal((12, 3)), np.arange(12) % 3
    both, labels = np.vstack([inputs, inputs[:2]]), np.append(classes, [1, 2])
    ours = gf.models.MLP(both, labels, (width,), loss="cross_entropy")
    landing = gf.limit_map(ours, ours.initial_weights(seed=0))
    assert landing.status == "no_minimiser", landing.message
    assert landing.t < 1e9


@pytest.mark.parametrize("factor", [3.0, 0.5])
def test_so_do_multiples_of_outputs(factor):
    """One sample with both labels, and one that has its own."""
    ours = gf.models.LinearRegression([[1.0, 0.0], [1.0, 0.0], [0.5, 1.0]], [1, -1, 1], loss="logistic")
    landing = gf.limit_map(gf.models.Centred(ours, np.zeros(2), alpha=factor), np.zeros(2))
    assert landing.status == "no_minimiser", landing.message
    assert landing.t < 1e9


@pytest.mark.parametrize("far", [5.0, 16.0, 1e3])
def test_a_sample_far_on_its_side_does_not_take_the_minimiser_away(far):
    """Its own part of the gradient is round-off too, but the others hold the weights."""
    x, y = np.array([-1.0, 0.2, -0.2, 1.0, far]), np.array([1, 1, -1, -1, -1])
    ours = gf.models.LinearRegression(x[:, None], y, loss="logistic")
    landing = gf.limit_map(ours, [0.1])
    assert landing.success, landing.message


def test_no_drift_is_asked_of_it():
    calls = []
    case = CASES["classes"]
    counted = {**case, "outputs": lambda w: calls.append(1) or case["outputs"](w)}
    ours = gf.OutputModel(**counted)
    calls.clear()
    for run in (
        lambda: gf.norm_flow(ours, np.ones(P * K), (0, 1)),
        lambda: gf.two_phase(ours, np.ones(P * K), [1e-2]),
        lambda: gf.tangent_projection(ours, np.ones(P * K), np.ones(P * K)),
        lambda: gf.minimum_norm(ours, np.ones(P * K)),
    ):
        with pytest.raises(ValueError, match=r"no minimiser at finite weights.*label_smoothing"):
            run()
    assert not calls


def test_grokking_times_by_accuracy():
    """The share of wrong answers takes the place of the loss."""
    ours = gf.OutputModel(**CASES["codes"])
    phases = gf.two_phase(ours, 0.3 * RNG.standard_normal(P * K), [1e-2, 1e-3], rtol=1e-4)
    for lam, times in phases.grokking_times(0.1, 0.3, by="accuracy").items():
        sol = phases.flows[lam]
        for name, tol, found in (("train", 0.1, times.train), ("test", 0.3, times.test)):
            wrong = 1.0 - sol[f"{name}_accuracy"]
            last = np.flatnonzero(wrong >= tol)
            if np.isnan(found):
                assert wrong[-1] >= tol
            elif last.size:
                assert sol.t[last[-1]] <= found <= sol.t[last[-1] + 1]
    with pytest.raises(ValueError, match=r"by is 'losses'.*observed were .*'margin'"):
        phases.grokking_times(0.1, 0.3, by="losses")


@pytest.mark.parametrize(
    ("make", "degree"),
    [
        (lambda y: gf.models.LinearRegression(X, y, loss="logistic"), 1),
        (lambda y: gf.models.DiagonalLinearNetwork(X, y, loss="logistic"), 2),
        (lambda y: gf.models.TwoLayerNetwork(X, y, width=4, activation="relu", loss="logistic"), 2),
        (lambda y: gf.models.TwoLayerNetwork(X, y, width=4, activation="quadratic", loss="logistic"), 3),
        (lambda y: gf.models.TwoLayerNetwork(X, y, width=4, loss="logistic"), 0),
        (lambda y: gf.models.MLP(X, y, (4, 4), activation="identity", bias=False, loss="logistic"), 3),
        (lambda y: gf.models.MLP(X, y, (4, 4), loss="logistic"), 0),
        (
            lambda y: gf.models.MLP(
                X, y, (4, 4), activation="relu", bias=(True, False, False), loss="logistic"
            ),
            3,
        ),
        (lambda y: gf.models.MLP(X, y, (4, 4), activation="relu", loss="logistic"), 0),
        (lambda y: gf.models.MLP(X, y, (4, 4), activation="quadratic", bias=False, loss="logistic"), 7),
    ],
    ids=[
        "linear",
        "diagonal",
        "relu",
        "quadratic",
        "tanh",
        "deep linear",
        "deep tanh",
        "deep relu",
        "biased",
        "deep quadratic",
    ],
)
def test_the_margin_of_a_homogeneous_model_is_one_of_directions(make, degree):
    problem = make(signs(CLASSES))
    w = RNG.standard_normal(problem.num_params)
    margin, plain = problem.quantity("margin", w), (signs(CLASSES) * problem.predict(w)).min()
    assert margin == pytest.approx(plain / np.linalg.norm(w) ** degree, rel=1e-12)
    if degree:
        assert problem.quantity("margin", 3.0 * w) == pytest.approx(margin, rel=1e-12)


def test_a_network_on_codes_and_on_classes():
    codes = np.eye(K)[CLASSES]
    squares = gf.models.MLP(X, codes, (5,), test=(X_TEST, np.eye(K)[CLASSES_TEST]))
    entropy = gf.models.MLP(X, CLASSES, (5,), loss="cross_entropy", test=(X_TEST, CLASSES_TEST))
    w = squares.initial_weights(seed=0)
    for name in ("train_accuracy", "test_accuracy", "margin"):
        assert squares.quantity(name, w) == entropy.quantity(name, w)
    assert squares.quantity("train_accuracy", w) == np.mean(squares.predict(w).argmax(axis=1) == CLASSES)
