"""check_problem finds the wrong function, and only that one."""

import re
import warnings

import grokflow as gf
import numpy as np
import pytest
from grokflow.callbacks import LeastSquares, Objective, PrecisionWarning
from grokflow.check import check_problem
from grokflow.problems import Problem
from reference.check import check_problem as reference_check

RNG = np.random.default_rng(1)
X, Y = RNG.normal(size=(6, 4)), RNG.normal(size=6)


# The diagonal linear network r = X (a * b) - y, w = [a, b], with every function that can be given.
def residual(w):
    return X @ (w[:4] * w[4:]) - Y


def jacobian(w):
    return np.hstack([X * w[4:], X * w[:4]])


def jvp(w, v):
    return X @ (v[:4] * w[4:] + w[:4] * v[4:])


def vjp(w, u):
    return np.concatenate([(X.T @ u) * w[4:], (X.T @ u) * w[:4]])


def gram(w):
    return jacobian(w) @ jacobian(w).T


def hessian(w):
    q = np.diag(X.T @ residual(w))
    z = np.zeros((4, 4))
    return (jacobian(w).T @ jacobian(w) + np.block([[z, q], [q, z]])) / 6


def hvp(w, v):
    return hessian(w) @ v


def loss(w):
    return np.mean(residual(w) ** 2) / 2


def gradient(w):
    return vjp(w, residual(w)) / 6


LEAST_SQUARES = {f.__name__: f for f in (residual, jvp, vjp, jacobian, gram, hvp)}
OBJECTIVE = {f.__name__: f for f in (loss, gradient, hvp, hessian)}


def least_squares(**changed):
    return LeastSquares(num_params=8, num_residuals=6, **(LEAST_SQUARES | changed))


def objective(**changed):
    return Objective(num_params=8, **(OBJECTIVE | changed))


def names(report):
    return {failure.function for failure in report.failures}


@pytest.mark.parametrize(
    "problem",
    [
        least_squares(),
        least_squares(jvp=None, vjp=None),
        least_squares(jvp=None, hvp=None),
        least_squares(jacobian=None, gram=None),
        objective(),
        objective(hvp=None),
        objective(hvp=None, hessian=None),
        Problem(least_squares()._core),
    ],
)
def test_right_functions_pass(problem):
    report = check_problem(problem)
    assert report
    assert report.failures == ()
    assert len(report.checks) >= 5
    assert all(check.passed for check in report.checks)
    report.raise_if_failed()


# A factor far from 1 and one near it, a wrong sign, and one wrong entry.
def one_entry(result):
    changed = np.array(result)
    changed.flat[1] += 1e-3
    return changed


SPOILED = {
    "factor": lambda x: 2.0 * x,
    "small": lambda x: (1.0 + 1e-5) * x,
    "sign": lambda x: -x,
    "entry": one_entry,
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED.keys())
@pytest.mark.parametrize(
    ("make", "function"),
    [(least_squares, f) for f in (jvp, vjp, jacobian, gram, hvp)] + [(objective, f) for f in (gradient, hvp)],
)
def test_a_wrong_function_is_named(make, function, spoil):
    name = function.__name__
    report = check_problem(make(**{name: lambda *arguments: spoil(function(*arguments))}))
    assert not report
    assert names(report) == {name}
    with pytest.raises(ValueError, match=name):
        report.raise_if_failed()
    assert "FAILED" in repr(report)


@pytest.mark.parametrize("scale", [2.0, -1.0, 1.0 + 1e-5])
@pytest.mark.parametrize("with_hvp", [True, False])
def test_a_wrong_hessian_is_named(scale, with_hvp):
    wrong = objective(hessian=lambda w: scale * hessian(w), hvp=hvp if with_hvp else None)
    assert names(check_problem(wrong)) == {"hessian"}


def test_a_wrong_jacobian_is_blamed_and_not_the_products_made_of_it():
    wrong = least_squares(jvp=None, vjp=None, hvp=None, gram=None, jacobian=lambda w: 1.1 * jacobian(w))
    assert names(check_problem(wrong)) == {"jacobian"}


def test_a_wrong_gradient_leaves_the_hessian_untried():
    report = check_problem(objective(gradient=lambda w: 2 * gradient(w)))
    assert {check.function for check in report.checks if check.passed is None} >= {"hvp"}


@pytest.mark.parametrize("name", ["jvp", "vjp", "jacobian", "gram", "hvp"])
def test_agrees_with_central_differences(name):
    for problem in (least_squares(), least_squares(**{name: lambda *a: 1.01 * LEAST_SQUARES[name](*a)})):
        assert names(check_problem(problem)) == reference_check(problem)


def test_agrees_with_central_differences_on_an_objective():
    for changed in ({}, {"gradient": lambda w: 1.01 * gradient(w)}, {"hessian": lambda w: 1.01 * hessian(w)}):
        problem = objective(**changed)
        assert names(check_problem(problem)) == reference_check(problem)


