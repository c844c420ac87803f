"""Initial weights by name: their moments, what they conserve, and their random stream."""

import json
import pickle
from itertools import pairwise

import grokflow as gf
import numpy as np
import pytest
from grokflow.models.initial import NAMES

rng = np.random.default_rng(0)
X, Y = rng.standard_normal((4, 30)), rng.standard_normal(4)
MODELS = {
    "linear": gf.models.LinearRegression(X, Y),
    "diagonal": gf.models.DiagonalLinearNetwork(X, Y),
    "completion": gf.models.MatrixCompletion([0, 1], [1, 2], [1.0, 2.0], shape=(20, 30), width=40),
    "sensing": gf.models.MatrixSensing(rng.standard_normal((3, 20, 30)), Y[:3], width=5),
    "two layers": gf.models.TwoLayerNetwork(X, Y, width=200, output_bias=True),
    "mlp": gf.models.MLP(X, np.c_[Y, Y], (200, 50)),
    "deep linear": gf.models.MLP(X, np.c_[Y, Y], (20, 25), activation="identity", bias=False),
}


def matrices(problem, w):
    """Return the maps of the layers as matrices (out, in), from the input on."""
    parts = problem.unflatten(w)
    for layer in problem._layers:
        part = parts[layer.weight]
        yield part.T if layer.transposed else part.reshape(layer.shape)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_takes_every_name(model, name):
    problem = MODELS[model]
    w = problem.initial_weights(seed=1, init=name)
    assert w.shape == (problem.num_params,)
    assert np.isfinite(w).all()
    assert w.any()
    np.testing.assert_allclose(problem.initial_weights(seed=1, init=name, scale=0.5), 0.5 * w, rtol=1e-15)
    if name != "normal":
        biases = [layer.bias for layer in problem._layers if layer.bias]
        assert not any(problem.unflatten(w)[bias].any() for bias in biases)


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("he", lambda layer: 2 / layer.fan_in),
        ("lecun", lambda layer: 1 / layer.fan_in),
        ("xavier", lambda layer: 2 / (layer.fan_in + layer.fan_out)),
    ],
)
@pytest.mark.parametrize("model", ["completion", "two layers", "mlp"])
def test_variances_are_those_of_the_name(model, name, variance):
    problem = MODELS[model]
    for layer, A in zip(
        problem._layers, matrices(problem, problem.initial_weights(seed=2, init=name)), strict=True
    ):
        error = 5 * (2 / A.size) ** 0.5
        assert np.mean(A**2) == pytest.approx(variance(layer), rel=error)
        assert abs(np.mean(A)) < 5 * (variance(layer) / A.size) ** 0.5


def test_outputs_of_mean_field_are_means():
    """Of width m: the last layer is 1/m, so that the outputs fall as 1/sqrt(m)."""
    sizes = []
    for width in (100, 10_000):
        net = gf.models.TwoLayerNetwork(X, Y, width=width)
        drawn = [net.predict(net.initial_weights(seed=seed, init="mean_field")) for seed in range(20)]
        sizes.append(np.sqrt(np.mean(np.square(drawn))))
    assert sizes[0] / sizes[1] == pytest.approx(10.0, rel=0.3)


@pytest.mark.parametrize("model", ["completion", "sensing", "two layers", "mlp", "deep linear"])
def test_orthogonal_and_identity(model):
    problem = MODELS[model]
    for A in matrices(problem, problem.initial_weights(seed=3, init="orthogonal")):
        small = A @ A.T if len(A) <= len(A.T) else A.T @ A
        np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-13)
    for A in matrices(problem, problem.initial_weights(init="identity")):
        assert np.array_equal(A, np.eye(*A.shape))
    for A in matrices(problem, problem.initial_weights(init="constant", scale=0.3)):
        assert np.array_equal(A, np.full(A.shape, 0.3))


@pytest.mark.parametrize("model", ["completion", "sensing", "deep linear"])
def test_balanced_matrices_stay_balanced(model):
    """What a flow without decay conserves, ``A_{l+1}^T A_{l+1} - A_l A_l^T``, is 0."""
    problem = MODELS[model]
    w0 = problem.initial_weights(seed=4, init="balanced")
    for w in (w0, gf.gradient_flow(problem, w0, (0, 1), weight_decay=0.0, rtol=1e-9).final):
        layers = list(matrices(problem, w))
        for before, after in pairwise(layers):
            np.testing.assert_allclose(after.T @ after, before @ before.T, atol=1e-7)


