"""Laws of the models that theory uses: what they conserve, what they end at, which of them are the same."""

import grokflow as gf
import numpy as np
import pytest
from descent import errors_of_descent
from grokflow import models
from reference import models as twins
from reference import theory

rng = np.random.default_rng(0)
X, Y = rng.standard_normal((6, 8)), rng.standard_normal(6)
ENTRIES = [0, 0, 1, 2, 3, 4], [1, 3, 0, 2, 3, 1], rng.standard_normal(6)
LAM = 1e-2
TIMES = np.array([0.0, 1.0, 10.0, 100.0])


def flow(problem, w0, lam=LAM, **options):
    sol = gf.gradient_flow(problem, w0, (0, 100), weight_decay=lam, rtol=1e-9, t_eval=TIMES, **options)
    assert sol.success, sol.message
    return sol


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_differences_of_squares_in_a_product_decay(depth):
    """``u_l^2 - u_m^2`` is conserved without decay, and falls as exp(-2 lam t) with it."""
    net = models.DeepDiagonalNetwork(X, Y, depth=depth, form="product")
    w0 = net.initial_weights(0.7, seed=1)
    for sol, lam in ((flow(net, w0), LAM), (flow(net, w0, 0.0), 0.0)):
        squares = sol.w.reshape(len(TIMES), depth, -1) ** 2
        apart = squares[:, 1:] - squares[:, :1]
        expected = np.exp(-2 * lam * TIMES)[:, None, None] * apart[0]
        np.testing.assert_allclose(apart, expected, atol=1e-6)


def test_products_in_a_difference_of_squares_decay():
    net = models.DeepDiagonalNetwork(X, Y, depth=2)
    sol = flow(net, net.initial_weights(0.7, seed=1))
    u, v = sol.w[:, :8], sol.w[:, 8:]
    np.testing.assert_allclose(u * v, np.exp(-2 * LAM * TIMES)[:, None] * (u * v)[0], atol=1e-6)


def test_a_product_of_two_is_the_diagonal_network():
    deep, plain = (
        models.DeepDiagonalNetwork(X, Y, depth=2, form="product"),
        models.DiagonalLinearNetwork(X, Y),
    )
    w0 = plain.initial_weights(seed=2)
    np.testing.assert_allclose(flow(deep, w0).w, flow(plain, w0).w, atol=1e-7)


def test_deeper_networks_end_sparser():
    """From small weights, without decay, and much sparser than the minimum-norm solution."""
    truth = np.r_[2.0, -1.5, np.zeros(18)]
    A = np.random.default_rng(3).standard_normal((9, 20))
    sizes = []
    for depth, alpha in ((2, 1e-3), (3, 3e-2)):
        net = models.DeepDiagonalNetwork(A, A @ truth, depth=depth)
        end = gf.limit_map(net, net.initial_weights(init="constant", scale=alpha))
        assert end.success, end.message
        sizes.append(np.abs(net.quantity("coefficients", end.w) - truth).sum())
    least_squares = np.abs(np.linalg.pinv(A) @ A @ truth - truth).sum()
    assert max(sizes) < 0.05 * least_squares


@pytest.mark.parametrize(
    "net",
    [
        models.DeepLinearNetwork(X, np.c_[Y, -Y, Y**2], (4, 5)),
        models.DeepMatrixCompletion(*ENTRIES, shape=(5, 4), widths=(3, 6)),
        models.DeepMatrixSensing(rng.standard_normal((5, 3, 4)), Y[:5], widths=[4]),
    ],
    ids=lambda net: type(net).__name__,
)
def test_the_balance_of_linear_layers_decays(net):
    """Whatever the data; one that begins at 0 stays there."""
    sol = flow(net, net.initial_weights(seed=1), observe=["balance"])
    np.testing.assert_allclose(sol["balance"], np.exp(-2 * LAM * TIMES) * sol["balance"][0], atol=1e-6)
    balanced = flow(net, net.initial_weights(seed=1, init="balanced"), observe=["balance"])
    assert balanced["balance"].max() < 1e-7


