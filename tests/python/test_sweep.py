"""Sweeps: many runs of one function, wherever they are computed."""

import importlib.util
import inspect
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import grokflow as gf
import numpy as np
import pytest
import sweep_runs

pytest.importorskip("xarray")

OVER = {"weight_decay": [1e-2, 1e-3], "seed": range(3)}


def make(seed):
    return sweep_runs.problem(seed)


def flows(**how):
    """A small sweep of gradient flows."""
    times = np.logspace(-1, 2, 5)
    return gf.sweep(
        gf.gradient_flow, OVER, problem=sweep_runs.problem, t_span=(0, 100.0), t_eval=times, **how
    )


def test_a_flow_is_that_of_a_single_call_bit_for_bit():
    ds = flows()
    assert ds["train_loss"].dims == ("weight_decay", "seed", "time")
    for lam in OVER["weight_decay"]:
        for seed in OVER["seed"]:
            problem, w0 = sweep_runs.problem(seed)
            sol = gf.gradient_flow(problem, w0, (0, 100.0), weight_decay=lam, t_eval=ds["time"].values)
            row = ds.sel(weight_decay=lam, seed=seed)
            np.testing.assert_array_equal(row["train_loss"], sol["train_loss"])
            assert row["status"] == sol.status


@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # of JAX, where other tests have imported it
@pytest.mark.parametrize("make_executor", [lambda: ThreadPoolExecutor(3), lambda: ProcessPoolExecutor(2)])
def test_the_executor_changes_no_bit(make_executor):
    with make_executor() as executor:
        assert flows(executor=executor).identical(flows())


def test_threads_are_as_before():
    before = gf.get_num_threads()
    gf.set_num_threads(2)
    assert gf.sweep(sweep_runs.threads, {"x": [1]})["value"].values == [1]
    assert gf.get_num_threads() == 2
    gf.set_num_threads(before)


def test_numbers_arrays_and_names_of_what_a_run_returns():
    ds = gf.sweep(lambda a, b, c: {"sum": a + b + c, "row": [a, b]}, {"a": [1, 2], "b": [0.5]}, c=10)
    assert ds["sum"].dims == ("a", "b")
    np.testing.assert_array_equal(ds["sum"], [[11.5], [12.5]])
    np.testing.assert_array_equal(ds["row"].sel(a=2, b=0.5), [2, 0.5])
    assert list(ds["a"]) == [1, 2]
    np.testing.assert_array_equal(gf.sweep(abs_of, {"kind": ["low", "high"]})["value"], [1, 2])


def abs_of(kind):
    return {"low": 1, "high": 2}[kind]


def test_a_run_that_fails_is_told_and_stops_no_other():
    def run(x):
        if x == 2:
            raise ZeroDivisionError("two")
        return "text" if x == 3 else x

    ds = gf.sweep(run, {"x": [1, 2, 3, 4]})
    np.testing.assert_array_equal(ds["value"], [1, np.nan, np.nan, 4])
    assert list(ds["status"]) == ["finished", "failed", "failed", "finished"]
    assert ds["message"].values[1] == "ZeroDivisionError: two"
    assert "must return numbers" in str(ds["message"].values[2])


def test_solutions_come_to_one_grid():
    times = np.array([0.5, 5.0, 500.0])
    ds = gf.sweep(
        gf.gradient_flow, {"seed": [0, 1]}, problem=make, t_span=(0, 100.0), weight_decay=1e-2, times=times
    )
    assert np.isfinite(ds["norm"].values[:, :2]).all()
    assert np.isnan(ds["norm"].values[:, 2]).all()
    with pytest.raises(ValueError, match="different times"):
        gf.sweep(gf.gradient_flow, {"seed": [0, 1]}, problem=make, t_span=(0, 100.0), weight_decay=1e-2)


def test_a_budget_of_time_for_each_run():
    ds = gf.sweep(
        gf.gradient_flow,
        {"seed": [0, 1]},
        problem=make,
        t_span=(0, 1e6),
        weight_decay=1e-6,
        times=[1.0],
        max_time=1e-9,
    )
    assert (ds["status"] == "time_limit").all()


def test_two_phases_are_numbers_too():
    ds = gf.sweep(gf.two_phase, {"seed": [0, 1]}, problem=make, weight_decay=[1e-3, 1e-4])
    assert ds["distance"].shape == (2, 2)
    problem, w0 = make(1)
    phases = gf.two_phase(problem, w0, weight_decay=[1e-3, 1e-4])
    np.testing.assert_array_equal(ds["distance"].sel(seed=1), list(phases.distance.values()))


def calls(folder):
    return len(list(Path(folder).glob("call-*")))


def test_rows_are_kept_and_not_repeated(tmp_path):
    first = gf.sweep(sweep_runs.counted, {"x": [1, 2]}, checkpoint=tmp_path / "rows", folder=str(tmp_path))
    more = gf.sweep(sweep_runs.counted, {"x": [1, 2, 3]}, checkpoint=tmp_path / "rows", folder=str(tmp_path))
    assert calls(tmp_path) == 3
    assert more.isel(x=[0, 1]).identical(first)
    with pytest.raises(ValueError, match="choose another checkpoint folder"):
        gf.sweep(sweep_runs.problem, {"seed": [1]}, checkpoint=tmp_path / "rows")


