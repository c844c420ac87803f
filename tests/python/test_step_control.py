"""The sizes of steps on dw/dt = rate * w, where the error estimate of a step has a closed form.

The twins below choose steps in a few lines each, by the rules that are documented beside the constants of the
steppers. A constant that changes by a hundredth changes the times at which steps end.
"""

import math
from itertools import pairwise

import grokflow as gf
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq


def bdf1(rate, t_end, h, rtol, atol):
    """Return the times of BDF of order 1, from w = 1."""
    share = max(0.2 * min(1.0, (rtol / 1e-3) ** 0.25), min(1.0, 1e-13 / rtol))
    rtol, atol = share * rtol, share * atol
    times, w, before, gap = [0.0], 1.0, 1.0 - h * rate, h
    equal, pace, last = 0, 0.0, 0.0
    while (left := t_end - times[-1]) > 0.0:
        h = left if h >= left * (1.0 - 1e-12) else h
        if h * rate >= 1.0:  # what is to be solved has no solution on the path
            equal, h = 0, 0.25 * h
            continue
        slope = (w - before) / gap
        predicted = w + h * slope
        caution = 1.0 if pace < 0.01 else max(1.0, min(2.0 / pace, 100.0, rtol / 1e-13))
        allowed = (atol + rtol * max(abs(w), abs(predicted))) / caution
        correction = h * (rate * predicted - slope) / (1.0 - h * rate)
        error = (h / (h + gap) if len(times) > 1 else 0.5) * abs(correction) / allowed
        factor = (3.0 * max(error, 1e-12)) ** -0.5
        if error > 1.0:
            equal = 0
            h *= min(max(factor, 0.1), 0.9)
            continue
        times.append(times[-1] + h)
        if last > 0.0:
            pace += 0.2 * (math.log(abs(slope) / last) - pace)
        before, w, gap, last = w, predicted + correction, h, abs(slope)
        equal += 1
        if equal > 1 and factor >= 1.1:
            equal = 0
            h *= min(factor, 1e4 if len(times) < 4 else 10.0)
    return times


ROOT = math.sqrt(6.0)
A = np.array(
    [
        [(88 - 7 * ROOT) / 360, (296 - 169 * ROOT) / 1800, (-2 + 3 * ROOT) / 225],
        [(296 + 169 * ROOT) / 1800, (88 + 7 * ROOT) / 360, (-2 - 3 * ROOT) / 225],
        [(16 - ROOT) / 36, (16 + ROOT) / 36, 1 / 9],
    ]
)
E = np.array([-13 - 7 * ROOT, -13 + 7 * ROOT, -1]) / 3
MU = 3 + 9 ** (1 / 3) - 3 ** (1 / 3)


def radau(rate, t_end, h, rtol, atol):
    """Return the times of Radau, from w = 1."""
    times, w = [0.0], 1.0
    last_h, last_error, growth, rejected = 0.0, 0.0, 10.0, False
    while (left := t_end - times[-1]) > 0.0:
        h = left if h >= left * (1.0 - 1e-12) else h
        z = h * rate
        stages = np.linalg.solve(np.eye(3) - z * A, z * w * A.sum(axis=1))
        allowed = atol + rtol * max(abs(w), abs(w + stages[2]))

        def estimate(f, z=z, stages=stages):
            return (E @ stages + z * f) / (MU - z)

        found = estimate(w)
        if abs(found) > allowed and (rejected or last_h == 0.0):
            found = estimate(w + found)
        error = abs(found) / allowed
        factor = max(error, 1e-10) ** -0.25
        if last_h > 0.0:
            factor *= min(1.0, (h / last_h) * (last_error / max(error, 1e-10)) ** 0.25)
        factor = min(max(0.9 * factor, 0.1), 10.0)
        if error > 1.0:
            rejected, growth = True, 1.0
            h *= 0.1 if last_h == 0.0 else max(0.2, factor)
            continue
        times.append(times[-1] + h)
        w, last_h, last_error, rejected = w + stages[2], h, max(error, 1e-2), False
        factor, growth = min(growth, factor), min(10.0, 1.3 * growth)
        h *= 1.0 if 1.0 < factor < 1.2 else factor
    return times


HILL = gf.Objective(
    loss=lambda w: -w @ w / 2, gradient=lambda w: -w, hessian=lambda w: -np.eye(1), num_params=1
)
TWINS = {"BDF": (gf.BDF(max_order=1), bdf1), "Radau": (gf.Radau(), radau)}


