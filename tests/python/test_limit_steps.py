"""The explicit method of the drift: its order, its tableau, and its work."""

import grokflow as gf
import numpy as np
import pytest
from limit_problems import hyperbola, landed

CURVED = [3.0, 1.0 / 3.0]  # on u v = 1


def q_error(steps, *, t_eval=None):
    """Return errors of q = u^2 - v^2, which is q(0) e^-2s, with equal steps over 0 <= s <= 1."""
    h = 1.0 / steps
    sol = gf.norm_flow(
        hyperbola(), CURVED, (0, 1), first_step=h, max_step=h, rtol=1e3, atol=1e3, t_eval=t_eval
    )
    assert sol.stats["nsteps"] == steps
    q = sol.w[:, 0] ** 2 - sol.w[:, 1] ** 2
    return np.abs(q - (9.0 - 1.0 / 9.0) * np.exp(-2.0 * sol.t))


def test_order_of_the_steps():
    """Order 5: halving the step divides the error by 32."""
    coarse, fine = (q_error(steps)[-1] for steps in (32, 64))
    assert np.log2(coarse / fine) == pytest.approx(5.0, abs=0.1)


def test_order_between_the_steps():
    """Order 4 of the interpolant, whose local error is of order 5."""
    inside = np.array([0.2, 0.4, 0.6, 0.8])
    coarse, fine = (
        q_error(steps, t_eval=np.add.outer(np.arange(steps), inside).ravel() / steps).max()
        for steps in (32, 64)
    )
    assert np.log2(coarse / fine) == pytest.approx(5.0, abs=0.1)


@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-8])
def test_errors_follow_the_tolerance(rtol):
    sol = gf.norm_flow(hyperbola(), CURVED, (0, 1.5), rtol=rtol, atol=1e-3 * rtol)
    exact = np.array([1.11600394700616667991, 0.8960541785561214692542])
    assert np.linalg.norm(sol.final - exact) < 5.0 * rtol * np.linalg.norm(exact)


def test_work_is_bounded():
    """Six stages a step, the last of which is the first of the next step; few steps for 0 <= s <= 10."""
    for name in ("linear", "diagonal", "completion", "tanh"):
        problem, w = landed(name)
        stats = gf.norm_flow(problem, w, (0, 10)).stats
        attempts = stats["nsteps"] + stats["nrejected"] + stats["nfailed"]
        assert 6 * stats["nsteps"] <= stats["nproject"] <= 6 * attempts + 3
        assert stats["nproject"] < 400
        assert stats["nrejected"] + stats["nfailed"] <= 0.2 * stats["nsteps"]


def test_the_same_run_twice_is_the_same_run():
    problem, w = landed("tanh")
    a, b = (gf.norm_flow(problem, w, (0, 5)) for _ in range(2))
    assert (a.w == b.w).all()
    assert (a.monitor["eta"] == b.monitor["eta"]).all()
