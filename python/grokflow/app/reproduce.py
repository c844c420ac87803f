"""``grokflow reproduce``: the experiments of the paper, one after the other."""

from __future__ import annotations

from pathlib import Path

from matplotlib import rc_context
from rich.console import Console

import grokflow as gf
from grokflow.app.experiments import EXPERIMENTS, Experiment, LimitExperiment
from grokflow.app.report import (
    print_summary,
    save_figure,
    save_trajectories,
    solutions_of,
    stopped,
    writable_directory,
)
from grokflow.app.solve import solve
from grokflow.figures.style import STYLE


def reproduce(
    names: list[str], out: Path, seed: int, weight_decay: float | None, small: bool, console: Console
) -> list[str]:
    """Run the experiments called ``names``; write figures and trajectories, and print the table.

    The files are NAME.png and NAME.npz, or NAME-PART.npz where an experiment has several trajectories.
    Returns what has stopped early, in sentences.

    Raises
    ------
    ValueError
        Before any work: the weight decay is wrong, or the directory cannot be written to.
    Interrupted
        A signal has ended a run; its trajectory so far has been written.
    """
    if weight_decay is not None and not 0.0 < weight_decay < float("inf"):
        raise ValueError(f"weight_decay is {weight_decay}; it must be positive and finite")
    writable_directory(out)
    solutions: dict[str, gf.Solution] = {}
    reports: dict[str, gf.TwoPhase] = {}
    for name in names:
        experiment = EXPERIMENTS[name](seed, weight_decay, small)
        if isinstance(experiment, Experiment):
            solutions[name] = follow(experiment, out / name, console)
        else:
            reports[name] = compare(experiment, out / name, console)
            solutions |= {f"{name} {lam:.3g}": sol for lam, sol in reports[name].flows.items()}
    print_summary(console, solutions)
    for name, phases in reports.items():
        console.print(f"\n{name}", style="bold")
        phases.report(console.file)
    console.print(
        f"written: {out}/ " + ", ".join(f"{name}.png, {name}*.npz" for name in names), soft_wrap=True
    )
    return stopped(solutions)


def follow(experiment: Experiment, stem: Path, console: Console) -> gf.Solution:
    """Run an experiment with one trajectory, and write that and its figure."""

    def write(sol: gf.Solution) -> None:
        sol.save(stem.with_suffix(".npz"))
        with rc_context(STYLE):
            save_figure(experiment.draw(sol), stem.with_suffix(".png"))

    return solve(console, experiment.run, write, lambda found: write(found[-1]))


def compare(experiment: LimitExperiment, stem: Path, console: Console) -> gf.TwoPhase:
    """Run an experiment with flows and their limit, and write the trajectories and the figure."""

    def save(found: list[gf.Solution]) -> None:
        save_trajectories(found, stem.parent, f"{stem.name}-")

    def write(phases: gf.TwoPhase) -> None:
        save(solutions_of(phases))
        with rc_context(STYLE):
            save_figure(experiment.draw(phases), stem.with_suffix(".png"))

    return solve(console, experiment.run, write, save)
