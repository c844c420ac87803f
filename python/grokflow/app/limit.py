"""``grokflow limit``: flows on the user's own table, beside their limit of vanishing weight decay."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from rich.console import Console

import grokflow as gf
from grokflow.app.report import save_figure, save_trajectories, solutions_of
from grokflow.app.settings import LimitSettings
from grokflow.app.solve import solve
from grokflow.app.task import Task, prepare
from grokflow.figures.style import STYLE
from grokflow.files import write_atomically
from grokflow.limit.figure import plot


def limit(settings: LimitSettings, console: Console) -> list[str]:
    """Compare what ``settings`` say; write all of it into a directory.

    That is: settings.toml and data.npz, every trajectory (flow-LAM.npz, fast.npz, slow.npz), the landing
    (landing.npy), report.txt and figure.png. Returns what has stopped early, in sentences.

    Raises
    ------
    ValueError, OSError
        Before any work: a setting or the table is wrong, or the directory cannot be written to.
    Interrupted
        A signal has ended the work; the trajectories so far have been written.
    """
    task = prepare(settings)

    def compute(progress: bool) -> gf.TwoPhase:
        return gf.two_phase(
            task.problem,
            task.w0,
            settings.weight_decay,
            s_end=settings.s_end,
            eps=settings.eps,
            kappa=settings.kappa,
            progress=progress,
            method=settings.method,
            curvature=settings.curvature,
            rtol=settings.rtol,
            atol=settings.atol,
            max_time=settings.max_time,
            **task.keeping(),
        )

    return carry_out(task, compute, console)


def carry_out(
    task: Task[LimitSettings], compute: Callable[[bool], gf.TwoPhase], console: Console
) -> list[str]:
    """Compute and write as `limit` does."""

    def rescue(found: list[gf.Solution]) -> None:
        save_trajectories(found, task.out)
        task.write_inputs()

    written: list[str] = []
    phases = solve(console, compute, lambda phases: written.extend(write_results(phases, task)), rescue)
    phases.report(console.file)
    console.print(f"written: {task.out}/ {', '.join(written)}", soft_wrap=True, highlight=False)
    return [] if phases.success else [phases.message]


def write_results(phases: gf.TwoPhase, task: Task[LimitSettings]) -> list[str]:
    """Write trajectories and landing, settings and data, report, and last the figure; return all names."""
    out = task.out
    written = save_trajectories(solutions_of(phases), out)
    if phases.landing.success:
        stream = io.BytesIO()
        np.save(stream, phases.landing.w)
        write_atomically(out / "landing.npy", stream.getvalue())
        written.append("landing.npy")
    task.write_inputs()
    report = io.StringIO()
    phases.report(report)
    write_atomically(out / "report.txt", report.getvalue().encode())
    with rc_context(STYLE):
        lam = min(phases.flows)
        figure = plot(phases, lam, Figure())
        figure.suptitle(task.title(lam))
        save_figure(figure, out / "figure.png")
    return ["settings.toml", "data.npz", *written, "report.txt", "figure.png"]
