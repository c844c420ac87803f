"""The budget of time for each run of a sweep, however the run hangs, and wherever it is computed."""

import collections
import contextlib
import itertools
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import grokflow as gf
import numpy as np
import pytest
import sweep_runs
from grokflow.deadline import ends_in, seconds_left
from grokflow.sweeps import budget

pytest.importorskip("xarray")
pytestmark = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning", "ignore:.*fork:DeprecationWarning")


@pytest.fixture(autouse=True)
def short_grace(monkeypatch):
    monkeypatch.setattr(budget, "GRACE", 0.1)


def spins(x):
    while x == 2:
        pass
    return x


def spins_and_catches_all(x):
    while x == 2:
        with contextlib.suppress(Exception):
            time.sleep(1e-3)
    return x


class SlowToLoad:
    def __getstate__(self):
        return {"what": "loads slowly"}

    def __setstate__(self, state):
        time.sleep(0.3)


def waits(x, option=None):
    if x == 2:
        time.sleep(1e6)
    return x


def never_returns_to_python(x):
    if x == 2:
        collections.deque(itertools.repeat(None), maxlen=0)
    return x


def dies(x):
    if x == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def exits(x):
    if x == 2:
        raise SystemExit(3)
    return x


def flow_of_ones_own(x):
    problem, w0 = sweep_runs.problem(0)
    sol = gf.gradient_flow(problem, w0, (0, 1e6), weight_decay=1e-6, max_step=1e-4 if x == 2 else 1e4)
    return {"reached": sol.t_final}


def three(run, executor=None, max_time=0.2):
    return gf.sweep(run, {"x": [1, 2, 3]}, executor=executor, max_time=max_time)


def assert_only_the_second_is_stopped(ds):
    assert list(ds["status"]) == ["finished", "time_limit", "finished"]
    np.testing.assert_array_equal(ds["value"], [1, np.nan, 3])
    assert "max_time = 0.2" in str(ds["message"].values[1])


@pytest.mark.parametrize("run", [spins, spins_and_catches_all, waits])
@pytest.mark.parametrize("make_executor", [lambda: None, lambda: ThreadPoolExecutor(1)])
def test_threads_are_interrupted_or_left_behind(run, make_executor):
    assert_only_the_second_is_stopped(three(run, make_executor()))


@pytest.mark.parametrize("run", [spins, waits, never_returns_to_python])
def test_processes_are_stopped_wherever_they_are(run):
    with ProcessPoolExecutor(1) as executor:
        assert_only_the_second_is_stopped(three(run, executor))
        assert_only_the_second_is_stopped(three(run, executor))


def test_the_time_to_send_a_run_is_not_its_own():
    """Nor is that in which its process starts and imports."""
    with ProcessPoolExecutor(1) as executor:
        ds = gf.sweep(waits, {"x": [1]}, executor=executor, max_time=1e-3, option=SlowToLoad())
    assert list(ds["status"]) == ["finished"]


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_run_that_kills_its_process_fails_alone():
    with ProcessPoolExecutor(1) as executor:
        ds = three(dies, executor, max_time=60)
    assert list(ds["status"]) == ["finished", "failed", "finished"]
    assert ds["message"].values[1] == "its process ended with exit code -9"


@pytest.mark.parametrize("make_executor", [lambda: ThreadPoolExecutor(1), lambda: ProcessPoolExecutor(1)])
def test_a_run_that_exits_fails_alone(make_executor):
    with make_executor() as executor:
        ds = three(exits, executor, max_time=60)
    assert list(ds["message"]) == ["", "SystemExit: 3", ""]


@pytest.mark.parametrize("make_executor", [lambda: ThreadPoolExecutor(1), lambda: ProcessPoolExecutor(1)])
def test_solvers_within_a_run_end_in_time_with_what_they_have(make_executor):
    with make_executor() as executor:
        ds = three(flow_of_ones_own, executor, max_time=0.5)
    assert (ds["status"] == "finished").all()
    assert ds["reached"].values[0] == ds["reached"].values[2] == 1e6
    assert 0 < ds["reached"].values[1] < 1e6


@pytest.mark.parametrize("make_executor", [lambda: None, lambda: ProcessPoolExecutor(1)])
def test_a_budget_changes_no_bit(make_executor):
    executor = make_executor()
    ds = gf.sweep(flow_of_ones_own, {"x": [1, 3]}, executor=executor, max_time=60)
    assert ds.identical(gf.sweep(flow_of_ones_own, {"x": [1, 3]}))
    if executor:
        executor.shutdown()


def test_deadlines_nest():
    assert seconds_left() == np.inf
    with ends_in(100.0):
        with ends_in(1000.0):
            assert 0 < seconds_left() <= 100.0
        with ends_in(1.0):
            assert seconds_left() <= 1.0
        assert seconds_left() > 1.0
    assert seconds_left() == np.inf


def test_a_run_after_the_deadline_ends_at_once():
    problem, w0 = sweep_runs.problem(0)
    with ends_in(-1.0):
        assert gf.gradient_flow(problem, w0, (0, 1e6), weight_decay=1e-3).status == "time_limit"
        assert gf.limit_map(problem, w0).path.status == "time_limit"
    assert gf.gradient_flow(problem, w0, (0, 1e6), weight_decay=1e-3).success


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_a_budget_longer_than_systems_wait_is_no_fault(pool):
    with pool(1) as executor:
        ds = gf.sweep(waits, {"x": [1, 3]}, executor=executor, max_time=1e308)
    np.testing.assert_array_equal(ds["value"], [1, 3])
