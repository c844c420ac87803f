"""Every kind of trouble, provoked: its status, what the message says was seen, at which time, what to try."""

import re
from pathlib import Path

import grokflow as gf
import numpy as np
import pytest

MANUAL = Path(__file__).parents[2] / "docs" / "manual" / "troubles.md"


def scalar(slope, curvature):
    """A problem of one weight, of which only the gradient and the Hessian matter."""
    return gf.Objective(
        loss=lambda w: 0.0,
        gradient=lambda w: [slope(w[0])],
        hessian=lambda w: [[curvature(w[0])]],
        num_params=1,
    )


def flow(problem, w0, t_end=10.0, lam=0.0, **options):
    return gf.gradient_flow(problem, w0, (0, t_end), weight_decay=lam, **options)


def ridge(**options):
    problem = gf.models.LinearRegression([[1.0, 2.0], [0.5, -1.0]], [1.0, 0.0])
    return flow(problem, [1.0, -1.0], 100.0, 0.1, **options)


def stops(t, w):
    return t - 1.0


stops.terminal = True


def blow_up():
    return flow(scalar(lambda w: -(w**3), lambda w: -3 * w**2), [1.0])


def end_of_the_numbers():
    return flow(scalar(lambda w: -1.0 if w < 2 else np.nan, lambda w: 0.0), [1.0])


def no_derivative():
    return flow(scalar(lambda w: w, lambda w: np.nan), [1.0], method="BDF")


def rates_beyond_round_off():
    X = 1e9 * np.random.default_rng(0).standard_normal((5, 8))
    problem = gf.models.LinearRegression(X, np.ones(5))
    return gf.gradient_flow(problem, np.ones(8), (1e3, 2e3), weight_decay=1e-3, method="BDF", max_steps=5000)


def a_manifold_that_ends():
    """M is w_1 = 2 until the drift comes to w_0 = 1, where it is nowhere: each look finds it elsewhere."""
    draws = np.random.default_rng(0)
    problem = gf.LeastSquares(
        residual=lambda w: [w[1] - 2 - (w[0] < 1) * draws.random()],
        jacobian=lambda w: np.array([[0.0, 1.0]]),
        num_params=2,
        num_residuals=1,
    )
    return gf.norm_flow(problem, [2.0, 2.0], (0, 10))


def sparse_drift(**options):
    """It runs into a sparse point, where the kernel loses rank."""
    X = np.random.default_rng(1).standard_normal((5, 6))
    problem = gf.models.DiagonalLinearNetwork(X, 1.5 * X[:, 0])
    start = problem.initial_weights(std=1.0, seed=np.random.default_rng(0))
    return gf.norm_flow(problem, gf.limit_map(problem, start).w, (0, 60), **options)


def nearly_singular_drift(**options):
    """Two samples differ by 3e-7, so that the least eigenvalue is some 1e-13 of the largest."""
    g = np.random.default_rng(0)
    X = g.standard_normal((6, 8))
    X[1] = X[0] + 3e-7 * g.standard_normal(8)
    problem = gf.models.TwoLayerNetwork(X, np.tanh(X[:, 0]), width=12, activation="tanh")
    w = gf.limit_map(problem, 0.7 * g.standard_normal(problem.num_params)).w
    return gf.norm_flow(problem, w, (0, 10), curvature="dense", **options)


PRODUCT = gf.models.DiagonalLinearNetwork([[1.0]], [1.0])

# status: the run, and words that its message must have
TROUBLES = {
    "event": (lambda: ridge(events=stops), "event"),
    "max_steps": (lambda: ridge(max_steps=5), r"limit of 5 steps was reached at t = .* raise max_steps"),
    "time_limit": (lambda: ridge(max_time=1e-9), r"max_time was reached at t = .* raise max_time"),
    "interrupted": (lambda: ridge(callback=lambda t, w: t > 1), "callback"),
    "step_too_small": (blow_up, r"at t = 0\.(5|499).* blows up.* An event on \|\|w\|\| stops before"),
    "non_finite": (end_of_the_numbers, "not finite just after t = 1, however small the step"),
    "solver_failed": (no_derivative, r"Newton's method failed at t = 0 .*check_problem tells"),
    "error_test_failed": (rates_beyond_round_off, r"t = 100\d.* Scale the data, or shorten the span"),
    "left_manifold": (a_manifold_that_ends, r"after t = 0\.693.* is the rank of the Hessian about to change"),
    "rank_change": (
        lambda: sparse_drift(on_rank_change="stop"),
        r"rank of the Hessian changed from .* at s = ",
    ),
    "stationary": (lambda: sparse_drift(kkt_tol=1e-2), "KKT"),
    "landed": (lambda: gf.limit_map(PRODUCT, [2.0, 1.0]), "landed on a minimiser"),
    "saddle": (lambda: gf.limit_map(PRODUCT, [1.0, -1.0]), "1 negative eigenvalue.* Start beside it"),
    "degenerate": (
        lambda: gf.limit_map(scalar(lambda w: w**3, lambda w: 3 * w**2), [1.0]),
        r"at an algebraic rate.* at t = .* vanishes there",
    ),
    "no_minimiser": (
        lambda: gf.limit_map(scalar(lambda w: -np.exp(-w), lambda w: np.exp(-w)), [0.0]),
        r"still growing, to .* at t = .* no minimiser at finite weights",
    ),
}
GOOD = {"event", "stationary", "landed", "finished"}
ELSEWHERE = {"finished", "mode_unresolved", "incomplete", "failed"}  # in C++, in two phases and sweeps


@pytest.mark.filterwarnings("ignore::grokflow.PrecisionWarning")
@pytest.mark.parametrize("status", TROUBLES)
def test_trouble_is_a_status_with_what_was_seen(status):
    run, words = TROUBLES[status]
    found = run()
    assert found.status == status, found.message
    assert re.search(words, found.message), found.message
    assert found.success == (status in GOOD)
    assert (f"See '{status}' in the manual" in found.message) == (status not in GOOD)
    path = getattr(found, "path", found)
    assert path.t.size > 0
    assert np.isfinite(path.final).all()


def test_a_saddle_is_named_where_steps_cannot_pass_it():
    ridge = gf.Objective(
        loss=lambda w: float(w[0] ** 2 - w[1] ** 2),
        gradient=lambda w: np.array([2 * w[0], -2 * w[1]]),
        hvp=lambda w, v: np.array([2 * v[0], -2 * v[1]]),
        num_params=2,
    )
    sol = flow(ridge, [1.0, 0.0], 1e6, method="BDF", max_steps=3000)
    assert sol.status == "max_steps"
    assert re.search("Newton's method failed in .* negative eigenvalue .a saddle is near", sol.message)


def test_every_status_of_the_manual_is_provoked():
    named = re.findall(r"^\| `(\w+)`\{#", MANUAL.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(named) == set(TROUBLES) | ELSEWHERE


@pytest.mark.parametrize(("max_steps", "status"), [(10000, "left_manifold"), (90, "max_steps")])
def test_a_drift_whose_normal_directions_round_off_turns_names_the_eigenvalue(max_steps, status):
    found = nearly_singular_drift(max_steps=max_steps)
    assert found.status == status, found.message
    told = re.search(
        r"No way back to the manifold .* least eigenvalue .* is (\S+) of the largest, so that round-off "
        r"turns its direction by up to .* an rtol_rank above that ratio",
        found.message,
    )
    assert told, found.message
    assert 1e-14 < float(told[1]) < 1e-12
    assert "Newton" not in found.message
