"""Problems from functions of one's own: values, pieces, and what the functions may return."""

import copy
import pickle
import re

import grokflow as gf
import numpy as np
import pytest
from grokflow import callbacks, gradient_flow
from grokflow.callbacks import CallbackError, LeastSquares, Objective, PrecisionWarning
from reference import callbacks as reference
from user_functions import (
    A,
    D,
    N,
    U,
    V,
    W,
    X,
    Y,
    gradient,
    gram,
    hessian,
    hvp,
    jacobian,
    jvp,
    least_squares,
    loss,
    objective,
    residual,
    vjp,
)

# The values


@pytest.mark.parametrize(
    "functions",
    [
        {"jvp": jvp, "vjp": vjp},
        {"jacobian": jacobian},
        {"jacobian": jacobian, "vjp": vjp},
        {"jvp": jvp, "vjp": vjp, "jacobian": jacobian, "gram": gram, "scale": "sum"},
        {"jvp": jvp, "vjp": vjp, "gram": gram, "scale": 2.5},
    ],
    ids=lambda functions: "-".join(functions),
)
def test_least_squares_agrees_with_the_reference(functions):
    ours, theirs = least_squares(**functions), least_squares(reference, **functions)
    assert ours.scale == theirs.scale
    for _ in range(3):  # in memory that is used again
        for name in ("residual", "loss", "gradient", "jacobian", "gram"):
            np.testing.assert_allclose(getattr(ours, name)(W), getattr(theirs, name)(W), rtol=1e-13)
        np.testing.assert_allclose(ours.jvp(W, V), theirs.jvp(W, V), rtol=1e-13)
        np.testing.assert_allclose(ours.vjp(W, U), theirs.vjp(W, U), rtol=1e-13)


@pytest.mark.parametrize("functions", [{"hvp": hvp}, {"hessian": hessian}, {"hvp": hvp, "hessian": hessian}])
def test_objective_agrees_with_the_reference(functions):
    ours, theirs = objective(**functions), objective(reference, **functions)
    for _ in range(3):
        for name in ("loss", "gradient", "hessian"):
            np.testing.assert_allclose(getattr(ours, name)(W), getattr(theirs, name)(W), rtol=1e-13)
        if "hvp" in functions:
            np.testing.assert_allclose(ours.hvp(W, V), theirs.hvp(W, V), rtol=1e-13)


