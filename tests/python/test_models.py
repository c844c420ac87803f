"""Every model against its NumPy twin, and the laws of calculus on both."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import reference.models
import reference.theory
from grokflow import models
from grokflow._backend import core

rng = np.random.default_rng(7)


def samples(n, p):
    return rng.normal(size=(n, p)), rng.normal(size=n)


def outputs(n, p, k):
    return rng.normal(size=(n, p)), rng.normal(size=(n, k))


def entries(shape, count):
    chosen = rng.permutation(shape[0] * shape[1])[:count]
    return *np.divmod(chosen, shape[1]), rng.normal(size=count)


def network(activation, n=6, p=2, width=4, **options):
    return "TwoLayerNetwork", samples(n, p), {"width": width, "activation": activation, **options}


def over(case, wrapper, options):
    """Return a model made from another one."""
    return wrapper, (case,), options


PARAMETERS = {
    "leaky_relu": {"negative_slope": -0.4},
    "smooth_relu": {"smoothing": 0.7},
    "polynomial": {"coefficients": (0.3, -1.0, 0.5, 0.2)},
}


def mlp(activation, widths, outputs=(), n=4, p=2, **options):
    data = rng.normal(size=(n, p)), rng.normal(size=(n, *outputs))
    return "MLP", data, {"widths": widths, "activation": activation, **options}


CASES = {
    "linear, wide": ("LinearRegression", samples(5, 9), {"test": samples(3, 9)}),
    "linear, tall": ("LinearRegression", samples(9, 4), {"scale": "sum"}),
    "diagonal": ("DiagonalLinearNetwork", samples(5, 6), {"test": samples(4, 6)}),
    "diagonal, one": ("DiagonalLinearNetwork", samples(1, 1), {"scale": 0.3}),
    "completion": (
        "MatrixCompletion",
        entries((5, 4), 12),
        {"shape": (5, 4), "width": 2, "test": entries((5, 4), 7)},
    ),
    "completion, wide": (
        "MatrixCompletion",
        entries((3, 4), 10),
        {"shape": (3, 4), "width": 6, "scale": 2.0},
    ),
    "completion, few": ("MatrixCompletion", entries((9, 8), 5), {"shape": (9, 8), "width": 1}),
    **{
        f"network, {name}": network(name, test=samples(4, 2), **PARAMETERS.get(name, {}))
        for name in core.activation_names()
    },
    "network, bias": network("tanh", n=7, p=3, output_bias=True, output_scale=0.4, scale="sum"),
    "network, no inner bias": network("erf", p=3, bias=False, output_bias=True),
    "network, outputs": ("TwoLayerNetwork", outputs(6, 2, 3), {"width": 4, "test": outputs(3, 2, 3)}),
    "network, outputs, biases": (
        "TwoLayerNetwork",
        outputs(5, 3, 2),
        {"width": 3, "activation": "gelu", "bias": False, "output_bias": True, "output_scale": "ntk"},
    ),
    "network, outputs, kinks": ("TwoLayerNetwork", outputs(5, 1, 2), {"width": 3, "activation": "abs"}),
    "network, column": ("TwoLayerNetwork", (rng.normal(size=(5, 1)), rng.normal(size=(5, 1))), {"width": 1}),
}


def measurements(n, shape):
    return rng.normal(size=(n, *shape)), rng.normal(size=n)


CASES |= {
    "sensing": ("MatrixSensing", measurements(5, (4, 3)), {"width": 1, "test": measurements(3, (4, 3))}),
    "sensing, wide": ("MatrixSensing", measurements(4, (2, 3)), {"width": 4, "scale": "sum"}),
    **{f"mlp, {name}": mlp(name, (3, 2), **PARAMETERS.get(name, {})) for name in core.activation_names()},
    "mlp, one layer": mlp("tanh", (4,), test=samples(3, 2)),
    "mlp, no bias": mlp("erf", (2, 3, 2), bias=False, scale="sum"),
    "mlp, outputs": mlp("tanh", (3, 4), (3,), p=1, test=(rng.normal(size=(2, 1)), rng.normal(size=(2, 3)))),
    "mlp, outputs, no bias": mlp("gelu", (3,), (2,), bias=False, scale=0.7),
    "mlp, some biases": mlp("tanh", (3, 2), bias=(True, False, True)),
    "mlp, last bias": mlp("softplus", (3,), bias=[False, True]),
    "mlp, linear": mlp("identity", (3, 2), bias=False),
    "network, ntk": network("tanh", output_scale="ntk"),
    "network, mean field": network("gelu", output_scale="mean-field"),
    "mlp, column": mlp("smooth_relu", (2, 2), (1,), n=1, smoothing=0.5),
}

CASES |= {
    "u^3 - v^3": ("DeepDiagonalNetwork", samples(5, 6), {"depth": 3, "test": samples(4, 6)}),
    "u^2 - v^2": ("DeepDiagonalNetwork", samples(3, 4), {"depth": 2, "scale": "sum"}),
    "u1 ... u4": (
        "DeepDiagonalNetwork",
        samples(4, 5),
        {"depth": 4, "form": "product", "test": samples(2, 5)},
    ),
    "deep linear": ("DeepLinearNetwork", (*samples(4, 3), (3, 2)), {"test": samples(3, 3)}),
    "deep completion": (
        "DeepMatrixCompletion",
        entries((5, 4), 9),
        {"shape": (5, 4), "widths": (3, 2), "test": entries((5, 4), 6)},
    ),
    "deep completion, two": ("DeepMatrixCompletion", entries((3, 4), 7), {"shape": (3, 4), "widths": [5]}),
    "deep sensing": (
        "DeepMatrixSensing",
        measurements(5, (3, 4)),
        {"widths": (2, 3, 2), "test": measurements(3, (3, 4)), "scale": "sum"},
    ),
    "U U^T - V V^T": (
        "SymmetricCompletion",
        entries((5, 5), 12),
        {"size": 5, "width": 2, "negative": 3, "test": entries((5, 5), 4)},
    ),
    "U U^T": ("SymmetricSensing", measurements(4, (4, 4)), {"width": 3, "test": measurements(3, (4, 4))}),
    "sensing, U U^T - V V^T": ("SymmetricSensing", measurements(6, (3, 3)), {"width": 2, "negative": 1}),
    "random features": ("RandomFeatures", samples(5, 3), {"width": 7, "seed": 3, "test": samples(4, 3)}),
    "trained, inner": over(network("tanh", n=5, p=3, test=samples(3, 3)), "Trained", {"train": ["V"]}),
    "trained, outer": over(network("softplus"), "Trained", {"train": ["u", "b"]}),
    "adapters": over(
        mlp("tanh", (3, 4), (2,), n=3), "Trained", {"train": ["b1", "W2"], "adapt": {"W1": 2, "W3": 1}}
    ),
    "adapters alone": over(mlp("gelu", (3,), bias=False), "Trained", {"adapt": {"W1": 1}}),
    "centred": over(network("tanh", test=samples(4, 2)), "Centred", {"alpha": 3.0}),
    "centred, outputs": over(mlp("tanh", (3,), (2,), scale="samples"), "Centred", {}),
    "random features, leaky": (
        "RandomFeatures",
        samples(6, 2),
        {"width": 4, "activation": "leaky_relu", "negative_slope": 0.3, "output_scale": 0.7},
    ),
}


@pytest.fixture(params=CASES, scope="module")
def case(request):
    return CASES[request.param]


def make(case, *spaces):
    """Return the model of a case, also one that is made from another, at some weights."""
    name, data, options = case
    kind = next(getattr(space, name) for space in spaces if hasattr(space, name))
    if name not in ("Trained", "Centred"):
        return kind(*data, **options)
    inner = make(data[0], *spaces)
    return kind(inner, draw(inner.num_params, seed=5), **options)


@pytest.fixture(scope="module")
def compiled(case):
    return make(case, models)


@pytest.fixture(scope="module")
def twin(case):
    return make(case, reference.models, reference.theory)


@pytest.fixture(params=["compiled", "reference"])
def problem(request, compiled, twin):
    return compiled if request.param == "compiled" else twin


def draw(size, seed=0):
    return np.random.default_rng(seed).normal(size=size)


def assert_order_two(remainder):
    """The remainder falls as h^2, or vanishes because the function is affine."""
    h = 10.0 ** -np.arange(2.0, 4.0, 0.5)
    size = np.array([np.linalg.norm(remainder(step)) for step in h])
    if size.max() > 1e-13:
        assert np.polyfit(np.log(h), np.log(size), 1)[0] == pytest.approx(2.0, abs=0.1)


# ---------------------------------------------------------------- the twin


def close(computed, expected):
    expected = np.asarray(expected)
    np.testing.assert_allclose(computed, expected, rtol=1e-12, atol=1e-12 * max(1.0, np.abs(expected).max()))


def test_twin_has_the_same_sizes(compiled, twin):
    for name in ("num_params", "num_residuals", "scale", "blocks", "quantities"):
        assert getattr(compiled, name) == getattr(twin, name), name


@pytest.mark.parametrize(
    "function", ["loss", "gradient", "residual", "jacobian", "gram", "hessian", "predict"]
)
def test_twin_agrees(compiled, twin, function):
    w = draw(compiled.num_params)
    close(getattr(compiled, function)(w), getattr(twin, function)(w))


@pytest.mark.parametrize("function", ["jvp", "vjp", "hvp"])
def test_twin_agrees_on_products(compiled, twin, function):
    w = draw(compiled.num_params)
    v = draw(compiled.num_residuals if function == "vjp" else compiled.num_params, seed=1)
    close(getattr(compiled, function)(w, v), getattr(twin, function)(w, v))


def test_twin_agrees_on_quantities(compiled, twin):
    w = draw(compiled.num_params)
    for name in compiled.quantities:
        close(compiled.quantity(name, w), twin.quantity(name, w))
    if "test_loss" in compiled.quantities:
        close(compiled.test_loss(w), twin.test_loss(w))


@pytest.mark.parametrize("std", [None, 0.5, {"*": 0.3}])
def test_twin_draws_the_same_weights(compiled, twin, std):
    np.testing.assert_allclose(
        compiled.initial_weights(std, seed=3), twin.initial_weights(std, seed=3), rtol=1e-15
    )


def test_predictions_at_other_inputs(compiled, twin):
    if "X" in compiled._arguments:
        w, X = draw(compiled.num_params), draw((5, compiled._arguments["X"].shape[1]), seed=1)
        close(compiled.predict(w, X), twin.predict(w, X))
        assert np.array_equal(compiled.predict(w), compiled.predict(w, compiled._arguments["X"]))


# ---------------------------------------------------------------- laws


def test_jvp_and_vjp_are_adjoint(problem):
    w, v, u = draw(problem.num_params), draw(problem.num_params, 1), draw(problem.num_residuals, 2)
    Jv, Ju = problem.jvp(w, v), problem.vjp(w, u)
    assert u @ Jv == pytest.approx(Ju @ v, rel=1e-12, abs=1e-12)


def test_residual_by_taylor_slope(problem):
    w, v = draw(problem.num_params), draw(problem.num_params, 1)
    r, Jv = problem.residual(w), problem.jvp(w, v)
    assert_order_two(lambda h: problem.residual(w + h * v) - r - h * Jv)


def test_gradient_by_taylor_slope(problem):
    w, v = draw(problem.num_params), draw(problem.num_params, 1)
    loss, slope = problem.loss(w), problem.gradient(w) @ v
    assert_order_two(lambda h: problem.loss(w + h * v) - loss - h * slope)


def test_hvp_by_taylor_slope(problem):
    w, v = draw(problem.num_params), draw(problem.num_params, 1)
    g, Hv = problem.gradient(w), problem.hvp(w, v)
    assert_order_two(lambda h: problem.gradient(w + h * v) - g - h * Hv)


def test_hessian_is_symmetric_and_agrees_with_hvp(problem):
    w = draw(problem.num_params)
    H = problem.hessian(w)
    products = np.array([problem.hvp(w, e) for e in np.eye(problem.num_params)])
    np.testing.assert_allclose(H, H.T, atol=1e-13 * np.abs(H).max())
    np.testing.assert_allclose(products, H, atol=1e-13 * np.abs(H).max())


def test_loss_and_gradient_from_the_residual(problem):
    w = draw(problem.num_params)
    r = problem.residual(w)
    assert problem.loss(w) == pytest.approx(0.5 * problem.scale * r @ r, rel=1e-14)
    np.testing.assert_allclose(problem.gradient(w), problem.scale * problem.vjp(w, r), rtol=1e-12, atol=1e-13)


def test_gram_of_every_range_of_blocks(compiled):
    w = draw(compiled.num_params)
    lin, J = compiled._core.linearize(w), compiled.jacobian(w)
    edges = [0, *(block.stop for block in compiled.blocks.values())]
    ranges = [(i, j) for i in edges for j in edges if i < j]
    cut = (1, compiled.num_params - 1)  # through the blocks
    for begin, end in [*ranges, cut]:
        part = J[:, begin:end]
        K = lin.gram(begin, end)
        assert np.array_equal(K, K.T) or (begin, end) == cut
        np.testing.assert_allclose(K, part @ part.T, atol=1e-12 * np.abs(J @ J.T).max())


def test_kernel_trace_by_central_differences(compiled):
    w, v = draw(compiled.num_params), draw(compiled.num_params, 1)
    regularizer = core.hessian_trace(compiled._core)
    trace, gradient = regularizer.evaluate(w)
    assert trace == pytest.approx(compiled.scale * np.trace(compiled.gram(w)), rel=1e-12)
    h = 1e-5
    difference = (regularizer.evaluate(w + h * v)[0] - regularizer.evaluate(w - h * v)[0]) / (2 * h)
    assert gradient @ v == pytest.approx(difference, rel=1e-7, abs=1e-7 * trace)


def test_refilled_linearisation_equals_a_fresh_one(compiled):
    w, v, u = draw(compiled.num_params), draw(compiled.num_params, 1), draw(compiled.num_residuals, 2)
    used, fresh = compiled._core.linearize(draw(compiled.num_params, 3)), compiled._core.linearize(w)
    used.hvp(v)
    core.refill(used, w)
    assert np.array_equal(used.jvp(v), fresh.jvp(v))
    assert np.array_equal(used.vjp(u), fresh.vjp(u))
    assert np.array_equal(used.gram(), fresh.gram())
    assert np.array_equal(used.hvp(v), fresh.hvp(v))
    assert np.array_equal(used.hessian(), fresh.hessian())


def test_wide_network_over_many_tiles():
    X, y = samples(3, 2)
    options = {"width": 6001, "output_bias": True, "output_scale": 0.01}
    net, twin = models.TwoLayerNetwork(X, y, **options), reference.models.TwoLayerNetwork(X, y, **options)
    w, v, u = net.initial_weights(), draw(net.num_params), draw(3)
    for function, arguments in [
        ("gradient", ()),
        ("jvp", (v,)),
        ("vjp", (u,)),
        ("gram", ()),
        ("predict", ()),
    ]:
        close(getattr(net, function)(w, *arguments), getattr(twin, function)(w, *arguments))
    h = 1e-4
    difference = (net.gradient(w + h * v) - net.gradient(w - h * v)) / (2 * h)
    np.testing.assert_allclose(net.hvp(w, v), difference, atol=1e-7 * np.abs(difference).max())


def test_one_model_in_four_threads(compiled):
    points = [draw(compiled.num_params, seed) for seed in range(4)]

    def work(w):
        return [f(w) for f in (compiled.gradient, compiled.gram, compiled.hessian) for _ in range(20)]

    serial = [work(w) for w in points]
    with ThreadPoolExecutor(4) as pool:
        for expected, got in zip(serial, pool.map(work, points), strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(expected, got, strict=True))


# ---------------------------------------------------------------- objects


def test_pickle_and_copy_give_the_same_model(compiled):
    w = draw(compiled.num_params)
    for twin in (pickle.loads(pickle.dumps(compiled)), copy.deepcopy(compiled)):
        assert repr(twin) == repr(compiled)
        assert twin.quantities == compiled.quantities
        assert np.array_equal(twin.gradient(w), compiled.gradient(w))


def test_model_does_not_follow_later_changes_of_the_data():
    X, y = samples(4, 3)
    model = models.LinearRegression(X, y)
    w = draw(3)
    before = model.gradient(w)
    X *= 2
    for same in (model, pickle.loads(pickle.dumps(model))):
        assert np.array_equal(same.gradient(w), before)


def test_repr_says_what_it_is():
    net = models.TwoLayerNetwork(*samples(5, 2), width=3, activation="erf", test=samples(2, 2))
    assert repr(net) == (
        "TwoLayerNetwork(X=<5x2>, y=<5>, scale='mean', width=3, activation='erf', output_bias=False, "
        "output_scale=1.0, bias=True, test=...)"
    )
    assert ", activation='leaky_relu', negative_slope=0.01, " in repr(
        models.TwoLayerNetwork(*samples(5, 2), width=3, activation="leaky_relu")
    )


def test_unflatten_gives_views(compiled, twin):
    w = draw(compiled.num_params)
    for (name, part), (other, expected) in zip(
        compiled.unflatten(w).items(), twin.unflatten(w).items(), strict=True
    ):
        assert name == other
        assert np.shares_memory(part, w)
        assert np.array_equal(part, expected)


def test_weights_may_be_integers_float32_strided_or_read_only(compiled):
    w = np.round(4 * draw(compiled.num_params))
    strided = np.repeat(w, 2)[::2]
    read_only = w.copy()
    read_only.setflags(write=False)
    for same in (w.astype(int), w.astype(np.float32), strided, read_only, w.tolist(), w.astype(">f8")):
        assert np.array_equal(compiled.gradient(same), compiled.gradient(w))


def test_initial_weights_by_block():
    net = models.TwoLayerNetwork(*samples(3, 4), width=5000, output_bias=True)
    parts = net.unflatten(net.initial_weights({"u": 2.0, "a": 3.0}, seed=1))
    assert np.std(parts["u"]) == pytest.approx(2.0, rel=0.05)
    assert np.std(parts["V"]) == pytest.approx(0.5, rel=0.05)
    assert np.std(parts["b"]) == pytest.approx(1.0, rel=0.05)
    assert parts["a"][0] != 0
    assert net.unflatten(net.initial_weights())["a"] == 0
    assert not net.initial_weights(0.0).any()
    assert not np.array_equal(net.initial_weights(seed=1), net.initial_weights(seed=2))
