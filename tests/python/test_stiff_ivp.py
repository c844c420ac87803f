"""BDF and Radau on the classic stiff test problems, through a flow with a dense Jacobian.

Errors are in units of the tolerance, max |y - reference| / (atol + rtol |reference|) over all components and
all reference times.
"""

import numpy as np
import pytest
import stiff_problems
from dense_flow import integrate
from scipy.integrate import solve_ivp

TOLERANCES = (1e-4, 1e-6, 1e-8)
METHODS = ("BDF", "Radau")

# Units of the tolerance. On the limit cycle of OREGO an early error is a shift in time, which the next jump
# multiplies.
LIMITS = {("BDF", "orego"): 15}


def limit(method, name):
    return LIMITS.get((method, name), 10)


def share(method, rtol):
    """Return the tolerance of a step over that of the path, which SciPy does not tell apart."""
    return 0.2 * (rtol / 1e-3) ** 0.25 if method == "BDF" else 1.0


def problem_for(name):
    """Return the problem up to the time where double precision still carries all its digits.

    E5 obeys y2 = y3 + y4 with y4 / y2 down to 1e-10 beyond t = 1e7, and its linear systems are so stiff that
    round-off breaks this by 1e-8. Two periods of Van der Pol tell as much as eleven.
    """
    problem = stiff_problems.ALL[name]()
    return problem.up_to({"e5": 1e5, "vdpol": 2.0}.get(name, np.inf))


def solve(problem, method, rtol, **options):
    options = {"t_eval": problem.t} | options
    sol = integrate(
        problem.f,
        problem.jacobian,
        problem.y0,
        (0.0, problem.t[-1]),
        method=method,
        rtol=rtol,
        atol=rtol * problem.floor,
        **options,
    )
    assert sol.status == "finished", sol.message
    return sol


@pytest.fixture(scope="module", params=stiff_problems.ALL)
def name(request):
    return request.param


@pytest.fixture(scope="module", params=METHODS)
def method(request):
    return request.param


@pytest.fixture(scope="module")
def solutions(method, name):
    """The problem solved at every tolerance."""
    return [solve(problem_for(name), method, rtol) for rtol in TOLERANCES]


def test_error_is_what_the_tolerance_promises(method, name, solutions):
    problem = problem_for(name)
    errors = [problem.error(sol.w, rtol) for sol, rtol in zip(solutions, TOLERANCES, strict=True)]
    assert max(errors) < limit(method, name), errors


def test_error_falls_with_the_tolerance(method, name, solutions):
    """Tolerance proportionality: error ~ rtol^1 in the mean over four decades."""
    problem = problem_for(name)
    errors = [rtol * problem.error(sol.w, rtol) for sol, rtol in zip(solutions, TOLERANCES, strict=True)]
    slope = np.polyfit(np.log(TOLERANCES), np.log(errors), 1)[0]
    assert 0.55 < slope < 1.6, errors


def test_work_is_bounded_by_that_of_scipy(method, name, solutions):
    """SciPy's method at the same tolerance of a step is the measure: a regression shows without a clock."""
    problem = problem_for(name)
    for sol, asked in zip(solutions, TOLERANCES, strict=True):
        rtol = share(method, asked) * asked
        peer = solve_ivp(
            lambda t, y: problem.f(y),
            (0.0, problem.t[-1]),
            problem.y0,
            method=method,
            jac=lambda t, y: problem.jacobian(y),
            rtol=rtol,
            atol=rtol * problem.floor,
        )
        assert sol.stats["nsteps"] < 1.5 * (peer.t.size - 1) + 10
        assert sol.stats["nfev"] < 1.5 * peer.nfev + 20


def test_matrices_are_kept(method, solutions):
    """At most one factorisation of each shift for an attempt or a Jacobian; BDF keeps Jacobians."""
    for sol in solutions:
        stats = sol.stats
        attempts = stats["nsteps"] + stats["nrejected"] + stats["nfailed"]
        shifts = {"BDF": 1, "Radau": 2}[method]
        assert stats["nfactor"] <= shifts * (attempts + stats["nlinearize"])
        assert stats["nlinearize"] <= {"BDF": 0.4, "Radau": 1.0}[method] * attempts + 10


def test_linear_invariants_are_kept(method):
    """What the right-hand side conserves linearly, every step conserves up to the linear solver."""
    robertson = stiff_problems.rober()
    sums = solve(robertson, method, 1e-4).w.sum(axis=1)
    np.testing.assert_allclose(sums, 1, rtol=0, atol=1e-11)
    plant = stiff_problems.hires()
    y = solve(plant, method, 1e-4).w
    np.testing.assert_allclose(y[:, 6] + y[:, 7], 0.0057, rtol=0, atol=1e-14)


def test_pyrolysis_to_the_end_of_time(method):
    """E5 to t = 1e13: finite states, little work, an error set by the round-off of the invariant."""
    problem = stiff_problems.e5()
    sol = solve(problem, method, 1e-6)
    assert np.isfinite(sol.w).all()
    assert sol.stats["nsteps"] < 3000
    np.testing.assert_allclose(sol.w[problem.t == 1e9][0, :3], problem.y[problem.t == 1e9][0, :3], rtol=1e-3)


def test_oscillator_through_eleven_units_of_time(method):
    problem = stiff_problems.vdpol()
    assert problem.error(solve(problem, method, 1e-7).w, 1e-7) < 1000


def test_error_against_steps_shows_the_order(method):
    """error ~ steps^-p on a smooth non-stiff curve: p about 5 for both methods once BDF is at order 5."""
    t_end = 10.0
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    steps, errors = [], []
    for rtol in np.logspace(-6, -10, 5):
        sol = integrate(
            lambda y: turn @ y,
            lambda y: turn,
            np.array([1.0, 0.0]),
            (0, t_end),
            method=method,
            rtol=rtol,
            atol=rtol,
        )
        steps.append(sol.stats["nsteps"])
        errors.append(np.linalg.norm(sol.final - [np.cos(t_end), -np.sin(t_end)]))
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert 3.5 < slope < 7, (steps, errors)


def test_stiff_decay_to_rest_takes_large_steps(method):
    """L-stability: y' = -1e6 (y - 1) over 1e6 time constants takes a few dozen steps and does not ring."""
    sol = integrate(
        lambda y: -1e6 * (y - 1),
        lambda y: np.array([[-1e6]]),
        np.zeros(1),
        (0, 1.0),
        method=method,
        t_eval=None,
    )
    assert sol.stats["nsteps"] < 150
    assert abs(sol.final[0] - 1) < 1e-9
    assert np.max(sol.w) < 1 + 1e-5


def test_events_of_an_oscillator(method):
    """Van der Pol with eps = 1e-6 crosses zero once in each half period, in alternating directions."""
    problem = stiff_problems.vdpol().up_to(3.0)

    def zero(t, y):
        return y[0]

    falling = lambda t, y: y[0]  # noqa: E731
    falling.direction = -1
    sol = solve(problem, method, 1e-7, events=[zero, falling])
    times = sol.t_events[0]
    assert times.size in (3, 4)
    period = np.diff(times)
    np.testing.assert_allclose(period, period[0], rtol=1e-3)
    np.testing.assert_allclose(sol.t_events[1], times[::2], rtol=1e-12)
    assert np.max(np.abs([y[0] for y in sol.w_events[0]])) < 1e-3