def test_exact_derivatives_pass_though_their_remainder_is_round_off():
    linear = LeastSquares(residual=lambda w: X @ w - Y, jacobian=lambda w: X, num_params=4, num_residuals=6)
    report = check_problem(linear)
    assert report
    assert report.checks[3].measured == np.inf
    assert check_problem(linear, np.linalg.lstsq(X, Y, rcond=None)[0])
    assert check_problem(linear, 1e8 * np.ones(4))


def test_a_wrong_linear_function_is_found():
    wrong = LeastSquares(residual=lambda w: X @ w - Y, jacobian=lambda w: -X, num_params=4, num_residuals=6)
    assert names(check_problem(wrong)) == {"jacobian"}


def test_cubic_and_constant_losses_pass():
    assert check_problem(
        Objective(loss=lambda w: np.sum(w**3), gradient=lambda w: 3 * w**2, num_params=2), [0, 0]
    )
    assert check_problem(Objective(loss=lambda w: 3.0, gradient=np.zeros_like, num_params=2))


def test_piecewise_linear_functions_pass_off_their_kinks():
    A = RNG.normal(size=(5, 3))
    kinked = LeastSquares(
        residual=lambda w: np.maximum(A @ w, 0.0) - 1.0,
        jacobian=lambda w: A * (A @ w > 0)[:, None],
        num_params=3,
        num_residuals=5,
    )
    for seed in range(10):
        assert check_problem(kinked, seed=seed)


def test_single_precision_passes():
    single = {name: (lambda *a, f=f: f(*a).astype(np.float32)) for name, f in LEAST_SQUARES.items()}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report = check_problem(least_squares(**single))
    assert report
    assert {warning.category for warning in caught} == {PrecisionWarning}
    assert len(caught) == len(single)


def test_a_field_that_is_no_gradient_is_found():
    rotation = Objective(loss=lambda w: 0.0, gradient=lambda w: np.array([w[1], -w[0]]), num_params=2)
    assert names(check_problem(rotation)) == {"gradient"}


def test_an_asymmetric_hvp_is_found_where_the_gradient_hides_it():
    G = np.array([[1.0, 2.0], [0.0, 1.0]])
    field = Objective(loss=lambda w: 0.0, gradient=lambda w: G @ w, hvp=lambda w, v: G @ v, num_params=2)
    report = check_problem(field)
    assert "gradient" in names(report)
    symmetric = [check for check in report.checks if check.law.startswith("<v', H v>")]
    assert symmetric[0].passed is False
    assert symmetric[0].measured > 0.1


def test_a_function_that_is_not_linear_is_found():
    def clipped(w, v):
        return hvp(w, np.clip(v, -np.linalg.norm(w), np.linalg.norm(w)))

    report = check_problem(objective(hvp=clipped))
    assert [(f.function, f.law) for f in report.failures] == [("hvp", "linear in v")]


def test_a_noisy_gradient_is_found():
    noise = np.random.default_rng(0)
    report = check_problem(objective(gradient=lambda w: gradient(w) + 1e-3 * noise.normal(size=8)))
    assert names(report) == {"gradient"}
    assert "different values" in report.failures[0].advice


@pytest.mark.parametrize("name", ["residual", "jvp", "vjp", "hvp"])
def test_numbers_that_are_not_finite_are_counted(name):
    def spoiled(*arguments):
        result = np.array(LEAST_SQUARES[name](*arguments))
        result[2:4] = np.nan
        return result

    report = check_problem(least_squares(**{name: spoiled}))
    failure = report.failures[0]
    assert (failure.function, failure.law, failure.measured) == (name, "finite at w", 2.0)
    assert "the first is 2" in failure.advice


def test_a_wrong_shape_is_a_finding():
    report = check_problem(least_squares(vjp=lambda w, u: np.ones(3)))
    assert names(report) == {"vjp"}
    assert report.failures[0].advice == "vjp returned shape (3,), expected shape (8,)"


def test_an_exception_passes_through():
    def broken(w):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        check_problem(least_squares(residual=broken))


def test_the_point_is_validated():
    with pytest.raises(ValueError, match=re.escape("w has shape (3,)")):
        check_problem(least_squares(), np.ones(3))
    with pytest.raises(ValueError, match=re.escape("w[1] is nan")):
        check_problem(objective(), [0.0, np.nan, 0, 0, 0, 0, 0, 0])


def test_a_point_on_a_kink_is_suspected():
    net = gf.models.TwoLayerNetwork([[1.0], [2.0]], [1.0, 0.5], width=1, activation="relu")
    assert check_problem(net, [1.0, 1.0, 0.5])
    with pytest.raises(ValueError, match="may lie on a kink of the activation"):
        check_problem(net, [1.0, 1.0, -1.0]).raise_if_failed()
