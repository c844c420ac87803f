"""``grokflow reproduce``: the experiments of the paper, one after the other."""

from __future__ import annotations

from pathlib import Path

from matplotlib import rc_context
from rich.console import Console

import grokflow as gf
from grokflow.app.experiments import EXPERIMENTS, Experiment
from grokflow.app.report import print_summary, save_figure, writable_directory
from grokflow.app.solve import Interrupted, solve
from grokflow.plot import STYLE


def reproduce(
    names: list[str], out: Path, seed: int, weight_decay: float | None, small: bool, console: Console
) -> dict[str, gf.Solution]:
    """Run the experiments called ``names``; write NAME.npz and NAME.png of each, and print the table.

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
    for name in names:
        experiment = EXPERIMENTS[name](seed, weight_decay, small)
        try:
            sol = solve(
                console,
                experiment.problem,
                experiment.w0,
                experiment.t_end,
                weight_decay=experiment.weight_decay,
                observe=experiment.observe,
            )
        except Interrupted as interrupt:
            write_results(experiment, interrupt.solution, out / name)
            raise
        write_results(experiment, sol, out / name)
        solutions[name] = sol
    print_summary(console, solutions)
    console.print(
        f"written: {out}/ " + ", ".join(f"{name}.png, {name}.npz" for name in names), soft_wrap=True
    )
    return solutions


def write_results(experiment: Experiment, sol: gf.Solution, stem: Path) -> None:
    """Write the trajectory, then the figure."""
    sol.save(stem.with_suffix(".npz"))
    with rc_context(STYLE):
        save_figure(experiment.draw(sol), stem.with_suffix(".png"))
