"""Solution: access, repr, files that survive or say why not, pickle, xarray."""

import dataclasses
import hashlib
import io
import os
import pickle
import sys
import zipfile

import numpy as np
import pytest
from grokflow.files import MARK, FileError, pack
from grokflow.solution import FORMAT_VERSION, Solution


@pytest.fixture
def sol():
    rng = np.random.default_rng(0)
    return Solution(
        t=np.array([0.0, 0.1, 10.0]),
        w=rng.standard_normal((3, 4)),
        observed={"train_loss": np.array([2.0, 1.0, 1e-7]), "singular_values": rng.random((3, 2))},
        final=rng.standard_normal(4),
        t_final=10.0,
        t_events=[np.array([0.3]), np.empty(0)],
        w_events=[rng.standard_normal((1, 4)), np.empty((0, 4))],
        status="finished",
        message="reached t = 10",
        stats={"nfev": 17, "seconds": 0.25},
        settings={"weight_decay": {"u": 1e-3, "v": 0.0}, "max_step": float("inf"), "method": "BDF"},
    )


def assert_equal(a, b):
    for field in dataclasses.fields(Solution):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if isinstance(x, dict):
            assert list(x) == list(y)
            x, y = list(x.values()), list(y.values())
        if isinstance(x, list):
            assert len(x) == len(y)
        else:
            x, y = [x], [y]
        for left, right in zip(x, y, strict=True):
            assert np.shape(left) == np.shape(right)
            assert np.all(left == right)


def test_observed_values_by_name(sol):
    assert sol["train_loss"] is sol.observed["train_loss"]
    with pytest.raises(KeyError, match=r"'nrm' was not observed.*train_loss"):
        sol["nrm"]


@pytest.mark.parametrize(
    ("status", "success"), [("finished", True), ("event", True), ("interrupted", False), ("max_steps", False)]
)
def test_success(sol, status, success):
    assert dataclasses.replace(sol, status=status).success is success


def test_repr_tells_the_story_in_short_lines(sol):
    text = repr(sol)
    assert "Solution: finished, t = 10" in text
    assert "2 -> 1e-07" in text
    assert "nfev 17" in text
    assert "method BDF" in text
    assert all(len(line) < 120 for line in text.splitlines())
    assert "not kept" in repr(dataclasses.replace(sol, w=None))
    many = dataclasses.replace(sol, settings={"t_eval": [0.0, 1.0, 2.0, 3.0, 10.0]})
    assert "t_eval [0 ... 10] (5 values)" in repr(many)


def test_repr_of_an_empty_trajectory(sol):
    empty = dataclasses.replace(
        sol, t=np.empty(0), w=None, observed={"norm": np.empty(0)}, stats={}, settings={}
    )
    assert "0 times" in repr(empty)


@pytest.mark.parametrize("keep", [True, False])
def test_save_and_load_give_the_same_solution(sol, tmp_path, keep):
    sol = sol if keep else dataclasses.replace(sol, w=None)
    sol.save(tmp_path / "run.npz")
    assert_equal(Solution.load(tmp_path / "run.npz"), sol)
    assert os.listdir(tmp_path) == ["run.npz"]


def test_equal_solutions_give_equal_files_that_numpy_reads(sol, tmp_path):
    sol.save(tmp_path / "a.npz")
    sol.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert np.array_equal(archive["t"], sol.t)


def test_pickle(sol):
    assert_equal(pickle.loads(pickle.dumps(sol)), sol)


def test_a_file_cut_anywhere_is_refused(sol, tmp_path):
    path = tmp_path / "run.npz"
    sol.save(path)
    data = path.read_bytes()
    for length in [*range(0, len(data), max(1, len(data) // 64)), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(FileError, match=r"run\.npz is (cut short|not a Solution file)"):
            Solution.load(path)


def test_a_flipped_bit_anywhere_is_noticed(sol, tmp_path):
    path = tmp_path / "run.npz"
    sol.save(path)
    data = bytearray(path.read_bytes())
    for i in [*range(0, len(data), 13), *range(len(data) - 100, len(data))]:
        data[i] ^= 1 << (i % 8)
        path.write_bytes(data)
        with pytest.raises(FileError, match=r"run\.npz"):
            Solution.load(path)
        data[i] ^= 1 << (i % 8)


def test_a_later_format_is_refused(tmp_path):
    path = tmp_path / "run.npz"
    path.write_bytes(pack({"version": FORMAT_VERSION + 1}, {}))
    with pytest.raises(FileError, match=rf"format version {FORMAT_VERSION + 1}; .* up to {FORMAT_VERSION}"):
        Solution.load(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, t=np.zeros(3))
    with pytest.raises(FileError, match="not a Solution file"):
        Solution.load(path)
    path.write_bytes(b"t,loss\n0,1\n")
    with pytest.raises(FileError, match="not a Solution file"):
        Solution.load(path)
    with pytest.raises(FileNotFoundError):
        Solution.load(tmp_path / "missing.npz")


def test_a_pickle_inside_is_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    member, stream = io.BytesIO(), io.BytesIO()
    np.save(member, np.array([Bomb()], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("t.npy", member.getvalue())
        archive.comment = MARK + b"0" * 64
    body = stream.getvalue()[:-64]
    (tmp_path / "bomb.npz").write_bytes(body + hashlib.sha256(body).hexdigest().encode())
    with pytest.raises(FileError, match="no Solution file"):
        Solution.load(tmp_path / "bomb.npz")
    assert not (tmp_path / "exploded").exists()


def test_a_failed_save_leaves_the_old_file(sol, tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    sol.save(path)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        dataclasses.replace(sol, t_final=11.0).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["run.npz"]


def test_to_xarray(sol):
    pytest.importorskip("xarray")
    data = sol.to_xarray()
    assert data["w"].dims == ("time", "parameter")
    assert data["train_loss"].dims == ("time",)
    assert data["singular_values"].dims == ("time", "component")
    assert np.array_equal(data["t"], sol.t)
    assert data.attrs["status"] == "finished"

    more = dataclasses.replace(sol, observed={**sol.observed, "coefficients": np.zeros((3, 5))}).to_xarray()
    assert more["singular_values"].dims == ("time", "singular_values_component")
    assert more["coefficients"].shape == (3, 5)


@pytest.mark.parametrize(("package", "call"), [("xarray", "to_xarray"), ("matplotlib", "plot")])
def test_a_missing_extra_is_named_with_its_command(sol, monkeypatch, package, call):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "grokflow\['):
        getattr(sol, call)()
