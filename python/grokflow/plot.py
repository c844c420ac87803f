"""Figures of a run: losses and squared norm against time on a log axis, with the two clocks marked.

The pieces (`draw_losses`, `draw_norm`, `mark_clocks`) draw on any axes, to make figures with more panels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from grokflow.clocks import clocks
from grokflow.solution import Solution

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"
GREY = "0.45"
LEGEND_ROW = 5  # entries that fit beside each other
STYLE: Any = {  # Any: matplotlib types the keys of rcParams one by one
    "font.size": 9,
    "figure.titlesize": 10,
    "axes.labelsize": 9,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "mathtext.fontset": "dejavusans",
    "savefig.dpi": 200,
}


def plot(sol: Solution, ax: Axes | None = None) -> Figure:
    """Draw losses and squared norm of a run; see `Solution.plot`."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError('plot needs matplotlib: pip install "grokflow[app]"') from error

    with plt.rc_context(STYLE):
        if ax is None:
            figure = plt.figure(figsize=(5.2, 4.4), layout="constrained")
            draw_run(figure.subplots(2, 1, sharex=True, height_ratios=(3, 2)), sol)
            return figure
        draw_losses(ax, sol)
        right = ax.twinx()
        right.spines["right"].set_visible(True)
        draw_norm(right, sol)
        mark_clocks(ax, sol)
        ax.set_xlabel(f"${time_name(sol)}$")
        return ax.get_figure(root=True)  # type: ignore[return-value]


def draw_run(axes: Any, sol: Solution) -> None:
    """Draw losses on the first of two axes and the squared norm on the second, with clocks and time axis."""
    upper, lower = axes
    draw_losses(upper, sol)
    draw_norm(lower, sol)
    mark_clocks(upper, sol)
    mark_clocks(lower, sol, label=False)
    lower.set_xlabel(f"${time_name(sol)}$")


def draw_losses(ax: Axes, sol: Solution) -> None:
    """Draw train loss and, where it was observed, test loss."""
    names = {"train_loss": ("train loss $F(w)$", BLUE), "test_loss": ("test loss", VERMILION)}
    after = sol.t > 0.0
    for name, (label, colour) in names.items():
        if name in sol.observed:
            values = np.where(sol[name] > 0.0, sol[name], np.nan)  # a log axis has no place for 0
            ax.plot(sol.t[after], values[after], color=colour, label=label)
    ax.set_yscale("log")
    ax.set_ylabel("loss")
    time_axis(ax, sol)
    legend_above(ax)


def draw_norm(ax: Axes, sol: Solution) -> None:
    """Draw the squared norm of the weights."""
    if "norm" in sol.observed:
        after = sol.t > 0.0
        ax.plot(sol.t[after], sol["norm"][after] ** 2, color=GREEN)
    ax.set_ylabel(r"$\|w\|^2$", color=GREEN)
    ax.set_ylim(bottom=0.0)
    time_axis(ax, sol)


def mark_clocks(ax: Axes, sol: Solution, label: bool = True) -> None:
    """Mark t_GF and t_WD, where the run reached them, by thin vertical lines."""
    drifts = time_name(sol) == "s"
    if drifts or not {"grad_norm", "norm"} <= sol.observed.keys() or not len(sol.t):
        return
    times = clocks(sol)
    for t, name, side in ((times.t_gf, "GF", "right"), (times.t_wd, "WD", "left")):
        if np.isnan(t) or t < start_of_axis(sol):
            continue
        ax.axvline(t, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        if label:
            text = rf"$t_{{\mathrm{{{name}}}}}$"
            ax.text(t, 1.01, text, transform=ax.get_xaxis_transform(), ha=side, va="bottom", color=GREY)


def time_axis(ax: Axes, sol: Solution) -> None:
    """Give ``ax`` the logarithmic time axis of the run."""
    ax.set_xscale("log")
    left = start_of_axis(sol)
    ax.set_xlim(left, max([10.0 * left, *sol.t[-1:]]))


def time_name(sol: Solution) -> str:
    """Return "t", or "s" for a drift."""
    return "s" if "s_span" in sol.settings else "t"


def start_of_axis(sol: Solution) -> float:
    """Return the power of ten before which nothing visible happens: loss and norm are within one percent."""
    positive = sol.t[sol.t > 0.0]
    if positive.size == 0:
        return 0.1
    first = positive[-1] / 10.0
    for name in ("train_loss", "norm"):
        if name in sol.observed:
            moved = np.abs(sol[name] - sol[name][0]) > 0.01 * np.abs(sol[name][0])
            first = min([first, *sol.t[moved & (sol.t > 0.0)][:1]])
    return float(10.0 ** np.floor(np.log10(max(first, positive[0]))))


def scientific(x: float) -> str:
    """Return ``x`` as mathematics, e.g. ``$10^{-4}$`` or ``$3\\times 10^{-4}$``."""
    mantissa, exponent = f"{x:.2e}".split("e")
    number = float(mantissa)
    factor = "" if number == 1.0 else rf"{number:g}\times "
    return f"${factor}10^{{{int(exponent)}}}$"


def legend_above(ax: Axes) -> None:
    """Put the legend above the axes, where it cannot cover data."""
    handles, labels = ax.get_legend_handles_labels()
    if handles:
        rows = -(-len(handles) // LEGEND_ROW)
        columns = -(-len(handles) // rows)
        ax.legend(handles, labels, loc="lower left", bbox_to_anchor=(-0.02, 1.06), ncols=columns, borderpad=0)
