"""The clocks of runs whose gradient norm is a known function of time."""

import math

import grokflow as gf
import numpy as np
import pytest
import reference.clocks
from grokflow.clocks import clocks
from grokflow.solution import Solution


def run(t, grad_norm, norm, decay):
    return Solution(
        t=t,
        w=None,
        observed={"grad_norm": grad_norm, "norm": norm},
        final=np.zeros(1),
        t_final=float(t[-1]),
        settings={"weight_decay": decay},
    )


def test_power_laws_are_found_exactly():
    t = np.geomspace(1.0, 1e5, 23)
    found = clocks(run(t, t**-2.0, 4.0 * t**-0.5, 1e-6))
    assert found.t_gf == pytest.approx(1e-3**-0.5, rel=1e-12)
    assert found.t_wd == pytest.approx(4e-6 ** (-1 / 1.5), rel=1e-12)
    assert found.t_final == 1e5


def test_exponential_decay_on_a_fine_grid():
    t = np.concatenate([[0.0], np.geomspace(1e-3, 100.0, 2000)])
    sol = run(t, np.exp(-t), np.ones_like(t), 1e-5)
    found = clocks(sol)
    assert found.t_gf == pytest.approx(math.log(1e3), rel=1e-4)
    assert found.t_wd == pytest.approx(math.log(1e5), rel=1e-4)
    assert found.separation == pytest.approx(1e5)
    assert found.expected
    assert clocks(sol, eps=0.1).t_gf == pytest.approx(math.log(10.0), rel=1e-4)


def test_what_was_not_reached_is_nan():
    found = clocks(run(np.array([0.0, 1.0, 2.0]), np.array([1.0, 0.9, 0.8]), np.ones(3), 0.1))
    assert math.isnan(found.t_gf)
    assert math.isnan(found.t_wd)
    assert not found.expected


def test_crossing_on_the_first_interval_and_at_the_start():
    t = np.array([0.0, 2.0])
    assert 0.0 < clocks(run(t, np.array([1.0, 1e-6]), np.ones(2), 1e-4)).t_wd < 2.0
    assert clocks(run(t, np.array([1e-6, 1e-7]), np.ones(2), 1e-4)).t_wd == 0.0


def test_no_decay_and_decay_by_block():
    t = np.geomspace(1.0, 1e3, 10)
    free = clocks(run(t, t**-2.0, np.ones(10), 0.0))
    assert math.isnan(free.t_wd)
    assert free.separation == math.inf
    blocks = clocks(run(t, t**-2.0, np.ones(10), {"u": 1e-4, "b": 0.0}))
    assert blocks.t_wd == pytest.approx(100.0)


@pytest.mark.parametrize("decay", [1e-2, 1e-6, 0.0, {"u": 1e-4, "v": 0.0}])
@pytest.mark.parametrize("eps", [1e-1, 1e-4])
def test_reference(decay, eps):
    t = np.geomspace(1e-2, 1e4, 60)
    sol = run(t, 3.0 / (1 + t) ** 1.3, 5.0 / (1 + 0.1 * t) ** 0.2, decay)
    found, expected = clocks(sol, eps=eps), reference.clocks.clocks(sol, eps=eps)
    for name in ("t_gf", "t_wd", "t_final", "separation"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-12, err_msg=name)


def test_misuse():
    sol = run(np.array([1.0, 2.0]), np.ones(2), np.ones(2), 1e-3)
    with pytest.raises(ValueError, match="eps is 2"):
        clocks(sol, eps=2)
    del sol.observed["grad_norm"]
    problem = gf.models.LinearRegression([[1.0, 1.0]], [2.0])
    with pytest.raises(ValueError, match="sol is a drift"):
        clocks(gf.norm_flow(problem, [1.5, 0.5], (0, 1)))
    with pytest.raises(ValueError, match="did not record grad_norm"):
        clocks(sol)


@pytest.mark.parametrize("level", [{"below": 0.05}, {"above": 0.3}, {"below": 1e-9}, {"above": 0.999}])
def test_crossings_are_those_of_the_twin(level):
    t = np.concatenate([[0.0], np.geomspace(1e-2, 1e3, 60)])
    falling = np.exp(-t / 30.0) + 0.02 * np.sin(t) ** 2
    sol = run(t, falling if "below" in level else 1.0 - falling, np.ones_like(t), 0.1)
    ours = gf.crossing_time(sol, "grad_norm", **level)
    theirs = reference.clocks.crossing_time(sol, "grad_norm", **level)
    assert ours == pytest.approx(theirs, rel=1e-9, nan_ok=True)


def test_a_level_is_crossed_for_good():
    t = np.array([1.0, 10.0, 100.0, 1000.0, 10000.0])
    sol = run(t, np.array([0.0, 1.0, 0.1, 1.0, 1.0]), t**-1.0, 0.1)
    assert gf.crossing_time(sol, "grad_norm", above=0.5) == pytest.approx(100.0 * 10 ** math.log10(5.0))
    assert gf.crossing_time(sol, "norm", below=0.02) == pytest.approx(50.0)
    assert gf.crossing_time(sol, "norm", below=2.0) == 1.0
    assert math.isnan(gf.crossing_time(sol, "norm", below=1e-5))


def test_crossings_refuse():
    sol = run(np.ones(2), np.ones((2, 3)), np.ones(2), 0.1)
    for levels in ({}, {"below": 1.0, "above": 2.0}):
        with pytest.raises(ValueError, match="give one of them"):
            gf.crossing_time(sol, "norm", **levels)
    with pytest.raises(ValueError, match="3 components"):
        gf.crossing_time(sol, "grad_norm", below=1.0)
    with pytest.raises(ValueError, match="below is -1"):
        gf.crossing_time(sol, "norm", below=-1.0)
    with pytest.raises(KeyError):
        gf.crossing_time(sol, "margin", above=0.5)
