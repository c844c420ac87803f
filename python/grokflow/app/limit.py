"""``grokflow limit``: flows on the user's own table, beside their limit of vanishing weight decay."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from rich.console import Console

import grokflow as gf
from grokflow.app.report import save_figure, save_trajectories, solutions_of, writable_directory
from grokflow.app.run import build, load, write_inputs
from grokflow.app.settings import LimitSettings
from grokflow.app.solve import Interrupted, solve
from grokflow.files import write_atomically
from grokflow.plot import STYLE, scientific
from grokflow.plot_phases import draw_phases, figure_size


def limit(settings: LimitSettings, console: Console) -> gf.TwoPhase:
    """Compare what ``settings`` say; write all of it into a directory.

    That is: settings.toml and data.npz, every trajectory (flow-LAM.npz, fast.npz, slow.npz), the landing
    (landing.npy), report.txt and figure.png.

    Raises
    ------
    ValueError, OSError
        Before any work: a setting or the table is wrong, or the directory cannot be written to.
    Interrupted
        A signal has ended the work; the trajectories so far have been written.
    """
    settings, parts = load(settings)
    problem = build(settings, parts)
    w0 = problem.initial_weights(settings.init_scale, settings.seed)
    out = writable_directory(Path(settings.out))

    def compute(progress: bool) -> gf.TwoPhase:
        return gf.two_phase(
            problem,
            w0,
            settings.weight_decay,
            s_end=settings.s_end,
            eps=settings.eps,
            kappa=settings.kappa,
            method=settings.method,
            curvature=settings.curvature,
            rtol=settings.rtol,
            atol=settings.atol,
            max_time=settings.max_time,
            progress=progress,
        )

    try:
        phases = solve(console, compute)
    except Interrupted as interrupt:
        write_inputs(settings, parts, out)
        save_trajectories(interrupt.solutions, out)
        raise
    write_inputs(settings, parts, out)
    written = write_results(phases, settings, out)
    phases.report(console.file)
    names = ", ".join(["settings.toml", "data.npz", *written])
    console.print(f"written: {out}/ {names}", soft_wrap=True, highlight=False)
    return phases


def write_results(phases: gf.TwoPhase, settings: LimitSettings, out: Path) -> list[str]:
    """Write trajectories, landing and report, then the figure; return the names of the files."""
    written = save_trajectories(solutions_of(phases), out)
    if phases.landing.success:
        stream = io.BytesIO()
        np.save(stream, phases.landing.w)
        write_atomically(out / "landing.npy", stream.getvalue())
        written.append("landing.npy")
    report = io.StringIO()
    phases.report(report)
    write_atomically(out / "report.txt", report.getvalue().encode())
    with rc_context(STYLE):
        figure = Figure(figsize=figure_size(phases), layout="constrained")
        lam = min(phases.flows)
        figure.suptitle(
            f"{settings.model} on {Path(settings.data or '').name}, $\\lambda$ = {scientific(lam)}"
        )
        draw_phases(figure, phases, lam)
        save_figure(figure, out / "figure.png")
    return [*written, "report.txt", "figure.png"]
