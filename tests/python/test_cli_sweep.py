"""`grokflow sweep`: files, what is done again, and bad input."""

import csv as tables
import os

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("xarray")
import xarray
from command_line import grokflow, refused
from grokflow.solution import Solution

TEXT = """
data = "{data}"
target = "y"
model = "linear"
weight_decay = [1e-1, 1e-2]
init_scale = [0.1, 1.0]
seed = [0, 1]
"""


@pytest.fixture
def settings(csv, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(TEXT.format(data=csv.as_posix()))
    return path


def test_lists_become_a_data_set_a_table_and_a_figure(settings, tmp_path):
    out = tmp_path / "out"
    result = grokflow("sweep", settings, "--out", out)
    assert result.exit_code == 0, result.output
    assert sorted(os.listdir(out)) == ["figure.png", "rows", "sweep.csv", "sweep.nc"]
    with xarray.open_dataset(out / "sweep.nc", engine="scipy") as ds:
        assert dict(ds["status"].sizes) == {"weight_decay": 2, "init_scale": 2, "seed": 2}
        with open(out / "sweep.csv", newline="") as stream:
            rows = list(tables.DictReader(stream))
        assert len(rows) == 8
        assert {row["status"] for row in rows} == {"finished"}
        last = ds["train_loss"].sel(weight_decay=0.01, init_scale=1.0, seed=1).values
        row = next(r for r in rows if (r["weight_decay"], r["init_scale"], r["seed"]) == ("0.01", "1.0", "1"))
        assert float(row["train_loss"]) == last[np.isfinite(last)][-1]
        assert float(row["t_final"]) == pytest.approx(1e3)


def test_a_run_of_a_sweep_is_that_of_run(settings, csv, tmp_path):
    assert grokflow("sweep", settings, "--out", tmp_path / "out").exit_code == 0
    single = ["--data", csv, "--target", "y", "--model", "linear", "--weight-decay", "1e-2", "--seed", 1]
    assert grokflow("run", *single, "--init-scale", "0.1", "--out", tmp_path / "one").exit_code == 0
    sol = Solution.load(tmp_path / "one" / "trajectory.npz")
    with xarray.open_dataset(tmp_path / "out" / "sweep.nc", engine="scipy") as ds:
        curve = ds["norm"].sel(weight_decay=0.01, init_scale=0.1, seed=1)
        np.testing.assert_array_equal(curve, np.interp(ds["time"], sol.t, sol["norm"]))


def test_what_is_there_is_not_done_again(settings, tmp_path):
    out = tmp_path / "out"
    assert grokflow("sweep", settings, "--out", out).exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in (out / "rows").iterdir()}
    settings.write_text(settings.read_text().replace("[0, 1]", "[0, 1, 2]"))
    assert grokflow("sweep", settings, "--out", out).exit_code == 0
    after = {path: path.stat().st_mtime_ns for path in (out / "rows").iterdir()}
    assert after | before == after
    assert len(after) == len(before) + 4


def test_runs_that_fail_are_told_and_the_others_written(settings, tmp_path):
    settings.write_text(settings.read_text().replace("seed = [0, 1]", 'curvature = ["auto", "nonsense"]'))
    result = grokflow("sweep", settings, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "4 of 8 runs failed, the first by ValueError" in result.stderr
    assert (tmp_path / "out" / "sweep.csv").read_text().count("finished") == 4


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seed = [0, 1]", "seed = ['0']", ["seed is ['0']", "list of integers"]),
        ("seed = [0, 1]", "seed = []", ["over['seed'] is empty"]),
        ("seed = [0, 1]", "seed = [1, 1]", ["names a value twice"]),
        ("seed = [0, 1]", "seed = [0, -1]", ["seed is -1"]),
        ("seed = [0, 1]", "sead = [0, 1]", ["sead"]),
        ("seed = [0, 1]", 'checkpoint = "x"', ["checkpoint is a setting of single runs"]),
        ('target = "y"', 'target = "nothing"', ["nothing"]),
    ],
)
def test_misuse_is_told_before_any_work(settings, tmp_path, old, new, words):
    settings.write_text(settings.read_text().replace(old, new))
    refused(grokflow("sweep", settings, "--out", tmp_path / "out"), *words)
    assert not list(tmp_path.glob("out/rows/*.npz"))


def test_without_a_list_there_is_nothing_to_sweep(csv, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(f'data = "{csv.as_posix()}"\ntarget = "y"\n')
    refused(grokflow("sweep", path), "has no list", "grokflow run")


@pytest.mark.slow
def test_a_dask_cluster_writes_the_same(settings, tmp_path):
    distributed = pytest.importorskip("distributed")
    assert grokflow("sweep", settings, "--out", tmp_path / "threads").exit_code == 0
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        result = grokflow("sweep", settings, "--out", tmp_path / "dask", "--dask", cluster.scheduler_address)
    assert result.exit_code == 0, result.output
    written = [(tmp_path / folder / "sweep.csv").read_bytes() for folder in ("threads", "dask")]
    assert written[0] == written[1]
