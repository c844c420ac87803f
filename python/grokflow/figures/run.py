"""Figures of a run: losses and squared norm against time on a log axis, with the two clocks marked.

The pieces (`draw_losses`, `draw_norm`, `mark_clocks`) draw on any axes, to make figures with more panels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from grokflow.clocks import clocks
from grokflow.figures.style import (
    BLUE,
    GREEN,
    GREY,
    VERMILION,
    canvas,
    draw_over_time,
    legend_above,
    start_of,
    start_of_axis,
    time_axis,
    time_label,
    time_name,
)
from grokflow.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot(sol: Trajectory, ax: Axes | None = None, figure: Figure | None = None) -> Figure:
    """Draw losses and squared norm of a run on `ax`, or on a `figure`; see `Solution.plot`."""
    with canvas((5.2, 4.4), ax, figure) as drawn:
        if ax is None:
            draw_run(drawn.subplots(2, 1, sharex=True, height_ratios=(3, 2)), sol)
            return drawn
        draw_losses(ax, sol)
        right = ax.twinx()
        right.spines["right"].set_visible(True)
        draw_norm(right, sol)
        mark_clocks(ax, sol)
        ax.set_xlabel(time_label(sol))
        return drawn


def draw_run(axes: Any, sol: Trajectory) -> None:
    """Draw losses on the first of two axes and the squared norm on the second, with clocks and time axis."""
    upper, lower = axes
    draw_losses(upper, sol)
    draw_norm(lower, sol)
    mark_clocks(upper, sol)
    mark_clocks(lower, sol, label=False)
    lower.set_xlabel(time_label(sol))


def draw_losses(ax: Axes, sol: Trajectory) -> None:
    """Draw train loss and, where it was observed, test loss."""
    names = {"train_loss": ("train loss $F(w)$", BLUE), "test_loss": ("test loss", VERMILION)}
    for name, (label, colour) in names.items():
        if name in sol.observed:
            values = np.where(sol[name] > 0.0, sol[name], np.nan)  # a log axis has no place for 0
            draw_over_time(ax, sol, values, color=colour, label=label)
    ax.set_yscale("log")
    ax.set_ylabel("loss")
    time_axis(ax, sol)
    legend_above(ax)


def draw_norm(ax: Axes, sol: Trajectory) -> None:
    """Draw the squared norm of the weights."""
    if "norm" in sol.observed:
        draw_over_time(ax, sol, sol["norm"] ** 2, color=GREEN)
    ax.set_ylabel(r"$\|w\|^2$", color=GREEN)
    ax.set_ylim(bottom=0.0)
    time_axis(ax, sol)


def mark_clocks(ax: Axes, sol: Trajectory, label: bool = True) -> None:
    """Mark t_GF and t_WD, where the run reached them, by thin vertical lines."""
    drifts = time_name(sol) == "s"
    if drifts or not {"grad_norm", "norm"} <= sol.observed.keys() or not len(sol.t):
        return
    times = clocks(sol)
    for t, name, side in ((times.t_gf, "GF", "right"), (times.t_wd, "WD", "left")):
        since = t - start_of(sol)
        if np.isnan(t) or since < start_of_axis(sol):
            continue
        ax.axvline(since, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        if label:
            text = rf"$t_{{\mathrm{{{name}}}}}$"
            ax.text(since, 1.01, text, transform=ax.get_xaxis_transform(), ha=side, va="bottom", color=GREY)
