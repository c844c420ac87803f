"""``grokflow run``: a model on the user's own table."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from rich.console import Console

import grokflow as gf
from grokflow.app import data
from grokflow.app.build import version_line
from grokflow.app.report import print_summary, save_figure, writable_directory
from grokflow.app.settings import Common, S, Settings, as_widths, to_toml
from grokflow.app.solve import Interrupted, solve
from grokflow.files import FileError, write_atomically
from grokflow.plot import STYLE, draw_run, scientific


def run(settings: Settings, console: Console) -> gf.Solution:
    """Run what ``settings`` say; write settings.toml, data.npz, trajectory.npz and figure.png.

    Raises
    ------
    ValueError, OSError
        Before any work: a setting or the table is wrong, or the directory cannot be written to.
    Interrupted
        A signal has ended the run; the trajectory so far has been written.
    """
    settings, parts = load(settings)
    problem = build(settings, parts)
    w0 = problem.initial_weights(settings.init_scale, settings.seed)
    out = writable_directory(Path(settings.out))

    def compute(progress: bool) -> gf.Solution:
        assert settings.t_end is not None  # merge has filled it in
        return gf.gradient_flow(
            problem,
            w0,
            (0.0, settings.t_end),
            weight_decay=settings.weight_decay,
            method=settings.method,
            curvature=settings.curvature,
            rtol=settings.rtol,
            atol=settings.atol,
            max_time=settings.max_time,
            progress=progress,
        )

    try:
        sol = solve(console, compute)
    except Interrupted as interrupt:
        write_results(interrupt.solutions[-1], settings, parts, out)
        raise
    write_results(sol, settings, parts, out)
    print_summary(console, {settings.model: sol})
    console.print(
        f"written: {out}/ settings.toml, data.npz, trajectory.npz, figure.png",
        soft_wrap=True,
        highlight=False,
    )
    return sol


def write_inputs(settings: Common, parts: data.Split, out: Path) -> None:
    """Write settings.toml and data.npz; not before there are results, so that bad settings change nothing."""
    write_atomically(out / "settings.toml", to_toml(settings, version_line()))
    stream = io.BytesIO()
    np.savez(stream, **dataclasses.asdict(parts))
    write_atomically(out / "data.npz", stream.getvalue())


def load(settings: S) -> tuple[S, data.Split]:
    """Read and split the table; return the settings with its checksum, which guards a repetition."""
    path = Path(settings.data or "")
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    if settings.data_sha256 not in (None, checksum):
        raise FileError(
            f"{path} has changed since these settings were written; to use it as it is, remove data_sha256"
        )
    table = data.read(path, settings.target, settings.ignore)
    parts = data.split(table, settings.test_fraction, settings.split_seed, settings.standardise)
    return dataclasses.replace(settings, data_sha256=checksum), parts


def build(settings: Common, parts: data.Split) -> gf.models.Model:
    """Return the model that ``settings`` name on the training part, with the test part if there is one."""
    test = (parts.X_test, parts.y_test) if len(parts.y_test) else None
    if settings.model == "linear":
        return gf.models.LinearRegression(parts.X, parts.y, test=test)
    if settings.model == "diagonal":
        return gf.models.DiagonalLinearNetwork(parts.X, parts.y, test=test)
    activation: dict[str, Any] = {
        name: getattr(settings, name) for name in ("activation", "negative_slope", "smoothing")
    }
    if settings.model == "mlp":
        return gf.models.MLP(parts.X, parts.y, as_widths(settings), test=test, **activation)
    assert settings.output_scale is not None  # merge has filled it in
    return gf.models.TwoLayerNetwork(
        parts.X,
        parts.y,
        width=settings.width,
        output_bias=settings.output_bias,
        output_scale=settings.output_scale,
        test=test,
        **activation,
    )


def write_results(sol: gf.Solution, settings: Settings, parts: data.Split, out: Path) -> None:
    """Write settings.toml and data.npz, then trajectory.npz, then figure.png."""
    write_inputs(settings, parts, out)
    sol.save(out / "trajectory.npz")
    with rc_context(STYLE):
        figure = Figure(figsize=(5.2, 4.4), layout="constrained")
        draw_run(figure.subplots(2, 1, sharex=True, height_ratios=(3, 2)), sol)
        decay = scientific(settings.weight_decay) if settings.weight_decay else "0"
        figure.suptitle(f"{settings.model} on {Path(settings.data or '').name}, $\\lambda$ = {decay}")
        save_figure(figure, out / "figure.png")