def test_two_factors_are_the_plain_factorisation():
    deep = models.DeepMatrixCompletion(*ENTRIES, shape=(5, 4), widths=[3])
    plain = models.MatrixCompletion(*ENTRIES, shape=(5, 4), width=3)
    w0 = plain.initial_weights(seed=1)
    U, V = plain.unflatten(w0).values()
    a, b = flow(plain, w0), flow(deep, np.r_[V.T.ravel(), U.ravel()])
    for w, v in zip(a.w, b.w, strict=True):
        np.testing.assert_allclose(deep.predict(v), plain.predict(w), atol=1e-7)


def test_completion_is_sensing_by_units():
    units = np.zeros((6, 5, 5))
    units[np.arange(6), ENTRIES[0], ENTRIES[1]] = 1.0
    completion = models.SymmetricCompletion(*ENTRIES, size=5, width=3, negative=2)
    sensing = models.SymmetricSensing(units, ENTRIES[2], width=3, negative=2)
    w0 = completion.initial_weights(seed=1)
    np.testing.assert_allclose(flow(sensing, w0).w, flow(completion, w0).w, atol=1e-7)


def test_a_symmetric_matrix_is_found_with_its_signs():
    """All entries known: it becomes the matrix, with as many negative eigenvalues as V has columns."""
    Q = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    M = (Q * [2.0, 1.0, -1.5, 0.0]) @ Q.T
    rows, cols = np.divmod(np.arange(16), 4)
    problem = models.SymmetricCompletion(rows, cols, M.ravel(), size=4, width=4, negative=1, scale="sum")
    end = gf.limit_map(problem, problem.initial_weights(0.3, seed=1))
    assert end.success, end.message
    np.testing.assert_allclose(problem.predict(end.w), M, atol=1e-6)
    positive = models.SymmetricCompletion(rows, cols, M.ravel(), size=4, width=4, scale="sum")
    w = gf.gradient_flow(positive, positive.initial_weights(0.3, seed=1), (0, 1e3), weight_decay=0.0).final
    np.testing.assert_allclose(np.linalg.eigvalsh(positive.predict(w)), [0, 0, 1, 2], atol=1e-2)


def test_random_features_end_at_ridge_regression():
    problem = models.RandomFeatures(X, Y, width=30, seed=1, scale="sum")
    Phi = problem.features(X)
    sol = gf.gradient_flow(problem, problem.initial_weights(seed=2), (0, 1e4), weight_decay=LAM, rtol=1e-9)
    ridge = Phi.T @ np.linalg.solve(Phi @ Phi.T + LAM * np.eye(6), Y)
    np.testing.assert_allclose(sol.final, ridge, atol=1e-6)
    assert np.array_equal(Phi, models.RandomFeatures(X, Y, width=30, seed=1).features(X))


# ---------------------------------------------------------------- models of models

NET = models.TwoLayerNetwork(X, Y, width=5, scale="sum", test=(X[:2], Y[:2]))
W = NET.initial_weights(seed=1)


def test_what_is_not_trained_stays():
    inner = models.Trained(NET, W, train=["V", "b"])
    w0 = inner.initial_weights()
    assert np.array_equal(inner.embed(w0), W)
    end = NET.unflatten(inner.embed(flow(inner, w0).final))
    assert np.array_equal(end["u"], NET.unflatten(W)["u"])
    assert not np.array_equal(end["V"], NET.unflatten(W)["V"])
    assert inner.quantity("test_loss", w0) == NET.test_loss(W)


def test_all_trained_is_the_problem():
    every = models.Trained(NET, W, train=["*"])
    np.testing.assert_allclose(flow(every, W).w, flow(NET, W).w, atol=1e-8)
    assert np.array_equal(every.gram(W), NET.gram(W))


def test_a_trained_readout_is_ridge_regression():
    outer = models.Trained(NET, W, train=["u"])
    Phi = NET.jacobian(W)[:, NET.blocks["u"]]
    sol = gf.gradient_flow(outer, outer.initial_weights(), (0, 1e4), weight_decay=LAM, rtol=1e-9)
    ridge = np.linalg.solve(Phi.T @ Phi + LAM * np.eye(5), Phi.T @ Y)
    np.testing.assert_allclose(sol.final, ridge, atol=1e-6)