def agree(name, problem, rate, t_end, first_step, rtol, atol, accuracy=1e-6):
    method, twin = TWINS[name]
    sol = gf.gradient_flow(
        problem,
        [1.0],
        (0, t_end),
        weight_decay=0.0,
        method=method,
        curvature="dense",
        rtol=rtol,
        atol=atol,
        first_step=first_step,
        t_eval=None,
        observe={},
    )
    assert sol.success
    assert sol.t == pytest.approx(twin(rate, t_end, first_step, rtol, atol), rel=accuracy)


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("rtol", [1e-2, 1e-4])
@pytest.mark.parametrize("first_step", [1e-9, 1e-3, 1.0, 50.0])
def test_steps_of_a_decay(name, rtol, first_step):
    """From a first step that is far too small, or too large, to one that is limited by the end alone."""
    problem = gf.models.LinearRegression([[1.0]], [0.0])
    assert problem.gradient([1.0]) == [1.0]
    agree(name, problem, -1.0, 300.0, first_step, rtol, 1e-3 * rtol)


@pytest.mark.parametrize(
    ("rtol", "atol", "t_end"), [(0.3, 1e-9, 10), (0.1, 1e-9, 10), (0.01, 1e-9, 10), (0.3, 1e9, 30)]
)
def test_bdf_is_cautious_where_errors_grow(rtol, atol, t_end):
    """The more so, the fewer steps errors take to grow by e."""
    agree("BDF", HILL, 1.0, t_end, 1e-3, rtol, atol)


def test_no_tolerance_of_a_step_is_below_round_off():
    """Of the path it is 2e-12 here; for a step a fifth of a hundredth of that would do, were it not noise."""
    problem = gf.models.LinearRegression([[1.0]], [0.0])
    agree("BDF", problem, -1.0, 1e-4, 1e-9, 2e-12, 1e-15, accuracy=2e-3)


@pytest.mark.parametrize(("method", "part"), [("BDF", 4), ("Radau", 2)])
def test_a_step_that_has_no_solution_is_tried_again_at_a_part_of_its_size(method, part):
    """dw/dt = w has none where h is not below an eigenvalue of the method: any that has one will do here."""
    first = next(h for h in 64.0 / part ** np.arange(9.0) if h < {"BDF": 1.0, "Radau": MU}[method])
    sol = gf.gradient_flow(
        HILL,
        [1.0],
        (0, 100),
        weight_decay=0.0,
        method=method,
        atol=1e6,
        first_step=64.0,
        max_steps=8,
        t_eval=None,
    )
    assert sol.t[1] == first


@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_a_step_to_where_f_is_not_finite_is_tried_again_at_a_quarter_of_its_size(method):
    """w = 1 - t, and no gradient below 0."""
    slope = gf.Objective(
        loss=lambda w: w.sum(),
        gradient=lambda w: np.where(w < 0.0, np.nan, 1.0),
        hessian=lambda w: np.zeros((1, 1)),
        num_params=1,
    )
    sol = gf.gradient_flow(
        slope, [1.0], (0, 100), weight_decay=0.0, method=method, first_step=48.0, max_steps=8, t_eval=None
    )
    assert sol.t[1] == 0.75


@pytest.mark.parametrize("error", [0.995, 1.005])
def test_a_first_step_that_all_but_passes_is_estimated_once_more(error):
    """Filtered twice the estimate is smaller: a little beyond the bound it passes."""

    def excess(h):
        stages = np.linalg.solve(np.eye(3) + h * A, -h * A.sum(axis=1))
        return abs((E @ stages - h) / (MU + h)) - 1e-4 * error

    first_step = brentq(excess, 0.05, 1.0)
    problem = gf.models.LinearRegression([[1.0]], [0.0])
    agree("Radau", problem, -1.0, 3.0, first_step, 1e-4, 1e-15)


def test_rejected_steps_of_radau_shrink_to_a_fifth_and_grow_back_by_and_by():
    """At a jump of f; by ten at most, and after a rejection by 1.3 to the power of the steps since."""
    times = []

    def jump(t, y):
        times.append(t)
        return np.full(1, 0.0 if t < 1.0 else 1e3)

    method = {"method": gf.scipy.Radau, "rtol": 1e-4, "atol": 1e-6, "first_step": 1e-3}
    solve_ivp(jump, (0.0, 2.0), [1.0], jac=np.zeros((1, 1)), **method)
    c, steps = A.sum(axis=1), []  # f is asked for at all three stages
    for stages in zip(times, times[1:], times[2:], strict=False):
        h = (stages[2] - stages[0]) / (c[2] - c[0])
        step = stages[2] - h, h
        if h > 0.0 and step[0] + h * c[1] == pytest.approx(stages[1], abs=1e-3 * h):
            steps += [step] if not steps or step != pytest.approx(steps[-1]) else []
    ratios, most = [], 10.0
    for (t, h), (t_next, h_next) in pairwise(steps):
        most = 1.0 if t_next - t < 0.5 * h else min(10.0, 1.3 * most)
        ratios.append(h_next / h)
        assert h_next / h <= most * (1 + 1e-6)
    assert min(ratios) == pytest.approx(0.2)
    assert max(ratios) == pytest.approx(10.0)
