"""``grokflow sweep``: the user's own table, over lists of settings."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console

import grokflow as gf
from grokflow.app.report import save_figure, writable_directory
from grokflow.app.settings import Settings, merge, read_settings
from grokflow.app.task import build, load, weights
from grokflow.files import write_atomically
from grokflow.sweeps.figure import learning_times
from grokflow.sweeps.sweep import grid_points

if TYPE_CHECKING:
    import xarray

START, POINTS_PER_DECADE = 1e-2, 14  # of the times at which all runs are recorded


def sweep(path: Path, out: Path | None, dask: str | None, console: Console) -> list[str]:
    """Run a settings file in which some settings are lists; write sweep.nc, sweep.csv and figure.png.

    Results are kept in ``rows`` as they come: the same command goes on from there. The figure is the phase
    diagram over the first two lists of numbers, if there are two. Returns what has failed, in sentences.

    Raises
    ------
    ValueError, OSError
        Before any work: a setting or the table is wrong, no setting is a list, Dask or SciPy is missing, or
        the directory cannot be written to.
    """
    over: dict[str, list[Any]] = {}
    fixed = read_settings(path, Settings, over)
    if not over:
        raise ValueError(f"{path} has no list, as in seed = [0, 1, 2]; for one run there is grokflow run")
    if "checkpoint" in fixed:
        raise ValueError("checkpoint is a setting of single runs; a sweep keeps its results in its directory")
    points = grid_points(over)
    settings = [merge(Settings, {**fixed, **point}, {}) for point in points]
    for one in settings:
        load(one)
    folder = writable_directory(out or Path(fixed.pop("out", "grokflow-sweep")))
    fixed.pop("out", None)
    end = max(one.t_end or 0.0 for one in settings)
    decades = np.log10(end / START)
    times = np.logspace(np.log10(START), np.log10(end), int(POINTS_PER_DECADE * decades) + 1)
    with executor(dask) as chosen:
        ds = gf.sweep(
            solve_point,
            over,
            executor=chosen,
            checkpoint=folder / "rows",
            times=times,
            progress=console.is_terminal,
            fixed=fixed,
        )
    write(ds, over, folder, console)
    failed = ds["message"].values[(ds["status"] == "failed").values]
    return [f"{len(failed)} of {len(points)} runs failed, the first by {failed[0]}"] if len(failed) else []


def solve_point(fixed: Mapping[str, Any], **point: Any) -> gf.Solution:
    """Return one run of ``grokflow run``; a worker reads the table for itself."""
    settings, parts = load(merge(Settings, {**fixed, **point}, {}))
    problem = build(settings, parts)
    assert settings.t_end is not None  # merge has filled it in
    return gf.gradient_flow(
        problem,
        weights(settings, problem),
        (0.0, settings.t_end),
        weight_decay=settings.weight_decay,
        method=settings.method,
        curvature=settings.curvature,
        rtol=settings.rtol,
        atol=settings.atol,
        max_time=settings.max_time,
        save_states=False,
    )


@contextmanager
def executor(dask: str | None) -> Iterator[Executor | None]:
    """Yield the executor of the Dask cluster at an address; None, for threads, without one."""
    if dask is None:
        yield None
        return
    try:
        from distributed import Client
    except ImportError:
        raise ValueError("--dask needs Dask: pip install distributed") from None
    with Client(dask) as client:  # type: ignore[no-untyped-call]
        yield client.get_executor(pure=False)


def write(ds: xarray.Dataset, over: Mapping[str, list[Any]], out: Path, console: Console) -> None:
    """Write the data set, a table with one line for each run, and the figure."""
    names = ["sweep.csv"]
    write_atomically(out / "sweep.csv", table(ds).encode())
    try:
        ds.to_netcdf(out / "sweep.nc", engine="scipy")
        names.append("sweep.nc")
    except (ImportError, ValueError) as error:
        console.print(f"no sweep.nc: {error}", soft_wrap=True)
    numbers = [name for name in over if ds[name].dtype.kind in "iuf" and len(over[name]) > 1]
    if len(numbers) >= 2 and "test_loss" in ds:
        figure = gf.phase_diagram(ds, *numbers[:2], ax=Figure(layout="constrained").add_subplot())
        save_figure(figure, out / "figure.png")
        names.append("figure.png")
    console.print(f"written: {out}/ {', '.join(names)}, rows/", soft_wrap=True, highlight=False)


def table(ds: xarray.Dataset) -> str:
    """Return CSV: the swept settings, the end of each run, and when it has learnt and generalised."""
    swept = list(ds["status"].dims)
    learnt = learning_times(ds) if "test_loss" in ds else ()
    ends = [name for name in ("train_loss", "test_loss", "norm", "t_final") if name in ds]
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow([*swept, "status", *ends, *("t_train", "t_test")[: len(learnt)], "message"])
    for at in np.ndindex(ds["status"].shape):
        row = ds[dict(zip(swept, at, strict=True))]
        values = [_last(row[name].values) for name in ends]
        moments = [float(times[at]) for times in learnt]
        point = [row[name].item() for name in swept]
        rows.writerow([*point, row["status"].item(), *values, *moments, row["message"].item()])
    return stream.getvalue()


def _last(values: Any) -> float:
    """Return the last number that is known."""
    known = values[np.isfinite(values)]
    return float(known[-1]) if known.size else float("nan")
