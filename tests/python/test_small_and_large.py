"""Flows far from the usual scales: tiny and huge weights, late starts, long spans, fast rates."""

import grokflow as gf
import numpy as np
import pytest

PAIR = gf.models.DiagonalLinearNetwork([[1.0]], [1.0])  # F = (uv - 1)^2 / 2


def half(t, w):
    return w[0] * w[1] - 0.5


@pytest.mark.parametrize("size", [1e-6, 1e-12, 1e-20, 1e-100, 1e-150])
@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_escape_from_a_saddle_takes_its_time(method, size):
    """u = a cosh x, v = a sinh x with x' = 1 - uv: uv is 1/2 at t = log(2 / a), but for a relative a^2."""
    sol = gf.gradient_flow(PAIR, [size, 0.0], (0, 1000.0), weight_decay=0.0, method=method, events=half)
    assert sol.success
    assert sol.final.prod() == pytest.approx(1, rel=1e-4)
    assert sol.t_events[0] == pytest.approx([np.log(2 / size)], rel=1e-5)


def test_limit_map_from_tiny_weights():
    """The limit from 1e-12 is that of a rich start, not of one whose weights are left to the tolerance."""
    X = [[1, 0.5, 0.7, 0], [0.5, 1, 0.1, 0.7]]
    problem = gf.models.DiagonalLinearNetwork(X, [1.0, 0.0], scale="sum")
    found = gf.limit_map(problem, np.r_[np.full(4, 1e-12), np.zeros(4)])
    assert found.status == "landed"
    np.testing.assert_allclose(found.w[:4] * found.w[4:], [0.03358, 0, 1.3806, -0.22121], atol=2e-5)


@pytest.mark.filterwarnings("ignore:Round-off has chosen it")  # the signs of pairs (u, v), not their products
@pytest.mark.parametrize("size", [1e-40, 1e-60])
def test_limit_map_from_weights_that_vanish(size):
    """From saddle to saddle, where a step in ten is rejected, to the interpolant of least l1 norm."""
    X = [[1, 0.5, 0.7, 0], [0.5, 1, 0.1, 0.7]]
    problem = gf.models.DiagonalLinearNetwork(X, [1.0, 0.0], scale="sum")
    found = gf.limit_map(problem, np.r_[np.full(4, size), np.zeros(4)])
    assert found.status == "landed", found.message
    np.testing.assert_allclose(found.w[:4] * found.w[4:], [0, 0, 1 / 0.7, -0.1 / 0.49], atol=1e-5)


@pytest.mark.filterwarnings("ignore::grokflow.PrecisionWarning")
@pytest.mark.parametrize("rtol", [1e-6, 1e-9, 1e-11])
@pytest.mark.parametrize("size", [1e-40, 1e-80])
@pytest.mark.parametrize(("widths", "status"), [((4,), "landed"), ((4, 4), "saddle")])
def test_a_network_from_weights_that_vanish(widths, status, size, rtol):
    """Biases drown in the round-off of the weights beside them, which keep their digits and leave the saddle.

    That of three layers is left at t = 1 / size, long after the output bias has come to rest.
    """
    rng = np.random.default_rng(0)
    X = rng.standard_normal((6, 2))
    problem = gf.models.MLP(X, np.sin(X[:, 0]) + 0.3, widths=widths, activation="tanh", bias=True)
    w0 = problem.initial_weights(seed=0)
    found = gf.limit_map(problem, w0 * size / np.abs(w0).max(), rtol=rtol, max_steps=50_000)
    assert found.status == status, found.message
    assert found.loss < 1e-25 if status == "landed" else found.loss > 0.1


def test_weights_that_drown_are_told():
    """No rtol can be met for them, and none is proposed."""
    X = np.random.default_rng(0).standard_normal((6, 2))
    problem = gf.models.MLP(X, np.sin(X[:, 0]) + 0.3, widths=(4,), activation="tanh", bias=True)
    with pytest.warns(
        gf.PrecisionWarning, match="no rtol can be met where weights drown in it; ask for a larger atol"
    ):
        sol = gf.gradient_flow(problem, 1e-40 * problem.initial_weights(seed=0), (0, 300.0), weight_decay=0.0)
    assert sol.success


@pytest.mark.parametrize("method", ["BDF", "Radau", "ROCK2"])
@pytest.mark.parametrize("scale", [1e-200, 1e-170, 1.0, 1e170, 1e200])
def test_linear_flows_do_not_know_the_scale(method, scale):
    """w / scale is the same flow: no norm is squared on the way."""
    problem = gf.models.LinearRegression([[1.0, 0.5], [0.0, 2.0]], np.array([1.0, -1.0]) * scale)
    options = {"weight_decay": 0.1, "method": method, "t_eval": [0.1, 1.0, 10.0], "observe": []}
    sol = gf.gradient_flow(problem, np.array([3.0, 2.0]) * scale, (0, 10.0), **options, atol=1e-9 * scale)
    assert sol.success, sol.message
    plain = gf.models.LinearRegression([[1.0, 0.5], [0.0, 2.0]], [1.0, -1.0])
    expected = gf.gradient_flow(plain, [3.0, 2.0], (0, 10.0), **options, rtol=1e-9).w
    np.testing.assert_allclose(sol.w / scale, expected, rtol=2e-4)


