"""What may befall a checkpoint: a process that is killed, a full disk, a damaged file, a second run."""

import os
import subprocess
import sys
from pathlib import Path

import grokflow as gf
import numpy as np
import pytest
from checkpoints import PROBLEMS, same
from grokflow import files
from grokflow.checkpoint import journal

KILLS = Path(__file__).with_name("kills.py")
FEW_AND_MANY = [3, pytest.param(50, marks=pytest.mark.slow)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes of POSIX")
@pytest.mark.parametrize("count", FEW_AND_MANY)
@pytest.mark.parametrize("name", ["relu", "krylov", "functions", "two_phase", "command"])
def test_runs_that_are_killed_lose_an_interval_and_end_in_the_same_bits(name, count):
    if name == "command":
        pytest.importorskip("typer")
    one_thread = os.environ | {"GROKFLOW_NUM_THREADS": "1"}
    killing = [sys.executable, KILLS, name, str(count)]
    ended = subprocess.run(killing, stderr=subprocess.PIPE, env=one_thread, check=False, timeout=600)
    assert ended.stderr.decode() == ""


@pytest.fixture
def small(tmp_path):
    """A checkpoint of some kilobytes, of a run that a limit has ended."""
    path = tmp_path / "run.ckpt"
    problem = gf.models.LinearRegression([[1.0, 1.0]], [2.0])
    gf.gradient_flow(problem, [1.0, 0.0], (0.0, 10.0), weight_decay=0.1, max_steps=3, checkpoint=path)
    return path


def test_a_flipped_bit_anywhere_is_told_with_its_place(small):
    whole = small.read_bytes()
    assert gf.resume(small).success is False
    small.write_bytes(whole)
    for place in range(len(whole)):
        small.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(gf.FileError, match=r"run\.ckpt is .*offset"):
            gf.resume(small)


def test_a_cut_anywhere_is_told_with_its_place(small):
    whole = small.read_bytes()
    for length in range(len(whole)):
        small.write_bytes(whole[:length])
        with pytest.raises(gf.FileError, match=r"run\.ckpt is (cut short|no checkpoint).*offset"):
            gf.resume(small)
    small.write_bytes(whole + b"x")
    with pytest.raises(gf.FileError, match="longer than it says"):
        gf.resume(small)


FOREIGN = {
    "empty": lambda good: b"",
    "text": lambda good: b"t,loss\n0,1\n" * 99,
    "zip": lambda good: b"PK\x03\x04" + bytes(400),
    "zeros": lambda good: bytes(len(good)),
    "with a mark of UTF-8": lambda good: b"\xef\xbb\xbf" + good,
    "sent as text": lambda good: good.replace(b"\n", b"\r\n"),
    "twice": lambda good: good + good,
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_of_another_kind_is_told_and_left_alone(kind, small):
    small.write_bytes(FOREIGN[kind](small.read_bytes()))
    before = small.read_bytes()
    with pytest.raises(gf.FileError, match=r"run\.ckpt is (no checkpoint|longer).*offset"):
        gf.resume(small)
    assert small.read_bytes() == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="files of POSIX")
def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(gf.FileError, match="pipe is a pipe; a checkpoint is a file"):
        gf.resume(tmp_path / "pipe")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(OSError, match="loop"):
        gf.resume(loop)


def test_a_file_is_never_overwritten_and_never_shared(small):
    problem = gf.models.LinearRegression([[1.0, 1.0]], [2.0])
    with pytest.raises(FileExistsError, match=r"file already: resume its run, or remove it"):
        gf.gradient_flow(problem, [1.0, 0.0], (0.0, 10.0), weight_decay=0.1, checkpoint=small)
    found = []

    def second(t, w):
        with pytest.raises(gf.FileError, match="another run is writing"):
            gf.resume(small)
        found.append(t)
        return True

    gf.resume(small, callback=second, max_steps=10**6)
    assert len(found) == 1


def run(**options):
    return gf.gradient_flow(PROBLEMS["linear"](), np.ones(6), (0.0, 10.0), weight_decay=0.1, **options)


@pytest.fixture
def limited(tmp_path):
    """A checkpoint of the first steps, and a limit on the size of files that those of later ones exceed."""
    resource = pytest.importorskip("resource")
    path = tmp_path / "run.ckpt"
    run(max_steps=9, checkpoint=path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 300, before[1]))
    yield path
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("in_memory", [1, 2**26])
def test_a_file_that_may_not_grow_stays_a_good_one(in_memory, limited, monkeypatch):
    """Also where the states of runs that are done have to wait on the disk."""
    monkeypatch.setattr(journal, "IN_MEMORY", in_memory)
    whole = run()
    with pytest.warns(gf.CheckpointWarning, match="File too large.*; the last good one is still there"):
        same(gf.resume(limited, max_steps=1000, checkpoint_every=1e-9), whole)
    last = limited.read_bytes()
    with pytest.raises(OSError, match="File too large") as caught:
        gf.resume(limited, max_steps=1000, checkpoint_every=1e-9, checkpoint_errors="raise")
    assert caught.value.filename == str(limited)
    assert caught.value.solution.t_final > 0.0
    assert limited.read_bytes() == last
    assert [path.name for path in limited.parent.iterdir()] == ["run.ckpt"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a full disk of Linux")
def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "run.ckpt"
    run(max_steps=4, checkpoint=path)
    before = path.read_bytes()
    monkeypatch.setattr(files, "open", lambda path, mode: open("/dev/full", "wb"), raising=False)  # noqa: SIM115
    with pytest.warns(gf.CheckpointWarning, match="No space left on device; the last good one"):
        same(gf.resume(path, max_steps=1000), run())
    with pytest.raises(OSError, match="No space left"):
        gf.resume(path, max_steps=1000, checkpoint_errors="raise")
    assert path.read_bytes() == before
