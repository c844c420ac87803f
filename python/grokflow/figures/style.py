"""What all figures share: colours and fonts, the axis of time, numbers as mathematics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from grokflow._validate import FloatArray
from grokflow.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"
GREY = "0.45"
LEGEND_ROW = 5  # entries that fit beside each other
FAR = 1e200  # where matplotlib places ticks beyond the largest of numbers
STYLE: Any = {  # Any: matplotlib types the keys of rcParams one by one
    "font.size": 9,
    "figure.titlesize": 10,
    "axes.labelsize": 9,
    "axes.titlesize": 9,
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


@contextmanager
def canvas(
    size: tuple[float, float], ax: Axes | None = None, figure: Figure | None = None
) -> Iterator[Figure]:
    """Yield a figure to draw on in our style: that of `ax`, or an empty one of a size in inches."""
    try:
        from matplotlib import pyplot, rc_context
    except ImportError as error:
        raise ImportError('figures need matplotlib: pip install "grokflow[app]"') from error

    if ax is not None and not hasattr(ax, "figure"):
        raise TypeError(f"ax is {ax!r}; it must be axes of matplotlib")
    with rc_context(STYLE):
        if ax is not None:
            yield ax.figure.figure  # the root, also of a subfigure
            return
        figure = pyplot.figure() if figure is None else figure
        figure.set_size_inches(size)
        figure.set_layout_engine("constrained")
        yield figure


def draw_over_time(
    ax: Axes, sol: Trajectory, values: FloatArray, left: float | None = None, **style: Any
) -> None:
    """Draw recorded values over the logarithm of the time since the start, also a single one."""
    rows, times = on_axis(sol, left)
    marker = "o" if len(times) == 1 else None
    ax.plot(times, values[rows], marker=marker, clip_on=not marker, **style)


def time_axis(ax: Axes, sol: Trajectory) -> None:
    """Give ``ax`` the logarithmic axis of the time since the start, with its name if it is the lowest."""
    ax.set_xscale("log")
    left = start_of_axis(sol)
    right = max([10.0 * left, *elapsed(sol)[-1:]])
    ax.set_xlim(left, right)
    if right > FAR:
        ax.minorticks_off()
        ax.set_xticks(10.0 ** np.floor(np.linspace(np.log10(left), np.log10(right), 6)))
    if not len(sol.t):
        ax.text(0.5, 0.5, "no times were recorded", transform=ax.transAxes, ha="center", color=GREY)


def cut_noise(ax: Axes, sol: Trajectory, keep: float = np.inf) -> None:
    """End a logarithmic axis of losses where those that the solver's error makes begin, but show `keep`."""
    losses = sol["train_loss"] if "train_loss" in sol.observed else np.empty(0)
    noise = float(sol.settings.get("rtol", 0.0)) ** 2 * np.max(losses, initial=0.0)
    low, high = ax.get_ylim()
    bottom = min(noise, 0.5 * keep)
    if low < bottom < high:
        ax.set_ylim(bottom, high)


def time_name(sol: Trajectory) -> str:
    """Return "t", or "s" for a drift."""
    return "s" if "s_span" in sol.settings else "t"


def time_label(sol: Trajectory) -> str:
    """Return what is on the axis of time: t, or ``t - t0`` where the run has not begun at 0."""
    name, start = time_name(sol), start_of(sol)
    return f"${name}$" if start == 0.0 else f"${name} {-start:+g}$"


def start_of(sol: Trajectory) -> float:
    """Return the time at which the run has begun; where that is not known, 0 or the first time."""
    span = sol.settings.get(f"{time_name(sol)}_span")
    return float(span[0]) if span else min([0.0, *sol.t[:1]])


def elapsed(sol: Trajectory) -> FloatArray:
    """Return the times since the start of the run."""
    return sol.t - start_of(sol)


def on_axis(sol: Trajectory, left: float | None = None) -> tuple[slice, FloatArray]:
    """Return which records a logarithmic axis shows, and at which times.

    The last one before its left end, maybe the start itself, is shown there: nothing has happened until then.
    """
    since = elapsed(sol)
    left = start_of_axis(sol) if left is None else left
    first = max(int(np.searchsorted(since, left, "right")) - 1, 0)
    return slice(first, None), np.maximum(since[first:], left)


def start_of_axis(sol: Trajectory, *drawn: str) -> float:
    """Return the power of ten before which nothing visible happens.

    Loss and norm, and what else is `drawn`, are within one percent of their first values.
    """
    since = elapsed(sol)
    positive = since[since > 0.0]
    if positive.size == 0:
        return 0.1
    first = positive[-1] / 10.0
    for name in ("train_loss", "norm", *drawn):
        if name in sol.observed:
            values = sol[name].reshape(len(sol.t), -1)
            moved = np.linalg.norm(values - values[0], axis=1) > 0.01 * np.linalg.norm(values[0])
            first = min([first, *since[moved & (since > 0.0)][:1]])
    return float(10.0 ** (np.ceil(np.log10(max(first, positive[0]))) - 1.0))


def scientific(x: float) -> str:
    """Return ``x`` as mathematics, e.g. ``$10^{-4}$`` or ``$3\\times 10^{-4}$``."""
    mantissa, exponent = f"{x:.2e}".split("e")
    number = float(mantissa)
    factor = "" if number == 1.0 else rf"{number:g}\times "
    return f"${factor}10^{{{int(exponent)}}}$"


def legend_above(ax: Axes, row: int = LEGEND_ROW) -> None:
    """Put the legend above the axes, where it cannot cover data, in rows of so many entries."""
    handles, labels = ax.get_legend_handles_labels()
    if handles:
        rows = -(-len(handles) // row)
        columns = -(-len(handles) // rows)
        ax.legend(handles, labels, loc="lower left", bbox_to_anchor=(-0.02, 1.06), ncols=columns, borderpad=0)