def test_least_squares_takes_the_full_hessian():
    def full(w, v):
        z = np.sin(X @ w)
        return X.T @ ((np.cos(X @ w) ** 2 - (z - Y) * z) * (X @ v)) / N

    ours, theirs = (least_squares(m, jvp=jvp, vjp=vjp, hvp=full) for m in (callbacks, reference))
    np.testing.assert_allclose(ours.hvp(W, V), theirs.hvp(W, V), rtol=1e-13)
    np.testing.assert_allclose(ours.hessian(W), theirs.hessian(W), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("functions", [{"jvp": jvp, "vjp": vjp}, {"jacobian": jacobian},
                                       {"jvp": jvp, "vjp": vjp, "jacobian": jacobian},
                                       {"jvp": jvp, "vjp": vjp, "gram": gram}])  # fmt: skip
def test_kernels_of_blocks_add_up(functions):
    lin = least_squares(**functions)._core.linearize(W)
    parts = lin.gram(0, 2), lin.gram(2, D)
    np.testing.assert_allclose(parts[0], jacobian(W)[:, :2] @ jacobian(W)[:, :2].T, rtol=1e-13)
    np.testing.assert_allclose(parts[0] + parts[1], lin.gram(), rtol=1e-12)


def test_the_pieces_decide_what_a_problem_offers():
    def offers(problem):
        return problem._core.has_hvp, problem._core.has_hessian

    assert offers(least_squares(jacobian=jacobian)) == (False, False)
    assert offers(least_squares(jacobian=jacobian, hvp=hvp)) == (True, True)
    assert offers(objective()) == (False, False)
    assert offers(objective(hvp=hvp)) == (True, True)
    assert offers(objective(hessian=hessian)) == (False, True)
    assert not objective()._core.has_residuals


def test_a_jacobian_is_evaluated_once_per_point():
    calls = []

    def counted(w):
        calls.append(None)
        return jacobian(w)

    problem = least_squares(jacobian=counted)
    for function in (problem.gram, problem.gradient, problem.jacobian):
        calls.clear()
        function(W)
        assert len(calls) == 1


@pytest.mark.parametrize("module", [callbacks, reference])
def test_parameters_are_named(module):
    problem = objective(module, parameters={"u": 2, "V": (2, 2)})
    parts = problem.unflatten(W)
    assert list(parts) == ["u", "V"]
    np.testing.assert_array_equal(parts["u"], W[:2])
    np.testing.assert_array_equal(parts["V"], W[2:].reshape(2, 2))


def test_blocks_tile_the_weights():
    assert objective(parameters={"u": 2, "V": (2, 2)}).blocks == {"u": slice(0, 2), "V": slice(2, 6)}
    assert objective().blocks == {"w": slice(0, 6)}


# Construction


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: objective(gradient=None), TypeError, "gradient is missing; give gradient(w) -> (d,)"),
        (lambda: objective(loss=3), TypeError, "loss is 3; it must be a function"),
        (lambda: least_squares(jvp=jvp), TypeError, "vjp is missing; give vjp(w, u) -> (d,), or jacobian"),
        (lambda: least_squares(vjp=vjp), TypeError, "jvp is missing; give jvp(w, v) -> (n,), or jacobian"),
        (
            lambda: least_squares(jacobian=jacobian, scale=-1),
            ValueError,
            "scale is -1.0; it must be positive",
        ),
        (lambda: least_squares(jacobian=jacobian, scale="total"), ValueError, "choose from 'mean', 'sum'"),
        (lambda: objective(num_params=0), ValueError, "num_params is 0; it must be at least 1"),
        (lambda: objective(num_params=2.5), TypeError, "num_params is 2.5; it must be an integer"),
        (lambda: objective(parameters={"u": 2, "v": 3}), ValueError, "hold 5 entries; num_params is 6"),
        (lambda: objective(parameters={"u": (-2, -3)}), ValueError, "it must be at least 1"),
        (lambda: objective(parameters=[2, 4]), TypeError, "it must map names to shapes"),
    ],
)
def test_misuse_is_told(build, error, message):
    with pytest.raises(error, match=re.escape(message)):
        build()


def test_a_missing_piece_is_told():
    with pytest.raises(TypeError, match="hvp"):
        objective(hessian=hessian).hvp(W, V)
    with pytest.raises(TypeError, match="hvp"):
        objective().hessian(W)


# Results


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (np.ones(D + 1), "gradient returned shape (7,), expected shape (6,)"),
        (np.ones(1), "gradient returned shape (1,), expected shape (6,)"),
        (np.ones((D, 1)), "gradient returned shape (6, 1), expected shape (6,)"),
        (np.ones((1, D)), "gradient returned shape (1, 6), expected shape (6,)"),
        (1.5, "gradient returned a number, expected shape (6,)"),
        (None, "gradient returned None; did you forget `return`?"),
        (["a"] * D, "gradient returned dtype <U1"),
        (np.ones(D) + 0j, "gradient returned dtype complex128"),
        (np.array([None] * D), "gradient returned dtype object"),
        ([[1.0], [1.0, 2.0]], "gradient returned a list, which is no array"),
    ],
)
def test_a_wrong_result_is_told(result, message):
    problem = objective(gradient=lambda w: result)
    with pytest.raises(CallbackError, match=re.escape(message)) as caught:
        problem.gradient(W)
    assert isinstance(caught.value, ValueError)
    assert caught.value.callback == "gradient"
    assert caught.value.t is None


@pytest.mark.parametrize(
    ("name", "result", "message"),
    [
        ("residual", np.ones(D), "residual returned shape (6,), expected shape (4,)"),
        ("jvp", np.ones(D), "jvp returned shape (6,), expected shape (4,)"),
        ("vjp", np.ones(N), "vjp returned shape (4,), expected shape (6,)"),
        ("jacobian", np.ones((D, N)), "jacobian returned shape (6, 4), expected shape (4, 6)"),
        ("gram", np.ones(N), "gram returned shape (4,), expected shape (4, 4)"),
        ("hvp", np.ones((D, D)), "hvp returned shape (6, 6), expected shape (6,)"),
    ],
)
def test_each_function_of_least_squares_is_named(name, result, message):
    functions = {"residual": residual, "jvp": jvp, "vjp": vjp, "jacobian": jacobian, "gram": gram, "hvp": hvp}
    functions[name] = lambda *arguments: result
    problem = LeastSquares(num_params=D, num_residuals=N, **functions)
    with pytest.raises(CallbackError, match=re.escape(message)):
        getattr(problem, name)(*{"jvp": (W, V), "hvp": (W, V), "vjp": (W, U)}.get(name, (W,)))