def test_balanced_vectors_and_neurons():
    diagonal = MODELS["diagonal"]
    u, v = diagonal.unflatten(diagonal.initial_weights(seed=5, init="balanced")).values()
    np.testing.assert_allclose(np.abs(u), np.abs(v), rtol=1e-14)
    assert (u * v < 0).any()
    net = MODELS["mlp"]
    layers = list(matrices(net, net.initial_weights(seed=5, init="balanced")))
    for before, after in pairwise(layers):
        np.testing.assert_allclose(np.linalg.norm(after, axis=0), np.linalg.norm(before, axis=1), rtol=1e-13)


def test_what_is_subtracted_cancels_or_cannot():
    A, y = np.ones((2, 3, 3)), np.ones(2)
    square = gf.models.SymmetricSensing(A, y, width=2, negative=2)
    U, V = square.unflatten(square.initial_weights(seed=5, init="balanced")).values()
    np.testing.assert_array_equal(U, V)
    other = gf.models.SymmetricSensing(A, y, width=2, negative=1)
    with pytest.raises(
        ValueError, match=r"what is subtracted cancels; the shapes of U \(3, 2\) and V \(3, 1\)"
    ):
        other.initial_weights(init="balanced")


def test_the_stream_is_the_weights_own():
    """Data drawn by the same seed are independent of them; a generator is drawn from as it is."""
    problem = MODELS["linear"]
    for seed in (0, 7, [1, 2]):
        w = problem.initial_weights(seed=seed)
        assert np.array_equal(w, problem.initial_weights(seed=seed))
        drawn = np.random.default_rng(seed).standard_normal(10_000)
        assert not np.isin(w, drawn).any()
    generator = np.random.default_rng(3)
    assert np.array_equal(
        problem.initial_weights(seed=generator), np.random.default_rng(3).standard_normal(30)
    )


def test_standard_deviations_by_pattern():
    net = MODELS["mlp"]
    parts = net.unflatten(net.initial_weights({"*": 0.0, "W*": 2.0, "b2": 1.0}))
    assert not parts["b1"].any()
    assert not parts["b3"].any()
    assert parts["b2"].any()
    assert np.std(parts["W1"]) == pytest.approx(2.0, rel=0.05)


def test_a_flow_tells_how_its_start_was_drawn():
    problem = MODELS["mlp"]
    w0 = problem.initial_weights({"W*": 0.5}, seed=3)
    options = {"weight_decay": 1e-3, "max_steps": 1}
    told = gf.gradient_flow(problem, w0, (0, 1), **options).settings["initial_weights"]
    assert told == {"init": "normal", "std": {"W*": 0.5}, "seed": 3, "scale": 1.0}
    json.dumps(told)
    copy = pickle.loads(pickle.dumps(problem))
    assert gf.gradient_flow(copy, w0, (0, 1), **options).settings["initial_weights"] == told
    own = gf.gradient_flow(problem, w0 + 1.0, (0, 1), **options)
    assert own.settings["initial_weights"] is None
    w1 = problem.initial_weights(seed=np.random.default_rng(0), init="he", scale=2.0)
    he = gf.gradient_flow(problem, w1, (0, 1), **options).settings["initial_weights"]
    assert he == {"init": "he", "std": None, "seed": None, "scale": 2.0}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"init": "kaiming"}, ValueError, "init is 'kaiming'; choose from 'normal', 'he'"),
        ({"init": "he", "std": 1.0}, ValueError, "std is of init='normal', and init is 'he'; give scale"),
        ({"scale": np.nan}, ValueError, "scale is nan"),
        ({"scale": "1"}, TypeError, "scale is '1'"),
        ({"std": {"c*": 1.0}}, ValueError, r"block in std is 'c\*'; choose from 'W1'"),
        ({"std": {"*": -1.0}}, ValueError, "std of W1 is -1.0"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"seed": "a"}, TypeError, "seed is 'a'"),
    ],
)
def test_misuse(arguments, error, message):
    with pytest.raises(error, match=message):
        MODELS["mlp"].initial_weights(**arguments)
