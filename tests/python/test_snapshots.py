"""States that go to a file as they come: what the file holds, also after an interrupt or a kill."""

import dataclasses
import os
import signal
import subprocess
import sys
import textwrap

import grokflow as gf
import numpy as np
import pytest
from grokflow.snapshots import read_snapshots

rng = np.random.default_rng(0)
PROBLEM = gf.models.DiagonalLinearNetwork(rng.standard_normal((3, 5)), rng.standard_normal(3))
W0 = rng.standard_normal(10)


def run(**options):
    return gf.gradient_flow(PROBLEM, W0, (0, 100), weight_decay=1e-2, **options)


def test_file_and_memory_hold_the_same(tmp_path):
    path = tmp_path / "states.npy"
    sol, kept = run(save_states=path), run(save_states=True)
    np.testing.assert_array_equal(sol.w, kept.w)
    assert list(sol.observed) == list(kept.observed)
    assert sol.settings["save_states"] == str(path)
    records = np.load(path, mmap_mode="r")
    np.testing.assert_array_equal(records["t"], kept.t)
    np.testing.assert_array_equal(records["w"], kept.w)


def test_states_are_a_read_only_map(tmp_path):
    sol = run(save_states=str(tmp_path / "states.npy"))
    assert isinstance(sol.w, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        sol.w[0, 0] = 1


@pytest.mark.parametrize("t_eval", ["log", None, [0.0, 1.0, 1.0, 50.0], [50.0], []])
def test_every_way_to_choose_times(tmp_path, t_eval):
    sol = run(save_states=tmp_path / "states.npy", t_eval=t_eval)
    assert sol.w.shape == (sol.t.size, 10)
    np.testing.assert_array_equal(sol.w, run(save_states=True, t_eval=t_eval).w)


def test_drift_and_landing_write_as_well(tmp_path):
    landing = gf.limit_map(PROBLEM, W0, save_states=tmp_path / "fast.npy")
    np.testing.assert_array_equal(landing.path.w, gf.limit_map(PROBLEM, W0, save_states=True).path.w)
    drift = gf.norm_flow(PROBLEM, landing.w, (0, 1), save_states=tmp_path / "slow.npy")
    assert drift.w.shape == (drift.t.size, 10)


def test_saved_solution_refers_to_the_states(tmp_path):
    sol = run(save_states=tmp_path / "states.npy")
    sol.save(tmp_path / "run.npz")
    again = gf.Solution.load(tmp_path / "run.npz")
    assert isinstance(again.w, np.memmap)
    np.testing.assert_array_equal(again.w, sol.w)
    np.testing.assert_array_equal(again["norm"], sol["norm"])
    (tmp_path / "states.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"states\.npy"):
        gf.Solution.load(tmp_path / "run.npz")


def test_an_old_file_is_replaced(tmp_path):
    path = tmp_path / "states.npy"
    path.write_bytes(b"old" * 10_000)
    assert run(save_states=path).w.shape[1] == 10


def test_interrupted_run_keeps_its_states(tmp_path):
    def callback(t, w):
        if t > 1:
            raise KeyboardInterrupt

    path = tmp_path / "states.npy"
    with pytest.raises(KeyboardInterrupt) as caught:
        run(save_states=path, callback=callback)
    sol = caught.value.solution
    assert sol.w.shape == (sol.t.size, 10)
    assert 1 < sol.t_final < 100
    np.testing.assert_array_equal(gf.Solution.load(path).t, sol.t)


def test_observable_that_fails_leaves_no_torn_record(tmp_path):
    """It is evaluated before the snapshot of its time is written, and the run can be taken up again."""
    broken = [True]

    def fragile(t, w):
        if broken[0] and t > 1:
            raise OverflowError
        return t

    options = {"weight_decay": 1e-2, "observe": {"a": fragile}}
    integrator = gf.Integrator(PROBLEM, W0, (0, 100), save_states=tmp_path / "states.npy", **options)
    with pytest.raises(OverflowError):
        integrator.advance(to_end=True)
    broken[0] = False
    integrator.advance(to_end=True)
    sol = integrator.solution()
    np.testing.assert_array_equal(np.load(tmp_path / "states.npy")["t"], sol.t)
    np.testing.assert_array_equal(sol.w, run(save_states=True).w)


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_killed_process_leaves_a_whole_file(tmp_path):
    """SIGKILL in the middle of a run: the file opens, and holds the states up to then."""
    script = f"""
        import os, signal
        import grokflow as gf, numpy as np
        problem = gf.models.LinearRegression(np.eye(3, 4), np.ones(3))
        def kill(t, w):
            if t > 1:
                os.kill(os.getpid(), signal.SIGKILL)
        gf.gradient_flow(problem, np.ones(4), (0, 100), weight_decay=0.1, callback=kill,
                         save_states={str(tmp_path / "states.npy")!r})
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], env=os.environ, check=False)
    assert ended.returncode == -signal.SIGKILL
    sol = gf.Solution.load(tmp_path / "states.npy")
    assert sol.status == "interrupted"
    assert sol.t[0] == 0 < sol.t_final == sol.t[-1]
    np.testing.assert_array_equal(sol.final, sol.w[-1])
    np.testing.assert_array_equal(sol.w[0], np.ones(4))


def test_half_a_record_at_the_end_is_not_seen(tmp_path):
    path = tmp_path / "states.npy"
    sol = run(save_states=path)
    with open(path, "ab") as stream:
        stream.write(b"\x00" * 17)
    np.testing.assert_array_equal(gf.Solution.load(path).w, sol.w)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("states.zarr", ValueError),
        ("states", ValueError),
        ("missing/states.npy", FileNotFoundError),
        ("folder.npy", IsADirectoryError),
    ],
)
def test_bad_paths_are_told_before_any_work(tmp_path, path, error):
    (tmp_path / "folder.npy").mkdir()
    calls = []
    problem = gf.LeastSquares(
        residual=lambda w: calls.append(w) or w, jacobian=lambda w: np.eye(2), num_params=2, num_residuals=2
    )
    with pytest.raises(error, match="save_states"):
        gf.gradient_flow(problem, np.ones(2), (0, 1), weight_decay=0.1, save_states=tmp_path / path)
    assert not calls


def test_another_run_on_the_path_leaves_the_states_of_the_first_alone(tmp_path):
    """Its map goes on to show them, and what is saved of it never becomes the other run's."""
    path = tmp_path / "states.npy"
    first = run(save_states=path)
    first.save(tmp_path / "before.npz")
    kept = np.array(first.w)
    second = run(save_states=path, t_eval=[5.0, 50.0])
    np.testing.assert_array_equal(first.w, kept)
    assert second.w.shape == (2, 10)
    with pytest.raises(gf.FileError, match=r"states\.npy holds the states of another run"):
        gf.Solution.load(tmp_path / "before.npz")
    first.save(tmp_path / "after.npz")
    np.testing.assert_array_equal(gf.Solution.load(tmp_path / "after.npz").w, kept)


def test_part_of_the_states_is_saved_as_such(tmp_path):
    sol = run(save_states=tmp_path / "states.npy")
    for part in [slice(3, None), slice(None, None, 2), slice(None, 3)]:
        dataclasses.replace(sol, t=sol.t[part], w=sol.w[part], observed={}).save(tmp_path / "part.npz")
        np.testing.assert_array_equal(gf.Solution.load(tmp_path / "part.npz").w, sol.w[part])


def test_a_run_that_fails_at_once_leaves_the_old_file(tmp_path):
    old = run(save_states=tmp_path / "states.npy")

    def broken(w):
        raise ZeroDivisionError

    problem = gf.Objective(loss=broken, gradient=lambda w: w, hvp=lambda w, v: v, num_params=10)
    with pytest.raises(ZeroDivisionError):
        gf.gradient_flow(problem, W0, (0, 1), weight_decay=0.1, save_states=tmp_path / "states.npy")
    np.testing.assert_array_equal(gf.Solution.load(tmp_path / "states.npy").w, old.w)


def test_a_second_run_at_the_same_time_is_refused(tmp_path):
    path, refusals = tmp_path / "states.npy", []

    def callback(t, w):
        with pytest.raises(gf.FileError, match=r"another run is writing to .*states\.npy") as refused:
            run(save_states=path)
        refusals.append(refused)
        return len(refusals) == 3

    sol = run(save_states=path, callback=callback)
    assert len(refusals) == 3
    np.testing.assert_array_equal(gf.Solution.load(path).w, sol.w)
    assert [entry.name for entry in tmp_path.iterdir()] == ["states.npy"]


def test_a_run_that_was_left_gives_way_and_is_told(tmp_path):
    """An integrator between two steps holds no lock: in a notebook it would hold it for ever."""
    integrator = gf.Integrator(PROBLEM, W0, (0, 100), weight_decay=1e-2, save_states=tmp_path / "states.npy")
    integrator.step()
    before = integrator.solution()
    other = run(save_states=tmp_path / "states.npy")
    with pytest.raises(gf.FileError, match="no longer holds the states of this run") as caught:
        integrator.advance(to_end=True)
    assert caught.value.solution.w is None
    np.testing.assert_array_equal(before.w[0], W0)
    np.testing.assert_array_equal(gf.Solution.load(tmp_path / "states.npy").w, other.w)


@pytest.mark.parametrize("with_solution", [False, True])
def test_damage_anywhere_is_told(tmp_path, with_solution):
    """A flipped bit in any byte, and a cut at any length, of the file of states."""
    path, pair = tmp_path / "states.npy", tmp_path / "run.npz"
    problem = gf.models.LinearRegression(np.eye(1, 2), [1.0])
    options = {"weight_decay": 0.1, "t_eval": [0.0, 1.0, 2.0], "save_states": path}
    sol = gf.gradient_flow(problem, [2.0, 3.0], (0, 2), **options)
    sol.save(pair)
    whole = path.read_bytes()
    scratch = tmp_path / "scratch"
    damaged = [whole[:i] + bytes([whole[i] ^ 1 << i % 8]) + whole[i + 1 :] for i in range(len(whole))]
    for data in [*damaged, *(whole[:length] for length in range(len(whole)))]:
        scratch.write_bytes(data)
        os.replace(scratch, path)
        with pytest.raises(gf.FileError, match=r"states\.npy"):
            gf.Solution.load(pair if with_solution else path)


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY"])
def test_files_that_hold_no_states(tmp_path, content):
    path = tmp_path / "other.npy"
    path.write_bytes(content)
    with pytest.raises(gf.FileError, match="other"):
        gf.Solution.load(path)
    np.save(path, np.ones(3))
    with pytest.raises(gf.FileError, match="records"):
        read_snapshots(path)
