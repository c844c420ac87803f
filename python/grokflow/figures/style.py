"""What all figures share: colours and fonts, the axis of time, numbers as mathematics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from grokflow.trajectory import Trajectory

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


@contextmanager
def canvas(
    size: tuple[float, float], ax: Axes | None = None, figure: Figure | None = None
) -> Iterator[Figure]:
    """Yield a figure to draw on in our style: that of `ax`, or an empty one of a size in inches."""
    try:
        from matplotlib import pyplot, rc_context
    except ImportError as error:
        raise ImportError('figures need matplotlib: pip install "grokflow[app]"') from error

    with rc_context(STYLE):
        if ax is not None:
            yield ax.figure.figure  # the root, also of a subfigure
            return
        figure = pyplot.figure() if figure is None else figure
        figure.set_size_inches(size)
        figure.set_layout_engine("constrained")
        yield figure


def time_axis(ax: Axes, sol: Trajectory) -> None:
    """Give ``ax`` the logarithmic time axis of the run."""
    ax.set_xscale("log")
    left = start_of_axis(sol)
    ax.set_xlim(left, max([10.0 * left, *sol.t[-1:]]))


def time_name(sol: Trajectory) -> str:
    """Return "t", or "s" for a drift."""
    return "s" if "s_span" in sol.settings else "t"


def start_of_axis(sol: Trajectory) -> float:
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
