"""Functions of JAX as problems: what they compute, how they train, and what is refused before any work."""

import grokflow as gf
import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402

RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 4))
CLASSES = np.array([0, 1, 2, 0, 1, 2])
Y = np.eye(3)[CLASSES]
LOSSES = {
    "mse": ("mse", Y),
    "huber": (gf.losses.Huber(delta=0.3), Y),
    "cross_entropy": ("cross_entropy", CLASSES),
    "soft": ("cross_entropy", 0.7 * Y + 0.1),
    "smoothed": (gf.losses.CrossEntropy(label_smoothing=0.2), CLASSES),
    "logistic": ("logistic", 2 * Y - 1),
}


def start():
    """A tree of parameters, in single precision as JAX makes them."""
    rng = np.random.default_rng(1)
    first = {"weight": rng.standard_normal((5, 4)), "bias": np.zeros(5)}
    return jax.tree.map(lambda a: jnp.asarray(a, dtype=jnp.float32), [first, rng.standard_normal((3, 5))])


def apply(params, x):
    first, head = params
    return jnp.tanh(x @ first["weight"].T + first["bias"]) @ head.T


@pytest.mark.parametrize("loss", LOSSES)
def test_all_derivatives_agree(loss):
    loss, y = LOSSES[loss]
    problem = gf.from_jax(apply, start(), X, y, loss=loss, chunk=4)
    report = gf.check_problem(problem, problem.initial_weights() + 0.1)
    assert report, report
    assert list(problem.blocks) == ["0.bias", "0.weight", "1"]


def test_a_flow_is_that_of_the_model_of_the_library():
    params = start()
    problem = gf.from_jax(apply, params, X, Y, test=(X[:2], Y[:2]))
    twin = gf.models.MLP(X, Y, (5,), activation="tanh", test=(X[:2], Y[:2]))
    w0 = problem.initial_weights()
    parts = problem.unflatten(w0)
    order = [parts["0.weight"], parts["0.bias"], parts["1"], np.zeros(3)]
    w0_twin = np.concatenate([np.ravel(part) for part in order])
    assert problem.loss(w0) == pytest.approx(twin.loss(w0_twin), rel=1e-12)
    decay = {"*": 1e-2, "*.bias": 0.0}
    sol = gf.gradient_flow(problem, w0, (0, 100), weight_decay=decay, rtol=1e-5, curvature="gram")
    exact = gf.gradient_flow(problem, w0, (0, 100), weight_decay=decay, rtol=1e-5, curvature="dense")
    assert sol.final == pytest.approx(exact.final, abs=1e-4)
    assert sol.stats["kernel"] == "parameters"
    assert sol["test_loss"][0] == pytest.approx(twin.test_loss(w0_twin), rel=1e-12)
    assert problem.accuracy(sol.final) == 1.0


def test_weights_go_back_into_the_tree():
    params = start()
    problem = gf.from_jax(apply, params, X, CLASSES, loss="cross_entropy")
    w = problem.initial_weights()
    again = problem.params(w)
    assert jax.tree.structure(again) == jax.tree.structure(params)
    for old, new in zip(jax.tree.leaves(params), jax.tree.leaves(again), strict=True):
        assert new.dtype == old.dtype
        assert np.array_equal(old, new)
    assert problem.predict(w, X[:2]) == pytest.approx(np.asarray(apply(params, X[:2])), abs=1e-5)
    assert not jax.config.jax_enable_x64


def test_double_precision_survives_the_way_there_and_back():
    params = jax.tree.map(lambda leaf: np.asarray(leaf, dtype=np.float64) / 3.0, start())
    problem = gf.from_jax(apply, params, X, Y)
    again = problem.params(problem.initial_weights())
    for old, new in zip(jax.tree.leaves(params), jax.tree.leaves(again), strict=True):
        assert isinstance(new, np.ndarray)
        assert np.array_equal(old, new)


def test_single_precision_is_told_what_it_can_keep():
    problem = gf.from_jax(apply, start(), X, Y, dtype="module")
    with pytest.warns(gf.PrecisionWarning, match=r"rtol = 1e-05, or for dtype='float64'"):
        gf.gradient_flow(problem, problem.initial_weights(), (0, 1.0), weight_decay=1e-2, max_steps=20)


def test_samples_that_see_each_other_have_no_kernel():
    with pytest.warns(UserWarning, match="do samples see each other"):
        problem = gf.from_jax(lambda p, x: apply(p, x) - apply(p, x).mean(0), start(), X, Y)
    assert problem.kernel == "none"


@pytest.mark.parametrize(
    ("function", "params", "y", "options", "error", "message"),
    [
        (apply, {"steps": np.arange(3)}, Y, {}, TypeError, "params holds int64 at 'steps'"),
        (lambda p, x: x[:, 0], start(), Y, {}, ValueError, r"outputs have shape \(6,\), expected \(6, k\)"),
        (lambda p, x: (x, x), start(), Y, {}, TypeError, "apply returned a tuple"),
        (apply, start(), Y, {"kernel": "hooks"}, ValueError, "kernel is 'hooks'; choose from 'auto', 'para"),
        (apply, start(), [0, 1, 2, 3, 0, 0], {"loss": "cross_entropy"}, ValueError, r"y\[3\] is class 3"),
        ("apply", start(), Y, {}, TypeError, "apply is 'apply'; it must be a function"),
        (
            apply,
            start(),
            Y,
            {"test": (X[:4], Y)},
            ValueError,
            r"test y has shape \(6, 3\), and outputs",
        ),
        (apply, {"a": np.array([np.nan])}, Y, {}, ValueError, "params holds numbers that are not finite"),
        (apply, {}, Y, {}, ValueError, "params holds no array"),
        (apply, {"a": np.ones((0, 3))}, Y, {}, ValueError, "params holds an empty array at 'a'"),
        (apply, {"a": {"b": np.ones(3)}, "a.b": np.ones(3)}, Y, {}, ValueError, "have the same name"),
        (
            apply,
            {"a": np.ones(3, dtype=np.float16)},
            Y,
            {"dtype": "module"},
            ValueError,
            "params are float16, too",
        ),
        (lambda p, x: 1j * apply(p, x), start(), Y, {}, TypeError, "outputs are complex128"),
        (lambda p, x: apply(p, x).astype(int), start(), Y, {}, TypeError, "outputs are int64"),
        (lambda p, x: jnp.nan * apply(p, x), start(), Y, {}, ValueError, "outputs of apply are not finite"),
    ],
)
def test_bad_input_is_told_before_any_work(function, params, y, options, error, message):
    with pytest.raises(error, match=message):
        gf.from_jax(function, params, X, y, **options)


def test_inputs_hold_real_samples_and_as_many_in_each_array():
    with pytest.raises(TypeError, match="inputs are complex128; they must be real numbers"):
        gf.from_jax(apply, start(), 1j * X, Y)
    with pytest.raises(ValueError, match="one sample per row, as many in each array"):
        gf.from_jax(lambda p, x: apply(p, x["a"]), start(), {"a": X, "b": X[:3]}, Y)


def test_a_bare_array_is_the_block_w():
    assert list(gf.from_jax(lambda W, x: x @ W, np.ones((4, 3)), X, Y).blocks) == ["w"]


def test_samples_that_are_not_finite_are_told():
    with pytest.raises(ValueError, match="X holds numbers that are not finite"):
        gf.from_jax(apply, start(), np.nan * X, Y)
