"""`grokflow resume`: what a run or a limit has left goes on to the files that it would have written."""

import signal

import grokflow as gf
import numpy as np
import pytest

pytest.importorskip("typer")
from command_line import grokflow, interrupted, refused
from grokflow.solution import Solution

NETWORK = ["--target", "y", "--width", 8, "--test-fraction", 0.5]
RUN = ["run", *NETWORK, "--t-end", 300, "--weight-decay", 1e-3]
LIMIT = ["limit", *NETWORK, "--weight-decay", 1e-2, "--weight-decay", 1e-3, "--s-end", 2]


def same_files(ours, theirs):
    """Assert that two directories hold the same results, but for the seconds that they took."""
    assert sorted(path.name for path in ours.iterdir()) == sorted(path.name for path in theirs.iterdir())
    for path in ours.iterdir():
        other = theirs / path.name
        if path.suffix == ".npz" and path.name != "data.npz":
            a, b = Solution.load(path), Solution.load(other)
            assert (a.status, a.t.tobytes(), a.w.tobytes()) == (b.status, b.t.tobytes(), b.w.tobytes())
            assert all(a[name].tobytes() == b[name].tobytes() for name in b.observed)
            assert {**a.stats, "seconds": 0.0} == {**b.stats, "seconds": 0.0}
        elif path.name != "settings.toml":
            assert path.read_bytes() == other.read_bytes(), path.name


@pytest.mark.parametrize("command", [RUN, LIMIT], ids=["run", "limit"])
def test_pieces_write_what_the_whole_writes(command, csv, tmp_path):
    whole, pieces, checkpoint = tmp_path / "whole", tmp_path / "pieces", tmp_path / "run.ckpt"
    assert grokflow(*command, "--data", csv, "--out", whole).exit_code == 0
    limits = ["--max-time", 1e-9, "--checkpoint", checkpoint, "--checkpoint-errors", "raise"]
    assert grokflow(*command, "--data", csv, *limits, "--out", pieces).exit_code == 1
    assert grokflow("resume", checkpoint, "--max-time", 0.005).exit_code in (0, 1)
    csv.unlink()  # what is needed of it is in the checkpoint
    result = grokflow("resume", checkpoint, "--max-time", 1e3)
    assert result.exit_code == 0, result.output
    same_files(pieces, whole)
    assert grokflow("resume", checkpoint, "--max-time", 1e3, "--out", tmp_path / "again").exit_code == 0
    same_files(tmp_path / "again", whole)


def test_settings_name_a_checkpoint_beside_them(csv, tmp_path):
    path = tmp_path / "mine.toml"
    text = 'data = "table.csv"\ntarget = "y"\nmodel = "linear"\nout = "there"\ncheckpoint = "run.ckpt"\n'
    path.write_text(text + 'checkpoint_every = "90"\n')
    assert grokflow("run", path).exit_code == 0
    refused(grokflow("run", path), "run.ckpt", "where there is a file already: resume its run, or remove it")
    assert grokflow("run", tmp_path / "there" / "settings.toml").exit_code == 0
    assert gf.resume(tmp_path / "run.ckpt").success


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="signals of POSIX")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_checkpoint(sent, csv, tmp_path):
    endless = ["--width", 2000, "--method", "Radau", "--rtol", "1e-13", "--atol", "1e-15", "--t-end", "1e9"]
    command = ["run", "--data", csv, "--target", "y", *endless, "--checkpoint", tmp_path / "run.ckpt"]
    interrupted(sent, tmp_path / "out", *command)
    first = Solution.load(tmp_path / "out" / "trajectory.npz")
    result = grokflow("resume", tmp_path / "run.ckpt", "--max-time", 0.5)
    assert result.exit_code == 1
    assert "The wall-clock limit" in result.stderr
    more = Solution.load(tmp_path / "out" / "trajectory.npz")
    assert more.t_final > first.t_final
    assert np.array_equal(more.t[: len(first.t) - 1], first.t[:-1])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--checkpoint", "missing/run.ckpt"], ["missing is no folder"]),
        (["--checkpoint", "run.ckpt", "--checkpoint-every", "soon"], ["checkpoint_every is 'soon'"]),
        (["--checkpoint", "run.ckpt", "--checkpoint-every", "-1"], ["checkpoint_every is '-1'"]),
        (["--checkpoint", "run.ckpt", "--checkpoint-errors", "hide"], ["checkpoint_errors", "warn", "raise"]),
    ],
)
def test_bad_options_are_refused_before_any_work(options, words, csv, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(grokflow(*RUN, "--data", csv, *options, "--out", tmp_path / "out"), *words)
    assert not (tmp_path / "run.ckpt").exists()


def test_resume_refuses(tmp_path):
    path = tmp_path / "run.ckpt"
    gf.gradient_flow(
        gf.models.LinearRegression([[1.0, 1.0]], [2.0]), [1, 0], (0, 1), weight_decay=1.0, checkpoint=path
    )
    refused(
        grokflow("resume", path), "was written by grokflow.gradient_flow", "in Python, by grokflow.resume"
    )
    path.write_bytes(path.read_bytes()[:-9])
    refused(grokflow("resume", path), "run.ckpt is cut short")