@pytest.mark.parametrize(
    ("name", "result", "message"),
    [
        ("loss", np.ones(1), "loss returned shape (1,), expected a number"),
        ("loss", None, "loss returned None"),
        ("loss", 1j, "loss returned dtype complex128"),
        ("hessian", np.ones(D), "hessian returned shape (6,), expected shape (6, 6)"),
    ],
)
def test_each_function_of_an_objective_is_named(name, result, message):
    functions = {"loss": loss, "gradient": gradient, "hessian": hessian, name: lambda w: result}
    with pytest.raises(CallbackError, match=re.escape(message)):
        getattr(Objective(num_params=D, **functions), name)(W)


def test_the_error_tells_the_time_if_there_is_one():
    error = CallbackError("gradient", "returned shape (3,), expected shape (2,)")
    assert str(error) == "gradient returned shape (3,), expected shape (2,)"
    error.t = 0.5
    assert str(error) == "gradient returned shape (3,), expected shape (2,) (at t = 0.5)"
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.callback, copy.t) == (str(error), "gradient", 0.5)


def test_a_length_that_changes_midway_is_told():
    lengths = iter([D, D, D - 1])
    problem = objective(gradient=lambda w: np.ones(next(lengths)))
    problem.gradient(W), problem.gradient(W)
    with pytest.raises(CallbackError, match=re.escape("shape (5,)")):
        problem.gradient(W)


EXACT = np.arange(1.0, D + 1)


@pytest.mark.parametrize(
    "result",
    [
        EXACT,
        EXACT.tolist(),
        tuple(EXACT),
        EXACT.astype(int),
        EXACT.astype(">f8"),
        np.repeat(EXACT, 2)[::2],
        EXACT[::-1].copy()[::-1],
        np.asfortranarray(np.stack([EXACT, EXACT]))[0],
        np.broadcast_to(EXACT, (2, D))[1],
        memoryview(EXACT),
        np.ma.masked_array(EXACT),
    ],
)
def test_whatever_converts_to_float64_is_accepted(result):
    if isinstance(result, np.ndarray):
        result.flags.writeable = False
    np.testing.assert_array_equal(objective(gradient=lambda w: result).gradient(W), EXACT)


@pytest.mark.parametrize("result", [2, 2.0, np.float64(2), np.array(2.0), np.int64(2), np.array(2)])
def test_numbers_are_accepted(result):
    assert objective(loss=lambda w: result).loss(W) == 2.0


@pytest.mark.parametrize("order", ["C", "F"])
def test_matrices_of_either_order_are_accepted(order):
    problem = least_squares(jacobian=lambda w: np.array(jacobian(w), order=order))
    np.testing.assert_array_equal(problem.jacobian(W), jacobian(W))
    np.testing.assert_allclose(problem.gram(W), gram(W), rtol=1e-13)


def test_single_precision_is_warned_about_once():
    problem = objective(gradient=lambda w: gradient(w).astype(np.float32))
    with pytest.warns(PrecisionWarning, match="gradient returned single precision") as caught:
        first = problem.gradient(W)
    assert len(caught) == 1
    assert first.dtype == np.float64
    np.testing.assert_array_equal(first, gradient(W).astype(np.float32))
    problem.gradient(W)  # a second warning would be an error here


def test_the_same_buffer_may_be_returned_each_time():
    buffer = np.empty(D)

    def fill(w):
        buffer[:] = gradient(w)
        return buffer

    problem = objective(gradient=fill)
    results = [problem.gradient(k * W) for k in range(10)]
    for k, result in enumerate(results):
        np.testing.assert_array_equal(result, gradient(k * W))


def test_the_argument_may_be_returned():
    problem = objective(gradient=lambda w: w)
    for k in range(10):
        np.testing.assert_array_equal(problem.gradient(k * W), k * W)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_pass(value):
    problem = objective(
        gradient=lambda w: np.full(D, value), loss=lambda w: value, hessian=lambda w: np.full((D, D), value)
    )
    np.testing.assert_array_equal(problem.gradient(W), value)
    np.testing.assert_array_equal(problem.loss(W), value)
    np.testing.assert_array_equal(np.isfinite(problem.hessian(W)), False)


