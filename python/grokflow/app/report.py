"""What a command leaves behind: the table on the screen, and figures and trajectories in a directory."""

from __future__ import annotations

import io
import math
import os
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

import grokflow as gf
from grokflow.curves import value_at
from grokflow.files import FileError, write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEGEND = (
    "t_GF: |grad F| has fallen to 1/1000. landing: t_WD, where |grad F| = lam |w|.\n"
    "evals: evaluations of grad F. -: not reached, or no test data."
)


LOSSES = {"train_loss": "train loss", "test_loss": "test loss"}
ACCURACIES = {"train_accuracy": "train acc", "test_accuracy": "test acc"}


def writable_directory(path: Path) -> Path:
    """Make ``path`` a directory that files can be written to, or say now why that fails."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".{os.getpid()}.{secrets.token_hex(4)}"
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise FileError(
            f"cannot write into {path}: {error.strerror}; choose another directory with --out"
        ) from None
    return path


def save_figure(figure: Figure, path: Path) -> None:
    """Write ``figure`` as PNG."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    write_atomically(path, stream.getvalue())


def solutions_of(phases: gf.TwoPhase) -> list[gf.Solution]:
    """Return all trajectories of a comparison: the flows, the fast phase, and the drift if there is one."""
    slow = [] if phases.slow is None else [phases.slow]
    return [*phases.flows.values(), phases.fast, *slow]


def save_trajectories(solutions: Iterable[gf.Solution], out: Path, prefix: str = "") -> list[str]:
    """Write the trajectories of a comparison to flow-LAM.npz, fast.npz and slow.npz; return the names."""
    names = []
    for sol in solutions:
        lam = sol.settings.get("weight_decay")
        part = "slow" if lam is None else "fast" if lam == 0.0 else f"flow-{lam!r}"
        names.append(f"{prefix}{part}.npz")
        sol.save(out / names[-1])
    return names


def stopped(solutions: Mapping[str, gf.Solution]) -> list[str]:
    """Return a sentence on each run that has not come to its end."""
    return [
        f"{name} stopped at t = {sol.t_final:.6g}: {sol.message}"
        for name, sol in solutions.items()
        if not sol.success
    ]


def print_summary(console: Console, solutions: Mapping[str, gf.Solution]) -> None:
    """Print the table of the runs: their state at both clocks and at the end, and what they cost."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("", no_wrap=True)
    classified = any("train_accuracy" in sol.observed for sol in solutions.values())
    shown = ACCURACIES if classified else LOSSES
    for title in ("t", *shown.values(), "|w|^2", "evals", "seconds"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, sol in solutions.items():
        clocks = gf.clocks(sol)
        for label, t in (("t_GF", clocks.t_gf), ("landing", clocks.t_wd), ("end", clocks.t_final)):
            first, last = label == "t_GF", label == "end"
            cost = (str(sol.stats["nfev"]), f"{sol.stats['seconds']:.3f}") if last else ()
            losses = (_number(_value(sol, quantity, t)) for quantity in shown)
            norm = _number(_value(sol, "norm", t) ** 2)
            table.add_row(name if first else "", label, _number(t), *losses, norm, *cost, end_section=last)
    console.print(table)
    console.print(LEGEND, style="dim", highlight=False)


def _value(sol: gf.Solution, name: str, t: float) -> float:
    return value_at(sol.t, sol[name], t) if name in sol.observed else math.nan


def _number(x: float) -> str:
    return "-" if math.isnan(x) else f"{x:.3g}"
