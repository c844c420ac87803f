"""Flows that blow up, break off, cross a kink or start on a saddle: bounded work and an honest status.

Whatever happens, the states are finite, and success is never claimed for less than the span.
"""

import re

import grokflow as gf
import numpy as np
import oracle_problems as op
import pytest

METHODS = pytest.mark.parametrize("method", ["BDF", "Radau"])
CURVATURES = pytest.mark.parametrize("curvature", ["gram", "dense"])


def scalar(gradient, hessian):
    """A loss of one parameter by its first two derivatives, which may overflow."""
    return gf.Objective(
        loss=lambda w: 0.0,
        gradient=np.errstate(all="ignore")(lambda w: np.full(1, gradient(w[0]))),
        hessian=np.errstate(all="ignore")(lambda w: np.full((1, 1), hessian(w[0]))),
        num_params=1,
    )


def run(problem, w0, t_end, **options):
    options = {"weight_decay": 0.0, "observe": {}, "t_eval": None, "max_steps": 20_000} | options
    sol = gf.gradient_flow(problem, w0, (0, t_end), **options)
    assert np.isfinite(sol.final).all()
    assert np.isfinite(sol.w).all()
    assert np.all(np.diff(sol.t) > 0)
    assert sol.success == (sol.t_final == t_end)
    assert sol.message
    return sol


@METHODS
def test_blow_up(method):
    """w' = w^2 from 1 is w = 1 / (1 - t): steps shrink with what is left, as many in every decade of w."""
    sol = run(scalar(lambda w: -(w**2), lambda w: -2 * w), [1.0], 2, method=method)
    assert sol.status == "step_too_small"
    assert sol.t_final == pytest.approx(1, abs=10 * sol.settings["rtol"])
    assert f"{sol.t_final:.3g}" in sol.message
    steps = np.histogram(np.log10(sol.w), np.arange(1, 12))[0]
    assert np.ptp(steps) <= 1 + 0.01 * steps.mean()


@METHODS
@pytest.mark.parametrize("span", [2, 1e5])
def test_a_rate_beyond_precision_is_told(method, span):
    """That of w' = w^2 is 2 w; round-off, multiplied by it, reaches w within the span asked for, or not."""
    sol = run(scalar(lambda w: -(w**2), lambda w: -2 * w), [1.0], span, method=method)
    beyond = 2 * sol.final[0] * span > 1 / np.finfo(float).eps
    assert ("The fastest rate, " in sol.message) == beyond == (span > 2)


@METHODS
def test_end_of_a_square_root(method):
    """w = sqrt(1 - t) cannot go on beyond t = 1."""
    sol = run(scalar(lambda w: 0.5 / w, lambda w: -0.5 / w**2), [1.0], 2, method=method)
    assert sol.status in ("step_too_small", "error_test_failed", "solver_failed", "non_finite")
    assert sol.t_final == pytest.approx(1, abs=1e-3)
    assert sol.stats["nfev"] < 20_000


@METHODS
def test_sliding_along_a_jump(method):
    """F = |w| arrives at 0 at t = 1 and slides, by steps none of which is smooth: it is told how well."""
    with pytest.warns(gf.PrecisionWarning, match="jumps") as told:
        sol = run(scalar(np.sign, lambda w: 0.0), [1.0], 2, method=method, max_steps=2000)
    factor = float(re.search(r"up to a factor ([\d.e+]+):", str(told[0].message))[1])
    assert sol.status in ("finished", "max_steps")
    assert sol.t_final > 1
    exact = np.maximum(1 - sol.t, 0)
    assert (
        np.abs(sol.w[:, 0] - exact) <= factor * (sol.settings["atol"] + sol.settings["rtol"] * exact)
    ).all()


@METHODS
def test_one_kink(method):
    """w' = -w above 1 and -2 w below, from 2: w = exp(-2 (t - log 2)) in the end."""
    slopes = scalar(lambda w: w if w > 1 else 2 * w, lambda w: 1.0 if w > 1 else 2.0)
    sol = run(slopes, [2.0], 3, method=method)
    assert sol.success
    assert sol.final[0] == pytest.approx(np.exp(-2 * (3 - np.log(2))), rel=1e-3)