def test_no_inner_biases_is_a_block_fixed_at_zero():
    start = W.copy()
    start[NET.blocks["b"]] = 0.0
    without = models.Trained(NET, start, train=["u", "V"])
    mlp = models.MLP(X, Y, (5,), bias=False, scale="sum")
    parts = NET.unflatten(start)
    a, b = flow(without, without.initial_weights()), flow(mlp, np.r_[parts["V"].ravel(), parts["u"]])
    np.testing.assert_allclose(without.predict(a.final), mlp.predict(b.final), atol=1e-7)


def test_any_problem_has_frozen_blocks():
    """One of one's own too, without residuals."""
    own = gf.Objective(
        loss=lambda w: 0.5 * np.sum((w - 1.0) ** 2),
        gradient=lambda w: w - 1.0,
        hvp=lambda w, v: v,
        num_params=5,
        parameters={"a": 2, "b": 3},
    )
    part = models.Trained(own, np.zeros(5), train=["b"])
    sol = gf.gradient_flow(part, part.initial_weights(), (0, 50), weight_decay=0.0)
    np.testing.assert_allclose(part.embed(sol.final), [0, 0, 1, 1, 1], atol=1e-6)


def test_adapters_change_nothing_at_first_and_then_a_matrix_of_their_rank():
    net = models.MLP(X, Y, (7, 6), scale="sum")
    w = net.initial_weights(seed=1)
    adapted = models.Trained(net, w, adapt={"W*": 1})
    v0 = adapted.initial_weights(seed=2)
    assert np.array_equal(adapted.embed(v0), w)
    sol = flow(adapted, v0, 1e-4)
    assert sol["train_loss"][-1] < 1e-2 * sol["train_loss"][0]
    before, after = net.unflatten(w), net.unflatten(adapted.embed(sol.final))
    for name, part in after.items():
        change = np.linalg.matrix_rank(np.atleast_2d(part - before[name]), tol=1e-12)
        assert change == (1 if name.startswith("W") else 0)


def kinked(activation, train, *, n=5, width=12, inputs=3, seed=0, **options):
    """Return a network of which these weights are trained, from where they begin."""
    rng = np.random.default_rng(seed)
    X, y = rng.uniform(-2, 2, (n, inputs)), rng.normal(size=n)
    net = models.TwoLayerNetwork(X, y, width=width, activation=activation, **options)
    part = models.Trained(net, net.initial_weights(seed=seed), train=train)
    return part, part.initial_weights()


@pytest.mark.parametrize("train", [["V"], ["b"], ["u", "V"], ["u", "b"]])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "abs"])
def test_kinks_are_exact_whichever_weights_are_trained(activation, train):
    """Gradient descent tends to the flow; its energy falls, in few steps however small the decay."""
    part, v0 = kinked(activation, train)
    lam = 0.05
    sol = gf.gradient_flow(part, v0, (0, 8), weight_decay=lam, rtol=1e-8, atol=1e-11, t_eval=None)
    assert sol.success, sol.message
    assert sol.mode_changes.size > 0
    energy = sol["train_loss"] + 0.5 * lam * sol["norm"] ** 2
    assert (np.diff(energy) <= 1e-9 * energy[:-1]).all()
    errors = errors_of_descent(part, v0, sol, lambda t: lam, (8e-3, 2e-3))
    assert errors[1] < 5e-3
    assert errors[1] < 0.6 * errors[0]
    for lam in (1e-3, 1e-8):
        sol = gf.gradient_flow(part, v0, (0, 3 / lam), weight_decay=lam, rtol=1e-6)
        assert sol.success, sol.message
        assert sol.stats["nsteps"] < 600


