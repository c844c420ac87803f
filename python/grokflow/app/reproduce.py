"""``grokflow reproduce``: experiments by name, one after the other."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from matplotlib import rc_context
from rich.console import Console

import grokflow as gf
from grokflow.app import papers
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

SEED = 26


def catalogue() -> dict[str, str]:
    """Return what can be reproduced: a line on each experiment and on each paper, by name."""
    own = {
        name: (inspect.getdoc(sys.modules[make.__module__]) or "").partition("\n")[0].rstrip(".")
        for name, make in EXPERIMENTS.items()
    }
    return own | papers.titles()


def reproduce(
    names: Sequence[str],
    out: Path,
    seed: int | None,
    weight_decay: float | None,
    small: bool,
    console: Console,
) -> list[str]:
    """Run the experiments and papers called ``names``.

    An experiment leaves its figure NAME.png and its trajectory NAME.npz, or NAME-PART.npz where it has
    several, and its rows of a table on the console; a paper's script its figure, and what it prints. Returns
    what has stopped early, in sentences.

    Raises
    ------
    ValueError
        Before any work: there is no such name, an option is wrong or not for this experiment, or the
        directory cannot be written to.
    Interrupted
        A signal has ended a run; its trajectory so far has been written.
    """
    chosen = list(dict.fromkeys(names))
    for name in chosen:
        require_known(name)
    scripts = [name for name in chosen if name not in EXPERIMENTS]
    if weight_decay is not None and not 0.0 < weight_decay < float("inf"):
        raise ValueError(f"weight_decay is {weight_decay}; it must be positive and finite")
    if scripts and (seed is not None or weight_decay is not None):
        raise ValueError(f"{scripts[0]} is a script, which takes neither --seed nor --weight-decay")
    writable_directory(out)
    own = [name for name in chosen if name in EXPERIMENTS]
    ended = run_own(own, out, SEED if seed is None else seed, weight_decay, small, console) if own else []
    for name in scripts:
        papers.run(name, out, small, console)
    return ended


def require_known(name: str) -> None:
    """Raise ValueError if nothing has this name, with those that are like it."""
    known = catalogue()
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise ValueError(f"there is no experiment {name!r}; {hint}`grokflow reproduce --list` tells all")


def run_own(
    names: list[str], out: Path, seed: int, weight_decay: float | None, small: bool, console: Console
) -> list[str]:
    """Run the experiments of the library; return what has stopped early."""
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
