"""Figures of a run: losses and squared norm against time on a log axis, with the two clocks marked.

The pieces (`draw_losses`, `draw_norm`, `mark_clocks`) draw on any axes, to make figures with more panels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from grokflow.clocks import clocks
from grokflow.figures.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    VERMILION,
    canvas,
    cut_noise,
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
            panels = panels_of(sol)
            drawn.set_figheight(drawn.get_figheight() + 1.6 * (len(panels) - 2))
            heights = [3 if draw is draw_losses else 2 for draw in panels]
            draw_run(drawn.subplots(len(panels), 1, sharex=True, height_ratios=heights), sol)
            return drawn
        draw_losses(ax, sol)
        right = ax.twinx()
        right.spines["right"].set_visible(True)
        draw_norm(right, sol)
        mark_clocks(ax, sol)
        ax.set_xlabel(time_label(sol))
        return drawn


def panels_of(sol: Trajectory) -> list[Callable[[Axes, Trajectory], None]]:
    """Return what is drawn of a run, from above: accuracies where there are classes, losses, the norm.

    The loss of labels that are certain has no minimiser: what then has a limit is the direction of the
    weights, and the margin tells how good it is.
    """
    panels: list[Callable[[Axes, Trajectory], None]] = [draw_losses, draw_norm]
    if "train_accuracy" in sol.observed or "test_accuracy" in sol.observed:
        panels.insert(0, draw_accuracies)
    if "margin" in sol.observed and sol.problem is not None and not sol.problem.attained:
        panels.append(draw_direction)
    return panels


def draw_run(axes: Any, sol: Trajectory) -> None:
    """Draw the panels of a run on as many axes, with clocks and time axis."""
    for i, (ax, draw) in enumerate(zip(axes, panels_of(sol), strict=True)):
        draw(ax, sol)
        mark_clocks(ax, sol, label=i == 0)
    axes[-1].set_xlabel(time_label(sol))


def draw_accuracies(ax: Axes, sol: Trajectory) -> None:
    """Draw the shares of training and test samples on the right side."""
    names = {"train_accuracy": ("train", BLUE), "test_accuracy": ("test", VERMILION)}
    for name, (label, colour) in names.items():
        if name in sol.observed:
            draw_over_time(ax, sol, sol[name], color=colour, label=label)
    ax.set_ylabel("accuracy")
    ax.set_ylim(-0.03, 1.03)
    time_axis(ax, sol)
    legend_above(ax)


def draw_direction(ax: Axes, sol: Trajectory) -> None:
    """Draw the smallest margin and, if states were kept, how far w / |w| is from where it is at the end."""
    draw_over_time(ax, sol, sol["margin"], color=PURPLE)
    ax.axhline(0.0, color=GREY, linewidth=0.6, zorder=0)
    ax.set_ylabel("margin", color=PURPLE)
    time_axis(ax, sol)
    if sol.w is None or not len(sol.w):
        return
    directions = sol.w / np.linalg.norm(sol.w, axis=1, keepdims=True)
    right = ax.twinx()
    right.spines["right"].set_visible(True)
    draw_over_time(right, sol, np.linalg.norm(directions - directions[-1], axis=1), color=ORANGE)
    right.set_ylabel(r"$|w/\|w\| - w_T/\|w_T\||$", color=ORANGE)
    right.set_ylim(bottom=0.0)


def draw_losses(ax: Axes, sol: Trajectory) -> None:
    """Draw train loss and, where it was observed, test loss, down to the error of the solver."""
    names = {"train_loss": ("train loss $F(w)$", BLUE), "test_loss": ("test loss", VERMILION)}
    for name, (label, colour) in names.items():
        if name in sol.observed:
            values = np.where(sol[name] > 0.0, sol[name], np.nan)  # a log axis has no place for 0
            draw_over_time(ax, sol, values, color=colour, label=label)
    ax.set_yscale("log")
    ax.set_ylabel("loss")
    cut_noise(ax, sol)
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