def asymmetric(matrix, size):
    matrix[0, 1] += size * np.abs(matrix).max()
    return matrix


@pytest.mark.parametrize("name", ["gram", "hessian"])
def test_an_asymmetric_matrix_is_told(name):
    def make(size):
        if name == "gram":
            return least_squares(jvp=jvp, vjp=vjp, gram=lambda w: asymmetric(gram(w), size)).gram(W)
        return objective(hessian=lambda w: asymmetric(hessian(w), size)).hessian(W)

    slight = make(1e-10)
    np.testing.assert_array_equal(slight, slight.T)
    with pytest.raises(CallbackError, match=rf"{name} is not symmetric: .* is 0\.0?1") as caught:
        make(1e-2)
    assert caught.value.callback == name


def test_an_asymmetric_hvp_is_told_where_a_hessian_is_made_of_it():
    with pytest.raises(CallbackError, match="hvp is not symmetric"):
        objective(hvp=lambda w, v: A @ v).hessian(W)


def test_the_round_off_of_terms_that_cancel_is_no_asymmetry():
    """The Hessian of a cross-entropy sinks like 1/t as the sample is fitted; the terms in it do not."""
    x = np.array([0.3, 0.7])

    def softmax(w):
        z = x @ w.reshape(2, 3)
        return np.exp(z - np.logaddexp.reduce(z))

    def hvp(w, v):
        s, z = softmax(w), x @ v.reshape(2, 3)
        return np.outer(x, s * (z - s @ z)).ravel()

    problem = Objective(
        loss=lambda w: -np.log(softmax(w)[0]),
        gradient=lambda w: np.outer(x, softmax(w) - [1, 0, 0]).ravel(),
        hvp=hvp,
        num_params=6,
    )
    sol = gradient_flow(problem, np.zeros(6), (0, 1e9), weight_decay=0.0, curvature="dense")
    assert sol.success, sol.message
    z = x @ sol.final.reshape(2, 3)  # dz_0/dt = |x|^2 (1 - s_0), dz_1/dt = dz_2/dt = -|x|^2 s_1
    gap = z[0] - z[1]
    assert np.exp(gap) + 2 * gap - 1 == pytest.approx(3 * (x @ x) * 1e9, rel=1e-4)
    with pytest.raises(CallbackError, match="hvp is not symmetric"):
        gradient_flow(objective(hvp=lambda w, v: A @ v), W, (0, 1), weight_decay=0.0, curvature="dense")


def test_the_asymmetry_of_single_precision_is_round_off():
    problem = objective(hessian=lambda w: asymmetric(hessian(w), 1e-7).astype(np.float32))
    with pytest.warns(PrecisionWarning):
        H = problem.hessian(W)
    np.testing.assert_array_equal(H, H.T)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
@pytest.mark.parametrize("make", [least_squares, objective])
def test_problems_of_functions_with_a_name_are_copied_and_pickled(make, copied):
    whole = {"jacobian": jacobian} if make is least_squares else {}
    problem = make(**whole)
    again = copied(problem)
    assert again.functions == problem.functions
    assert again.loss(W) == problem.loss(W)
    assert np.array_equal(again.gradient(W), problem.gradient(W))
    assert repr(again) == repr(problem)


class Quartic(callbacks.Objective):
    """A problem whose functions are its own methods."""

    def __init__(self, power):
        self.power = power
        super().__init__(loss=self.value, gradient=self.slope, num_params=1)

    def value(self, w):
        return float(np.sum(w**self.power)) / self.power

    def slope(self, w):
        return w ** (self.power - 1)


def test_a_class_of_ones_own_is_pickled():
    again = pickle.loads(pickle.dumps(Quartic(4)))
    assert again.power == 4
    assert again.loss([2.0]) == 4.0


def test_what_cannot_be_pickled_says_what_to_do():
    problem = objective()
    integrator = gf.Integrator(problem, W, (0, 1), weight_decay=0.1, method="ROCK2")
    for attempt in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError, match=r"keep integrator\.solution\(\)"):
            attempt(integrator)
