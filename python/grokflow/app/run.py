"""``grokflow run``: a model on the user's own table."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib import rc_context
from matplotlib.figure import Figure
from rich.console import Console

import grokflow as gf
from grokflow.app.report import print_summary, save_figure, stopped
from grokflow.app.settings import Settings
from grokflow.app.solve import solve
from grokflow.app.task import Task, prepare
from grokflow.figures.run import plot
from grokflow.figures.style import STYLE


def run(settings: Settings, console: Console) -> list[str]:
    """Run what ``settings`` say; write settings.toml, data.npz, trajectory.npz and figure.png.

    Returns what has stopped early, in sentences.

    Raises
    ------
    ValueError, OSError
        Before any work: a setting or the table is wrong, or the directory cannot be written to.
    Interrupted
        A signal has ended the run; the trajectory so far has been written.
    """
    task = prepare(settings)

    def compute(progress: bool) -> gf.Solution:
        assert settings.t_end is not None  # merge has filled it in
        return gf.gradient_flow(
            task.problem,
            task.w0,
            (0.0, settings.t_end),
            weight_decay=settings.weight_decay,
            progress=progress,
            method=settings.method,
            curvature=settings.curvature,
            rtol=settings.rtol,
            atol=settings.atol,
            max_time=settings.max_time,
            **task.keeping(),
        )

    return carry_out(task, compute, console)


def carry_out(task: Task[Settings], compute: Callable[[bool], gf.Solution], console: Console) -> list[str]:
    """Compute and write as `run` does."""

    def write(sol: gf.Solution) -> None:
        write_results(sol, task)

    sol = solve(console, compute, write, lambda found: write(found[-1]))
    solutions = {task.model: sol}
    print_summary(console, solutions)
    console.print(
        f"written: {task.out}/ settings.toml, data.npz, trajectory.npz, figure.png",
        soft_wrap=True,
        highlight=False,
    )
    return stopped(solutions)


def write_results(sol: gf.Solution, task: Task[Settings]) -> None:
    """Write trajectory.npz, then settings.toml and data.npz, then figure.png: first what took the time."""
    sol.save(task.out / "trajectory.npz")
    task.write_inputs()
    with rc_context(STYLE):
        figure = plot(sol, figure=Figure())
        figure.suptitle(task.title(task.settings.weight_decay))
        save_figure(figure, task.out / "figure.png")