@pytest.mark.parametrize("kept", [None, 1e-4])
def test_a_folder_serves_any_budget(tmp_path, kept):
    """Only what has run out of another one is done again."""
    how = {"problem": sweep_runs.problem, "t_span": (0, 100.0), "weight_decay": 1e-2, "t_eval": [0.0, 100.0]}
    over, rows = {"seed": [1]}, tmp_path / "rows"
    first = gf.sweep(gf.gradient_flow, over, **how, max_time=kept, checkpoint=rows)
    again = gf.sweep(gf.gradient_flow, over, **how, max_time=100.0, checkpoint=rows)
    assert (again["status"] == "finished").all()
    assert again.identical(first) or kept == 1e-4


def test_failed_runs_are_tried_again(tmp_path):
    how = {"checkpoint": tmp_path / "rows", "folder": str(tmp_path)}
    assert (gf.sweep(sweep_runs.works_the_second_time, {"x": [1]}, **how)["status"] == "failed").all()
    assert (gf.sweep(sweep_runs.works_the_second_time, {"x": [1]}, **how)["value"] == 1).all()


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_after_a_kill_only_what_is_missing_is_done(tmp_path):
    program = Path(__file__).parents[1] / "sweep_runs.py"
    process = subprocess.Popen([sys.executable, str(program), str(tmp_path)])
    while len(list(tmp_path.glob("rows/*.npz"))) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(list(tmp_path.glob("rows/*.npz")))
    before = calls(tmp_path)
    ds = sweep_runs.slow_sweep(tmp_path)
    assert calls(tmp_path) == before + len(ds["x"]) - done
    np.testing.assert_array_equal(ds["value"], np.sqrt(ds["x"]))


def test_misuse_is_told_before_anything_runs(tmp_path):
    ran = []
    run = ran.append
    with pytest.raises(TypeError, match="cannot be called with"):
        gf.sweep(lambda x: ran.append(x), {"x": [1], "y": [2]})
    with pytest.raises(TypeError, match="must be a dict"):
        gf.sweep(run, [1, 2])
    with pytest.raises(TypeError, match=r"over\['x'\] is 3"):
        gf.sweep(run, {"x": 3})
    with pytest.raises(TypeError, match="numbers, texts or truth values"):
        gf.sweep(run, {"x": [[1, 2]]})
    with pytest.raises(TypeError, match="has nan; values are numbers"):
        gf.sweep(run, {"x": [1.0, np.nan]})
    with pytest.raises(ValueError, match="is empty"):
        gf.sweep(run, {"x": []})
    with pytest.raises(ValueError, match="names a value twice"):
        gf.sweep(run, {"x": [1, 1.0]})
    with pytest.raises(TypeError, match="it must be a function"):
        gf.sweep(3, {"x": [1]})
    with (
        ProcessPoolExecutor(1) as executor,
        pytest.raises(TypeError, match=r"cannot send run .* at the top of a module"),
    ):
        gf.sweep(lambda x: ran.append(x), {"x": [1]}, executor=executor)
    assert not ran


class Adapter(Executor):
    """As one writes it for a cluster that sends any function."""

    def submit(self, function, /, *arguments):
        assert inspect.isfunction(function)  # and no other callable, which Ray refuses
        future = Future()
        future.set_result(function(*arguments))
        return future


class Workers(ProcessPoolExecutor):
    pass


def test_executors_of_ones_own():
    np.testing.assert_array_equal(
        gf.sweep(lambda x: 2 * x, {"x": [1, 2]}, executor=Adapter())["value"], [2, 4]
    )
    with pytest.raises(TypeError, match="Adapter cannot send run"):
        gf.sweep(lambda x, lock: x, {"x": [1]}, executor=Adapter(), lock=threading.Lock())
    with Workers(1) as workers, pytest.raises(TypeError, match="Workers cannot send run"):
        gf.sweep(lambda x: x, {"x": [1]}, executor=workers)


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("mpiexec") and importlib.util.find_spec("mpi4py")), reason="no MPI, or no mpi4py"
)
def test_ranks_of_mpi_give_the_same_bits():
    program = Path(__file__).parents[1] / "sweep_mpi.py"
    single = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    crowded = {
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    }
    done = subprocess.run(
        ["mpiexec", "-n", "3", sys.executable, "-m", "mpi4py.futures", str(program)],
        env=os.environ | single | crowded | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_dask_cluster_does_the_runs_of_a_killed_worker_again(tmp_path):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        killed = tmp_path / "killed"
        ds = gf.sweep(
            sweep_runs.kills_its_worker_once,
            {"x": list(range(1, 9))},
            executor=client.get_executor(pure=False),
            killed=str(killed),
        )
        assert killed.exists()
        assert (ds["status"] == "finished").all(), ds["message"].values
        assert ds.identical(
            gf.sweep(sweep_runs.kills_its_worker_once, {"x": list(range(1, 9))}, killed=str(killed))
        )
        assert flows(executor=client.get_executor(pure=False)).identical(flows())
        anonymous = gf.sweep(lambda x: 2 * x, {"x": [1, 2]}, executor=client.get_executor(pure=False))
        np.testing.assert_array_equal(anonymous["value"], [2, 4])


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"executor": 3}, TypeError, "executor is 3; it must be a concurrent.futures.Executor"),
        ({"checkpoint": 3}, TypeError, "checkpoint is 3; it must be a path"),
        ({"times": [0.0, 2.0, 1.0]}, ValueError, r"times is not sorted: times\[1\] = 2 > times\[2\] = 1"),
        ({"times": [[0.0]]}, ValueError, "times"),
        ({"max_time": 0.0}, ValueError, "max_time is 0"),
    ],
)
def test_wrong_arguments_are_told_before_anything_runs(changes, error, words):
    def never(x):
        raise AssertionError

    with pytest.raises(error, match=words):
        gf.sweep(never, {"x": [1]}, **changes)