@pytest.mark.parametrize("scale", [1e-12, 1e-6, 1e6, 1e12])
def test_a_landing_does_not_know_the_unit_of_time(scale):
    """Inputs times `scale` make the flow faster by its square."""
    X, y = np.array([[1.0, 0.5], [0.0, 2.0]]), np.array([1.0, -1.0])
    landing = gf.limit_map(gf.models.LinearRegression(scale * X, y), [3.0, 2.0])
    assert landing.status == "landed", landing.message
    np.testing.assert_allclose(landing.w, np.linalg.solve(X, y) / scale, rtol=1e-12)


@pytest.mark.parametrize("method", ["BDF", "Radau"])
@pytest.mark.parametrize("t_end", [1e60, 1e170, 1e200, 1e300])
def test_spans_of_any_length(method, t_end):
    """At rest the step grows without bound."""
    problem = gf.models.LinearRegression([[1.0, 0.5]], [1.0])
    sol = gf.gradient_flow(problem, [3.0, 2.0], (0, t_end), weight_decay=0.1, method=method)
    assert sol.status == "finished"
    assert sol.stats["nsteps"] < 2000


@pytest.mark.parametrize("method", ["BDF", "Radau", "ROCK2", "Exponential"])
@pytest.mark.parametrize("unit", [1e-79, 1e-40, 1e40])
def test_a_flow_does_not_know_the_unit_of_time(method, unit):
    """Inputs and targets times `unit` make it, and its decay, faster by the square of that."""
    X, y = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 1.0]]), np.array([1.0, -1.0])
    end = [
        gf.gradient_flow(
            gf.models.LinearRegression(s * X, s * y),
            np.ones(3),
            (0, 1e2 / s**2),
            weight_decay=0.01 * s**2,
            method=method,
        )
        for s in (1.0, unit)
    ]
    assert end[1].success, end[1].message
    np.testing.assert_allclose(end[1].final, end[0].final, rtol=1e-6)


@pytest.mark.parametrize("method", ["BDF", "Radau", "ROCK2"])
@pytest.mark.parametrize("t0", [-1e6, 1e3, 1e9])
def test_a_late_start_changes_nothing(method, t0):
    """The flow is autonomous: rates that the numbers around t0 do not resolve are no trouble."""
    problem = gf.Objective(
        loss=lambda w: float(-1e10 * np.log(w[0])),
        gradient=lambda w: -1e10 / w,
        hessian=lambda w: np.diag(1e10 / w**2),
        num_params=1,
    )
    sol = gf.gradient_flow(problem, [1e-3], (t0, t0 + 1.0), weight_decay=0.0, method=method)
    assert sol.success, sol.message
    assert sol.final == pytest.approx([np.sqrt(1e-6 + 2e10)], rel=1e-5)


@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_rates_beyond_the_resolution_of_the_clock(method):
    problem = gf.Objective(
        loss=lambda w: float(-1e50 * np.log(w[0])),
        gradient=lambda w: -1e50 / w,
        hessian=lambda w: np.diag(1e50 / w**2),
        num_params=1,
    )
    sol = gf.gradient_flow(problem, [1e6], (1.0, 2.0), weight_decay=0.0, method=method)
    assert sol.success, sol.message
    assert sol.final == pytest.approx([np.sqrt(1e12 + 2e50)], rel=1e-5)


@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_rates_beyond_double_precision_are_told(method):
    """1e18 over a span of 1000: round-off moves the weights more than the flow does."""
    X = 1e9 * np.random.default_rng(0).standard_normal((5, 8))
    problem = gf.models.LinearRegression(X, np.ones(5))
    sol = gf.gradient_flow(
        problem, np.ones(8), (1000.0, 2000.0), weight_decay=1e-3, method=method, max_steps=5000
    )
    assert sol.status == "error_test_failed"
    assert "double precision" in sol.message


def logarithmic(w):
    return 1 - np.array([1e-3, 5.0]) / w


def test_stiffness_that_comes_later():
    """F = sum w - c log w from 2 to c: the first curvature grows from 2.5e-4 to 1000 on the way."""
    problem = gf.Objective(
        loss=lambda w: float(np.sum(w - np.array([1e-3, 5.0]) * np.log(w))),
        gradient=logarithmic,
        num_params=2,
    )
    sol = gf.gradient_flow(problem, [2.0, 2.0], (0, 1e3), weight_decay=0.0, method="ROCK2", max_steps=3000)
    assert sol.success, sol.message
    assert sol.final == pytest.approx([1e-3, 5.0], rel=1e-5)


def test_power_method_beside_the_end_of_the_domain():
    """Where it looks, log w is nan: it looks elsewhere."""

    def gradient(w):
        assert not np.isnan(w).any()
        with np.errstate(invalid="ignore"):
            return np.where(w > 0, 1 - np.array([1e-8, 5.0]) / w, np.nan)

    problem = gf.Objective(
        loss=lambda w: float(np.sum(w - np.array([1e-8, 5.0]) * np.log(w))), gradient=gradient, num_params=2
    )
    sol = gf.gradient_flow(problem, [1.1e-8, 2.0], (0, 1e-6), weight_decay=0.0, method="ROCK2")
    assert sol.success, sol.message
    assert sol.final[0] == pytest.approx(1e-8, rel=1e-5)