@pytest.mark.parametrize("activation", ["relu", "abs"])
def test_biases_frozen_at_zero_are_none(activation):
    whole, v0 = kinked(activation, ["u", "V", "b"])
    v0[whole.blocks["b"]] = 0.0
    net = whole._arguments["problem"]
    part = models.Trained(net, v0, train=["u", "V"])
    without = models.TwoLayerNetwork(
        *(net._arguments[k] for k in "Xy"), width=12, activation=activation, bias=False
    )
    a, b = (
        gf.gradient_flow(each, part.initial_weights(), (0, 40), weight_decay=0.05, rtol=1e-9, atol=1e-12)
        for each in (part, without)
    )
    np.testing.assert_allclose(a.final, b.final, atol=1e-8)
    assert a.mode_changes[["neuron", "sample", "kind"]].tolist() == (
        b.mode_changes[["neuron", "sample", "kind"]].tolist()
    )


def test_a_sample_at_0_keeps_its_side_where_biases_are_frozen():
    """It feels the outer weights alone; the others see what a network without it sees."""
    rng = np.random.default_rng(3)
    X, y = np.vstack([np.zeros(2), rng.uniform(-2, 2, (4, 2))]), rng.normal(size=5)
    net = models.TwoLayerNetwork(X, y, width=8, activation="leaky_relu", scale="sum")
    w0 = net.initial_weights(seed=3)
    part = models.Trained(net, w0, train=["V"])
    rest = models.Trained(
        models.TwoLayerNetwork(X[1:], y[1:], width=8, activation="leaky_relu", scale="sum"), w0, train=["V"]
    )
    a, b = (
        gf.gradient_flow(each, part.initial_weights(), (0, 20), weight_decay=0.05, rtol=1e-9)
        for each in (part, rest)
    )
    assert 0 not in a.mode_changes["sample"]
    np.testing.assert_allclose(a.final, b.final, atol=1e-8)
    at = part.initial_weights()
    np.testing.assert_allclose(part.loss(at), net.loss(w0), rtol=1e-14)


@pytest.mark.parametrize(
    ("activation", "train", "seed"),
    [("leaky_relu", ["V"], 0), ("relu", ["u", "V"], 3), ("relu", ["u", "b"], 6), ("abs", ["b"], 7)],
)
def test_flows_tend_to_the_drift_whichever_weights_are_trained(activation, train, seed):
    part, v0 = kinked(activation, train, n=4, width=20, inputs=4, seed=seed)
    phases = gf.two_phase(part, v0, [1e-5, 1e-6], s_end=1.0, rtol=1e-9, atol=1e-12)
    assert phases.success, phases.message
    assert phases.slow.mode_changes.size > 0
    assert phases.slope == pytest.approx(1.0, abs=0.05)


def test_adapters_of_inner_weights_with_kinks_are_refused():
    net = models.TwoLayerNetwork(X, np.c_[Y, Y], width=5, activation="relu")
    w = net.initial_weights(seed=1)
    with pytest.raises(ValueError, match=r"inner weights are to be adapted.*smooth_relu"):
        models.Trained(net, w, train=["u"], adapt={"V": 1})
    models.Trained(net, w, train=["V"], adapt={"u": 1})


def test_without_inner_weights_there_are_no_kinks():
    net = models.TwoLayerNetwork(X, Y, width=12, activation="relu")
    w = net.initial_weights(seed=1)
    part = models.Trained(net, w, train=["u"])
    assert not part.is_piecewise
    J = part.jacobian(part.initial_weights())  # linear: the end is that of ridge regression
    sol = gf.gradient_flow(part, part.initial_weights(), (0, 1e4), weight_decay=0.1)
    ridge = np.linalg.solve(part.scale * J.T @ J + 0.1 * np.eye(12), part.scale * J.T @ Y)
    np.testing.assert_allclose(sol.final, ridge, atol=1e-6)


@pytest.mark.parametrize("bias", [0.05, 0.0])
@pytest.mark.parametrize("kind", ["inner", "centred"])
def test_kinks_are_exact_where_outer_weights_are_fixed_or_outputs_centred(kind, bias):
    """Gradient descent tends to the flow, at first order in its steps."""
    rng = np.random.default_rng(5)
    net = models.TwoLayerNetwork(rng.uniform(-2, 2, (5, 1)), rng.normal(size=5), width=4, activation="relu")
    w0 = net.initial_weights(seed=2)
    part = (
        models.Trained(net, w0, train=["V", "b"]) if kind == "inner" else models.Centred(net, w0, alpha=0.7)
    )
    v0, T = part.initial_weights(seed=3) if kind == "inner" else w0, 8.0
    D = np.full(v0.size, 0.05)
    D[part.blocks["b"]] = bias
    sol = gf.gradient_flow(part, v0, (0, T), weight_decay={"*": 0.05, "b": bias}, rtol=1e-8, atol=1e-11)
    assert sol.success, sol.message
    assert sol.mode_changes.size > 0
    errors = errors_of_descent(part, v0, sol, lambda t: D, (4e-3, 2e-3))
    assert errors[1] < 3e-3
    assert errors[1] < 0.65 * errors[0]