@METHODS
@CURVATURES
@pytest.mark.parametrize("w0", [[0.0, 0.0], [1.0, 1.0]])
def test_start_at_rest(method, curvature, w0):
    """(u v - 1)^2 / 2 at its saddle and on its manifold: nothing moves, and no system needs to be solved."""
    problem = op.diagonal_network(np.ones((1, 1)), np.ones(1)).compiled()
    sol = run(problem, w0, 1e6, method=method, curvature=curvature)
    assert sol.success
    assert sol.final.tolist() == w0
    assert sol.stats["nsteps"] < 200


@METHODS
@CURVATURES
def test_escape_from_near_a_saddle(method, curvature):
    """Gauss-Newton does not see the negative curvature at 0, yet a step must not settle there."""
    problem = op.diagonal_network(np.ones((1, 1)), np.ones(1)).compiled()
    sol = run(problem, [1e-12, 1.5e-12], 100, method=method, curvature=curvature, atol=1e-15)
    assert sol.success
    assert np.prod(sol.final) == pytest.approx(1, abs=1e-6)
    exact = np.array([(1 + 1.5) / 2, (1 + 1.5) / 2])  # the sum u + v grows, the difference dies out
    np.testing.assert_allclose(sol.final / exact, 0.8, rtol=1e-4)


@METHODS
def test_maximum(method):
    """F = -w^4 / 4 + w^6 / 6 from just beside its flat maximum at 0 ends at 1."""
    hill = scalar(lambda w: -(w**3) + w**5, lambda w: -3 * w**2 + 5 * w**4)
    assert run(hill, [0.0], 1e3, method=method).final[0] == 0
    assert run(hill, [0.05], 1e3, method=method).final[0] == pytest.approx(1, abs=1e-6)


@METHODS
def test_singular_hessian(method):
    """Parameters that the loss does not see, and no weight decay: I + h H is regular all the same."""
    problem = gf.models.LinearRegression(np.array([[1.0, 0.0, 1.0]]), np.ones(1))
    sol = run(problem, [1.0, 2.0, 3.0], 1e8, method=method)
    assert sol.success
    np.testing.assert_allclose(sol.final, [-0.5, 2.0, 1.5], rtol=1e-6)


@METHODS
def test_hessian_of_either_sign(method):
    """F = sum cos w_i: I + h H is indefinite at the start; the flow ends at odd multiples of pi."""
    waves = gf.Objective(
        loss=lambda w: np.sum(np.cos(w)),
        gradient=lambda w: -np.sin(w),
        hessian=lambda w: -np.diag(np.cos(w)),
        num_params=4,
    )
    sol = run(waves, [0.1, -0.2, 3.0, 7.0], 50, method=method, curvature="dense")
    assert sol.success
    np.testing.assert_allclose(sol.final, np.pi * np.array([1, -1, 1, 3]), rtol=1e-6)


@METHODS
def test_overflow_in_the_first_step(method):
    """A gradient that overflows just beyond the start shrinks the step, or ends with a status."""
    cliff = scalar(lambda w: -np.exp(min(w, 800.0)) if w < 709 else np.inf, lambda w: -np.exp(min(w, 700.0)))
    sol = run(cliff, [700.0], 1.0, method=method)
    assert sol.status in ("non_finite", "step_too_small", "solver_failed")


@METHODS
def test_runaway_without_minimum(method):
    """Separable classification: the norm grows like log t, for ever, and that is what is returned."""
    problem = op.logistic_regression(np.array([[1.0, 0.2], [0.5, 1.0]]), [1, 1]).compiled()
    sol = run(problem, [0.0, 0.0], 1e12, method=method)
    assert sol.success
    norms = np.linalg.norm(sol.w, axis=1)
    assert np.all(np.diff(norms) >= 0)
    assert 20 < norms[-1] < 60