def test_a_centred_model_begins_at_zero_and_is_lazy_for_large_alpha():
    """The weights move by 1/alpha, and the outputs are those of the linearisation at the start."""
    moved = []
    for alpha in (1e2, 1e3):
        lazy = models.Centred(NET, W, alpha=alpha)
        assert not lazy.predict(W).any()
        assert lazy.test_loss(W) == pytest.approx(0.5 * np.sum(Y[:2] ** 2))
        end = gf.limit_map(lazy, W)
        assert end.success, end.message
        np.testing.assert_allclose(lazy.predict(end.w), Y, atol=1e-8)
        moved.append(np.linalg.norm(end.w - W))
    assert moved[0] / moved[1] == pytest.approx(10.0, rel=0.05)
    J, K = NET.jacobian(W), NET.gram(W)
    np.testing.assert_allclose(1e3 * (end.w - W), J.T @ np.linalg.solve(K, Y), rtol=0.1, atol=0.05)


@pytest.mark.parametrize(
    ("loss", "y"),
    [
        ("cross_entropy", [0, 1, 2, 1]),
        ("huber", np.ones((4, 2))),
        (gf.losses.CrossEntropy(0.2), [0, 1, 2, 1]),
    ],
)
def test_a_centred_model_keeps_its_loss(loss, y):
    options = {"width": 3, "loss": loss, "test": (X[:2], y[:2])}
    net = models.TwoLayerNetwork(X[:4], y, **options)
    w0 = net.initial_weights(seed=4)
    ours = models.Centred(net, w0, alpha=1.7)
    twin = theory.Centred(twins.TwoLayerNetwork(X[:4], y, **options), w0, alpha=1.7)
    w = np.cos(np.arange(ours.num_params))
    assert ours.loss(w) == pytest.approx(twin.loss(w), rel=1e-12)
    assert ours.test_loss(w) == pytest.approx(twin.test_loss(w), rel=1e-12)
    np.testing.assert_allclose(ours.gradient(w), twin.gradient(w), atol=1e-13)
    np.testing.assert_allclose(ours.hessian(w), twin.hessian(w), atol=1e-12)
    gf.check_problem(ours, w).raise_if_failed()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: models.Trained(NET, W), ValueError, "nothing is trained; name blocks of"),
        (
            lambda: models.Trained(NET, W, train=["c"]),
            ValueError,
            "train names 'c'; this problem has the blocks",
        ),
        (lambda: models.Trained(NET, W, train="V"), TypeError, "train is 'V'; it must be a list"),
        (lambda: models.Trained(NET, W, adapt={"u": 1}), ValueError, r"adapt names 'u' of shape \(5,\)"),
        (
            lambda: models.Trained(NET, W, adapt={"V": 9}),
            ValueError,
            r"adapt\['V'\] is 9; it must be at most 5",
        ),
        (
            lambda: models.Trained(NET, W, train=["V"], adapt={"V": 1}),
            ValueError,
            "both in train and in adapt",
        ),
        (lambda: models.Trained(NET, W[:3], train=["V"]), ValueError, r"w has shape \(3,\)"),
        (lambda: models.Centred(NET, W, alpha=0.0), ValueError, "alpha is 0.0; it must be positive"),
        (lambda: models.Centred("net", W), TypeError, "it must be a model of samples"),
        (
            lambda: models.Trained(NET, W, train=["V"]).initial_weights(init="he"),
            ValueError,
            "this model draws by 'normal' alone",
        ),
    ],
)
def test_misuse(make, error, message):
    with pytest.raises(error, match=message):
        make()
