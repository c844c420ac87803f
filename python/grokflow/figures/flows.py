"""Figures of several runs at once, as the field draws them: curves over a parameter, laws of times, modes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from grokflow._validate import as_array, as_choice, as_number, as_real
from grokflow.figures.style import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    canvas,
    draw_over_time,
    legend_above,
    scientific,
    start_of_axis,
    time_axis,
    time_label,
)
from grokflow.trajectory import Trajectory, require_trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (VERMILION, BLUE, GREEN, PURPLE, ORANGE)
SIZE = (4.6, 3.2)


def plot_flows(
    flows: Mapping[Any, Trajectory],
    value: str = "test_loss",
    *,
    beside: str | None = None,
    symbol: str = r"\lambda",
    yscale: str = "auto",
    ax: Axes | None = None,
) -> Figure:
    """Draw an observable of several runs over time on a log axis, in colours from dark to light.

    Parameters
    ----------
    flows : mapping of number or str to Solution
        The runs, by what tells them apart: the value of a parameter, or a text for the legend.
    value : str, default "test_loss"
        What is drawn.
    beside : str, optional
        What is drawn dotted in the same colours, e.g. "train_loss".
    symbol : str, default r"\\lambda"
        The parameter, as mathematics.
    yscale : {"auto", "log", "linear"}, default "auto"
        Of the axis of `value`; "auto" is logarithmic for losses.
    ax : matplotlib Axes, optional
        Where to draw. By default a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    KeyError
        A run has not observed it.
    ValueError
        There are no runs, a curve has several components, or the scale is unknown.
    ImportError
        matplotlib is missing.
    """
    require_mapping("flows", flows)
    require_text(symbol=symbol)
    if not flows:
        raise ValueError("flows is empty; give at least one run")
    as_choice("yscale", yscale, ("auto", "log", "linear"))
    names = [value] if beside is None else [value, beside]
    for sol in flows.values():
        require_trajectory(sol)
        for name in names:
            if sol[name].ndim > 1:
                raise ValueError(f"{name!r} has several components; draw it with plot_components")
    with canvas(SIZE, ax) as figure:
        from matplotlib import colormaps

        ax = figure.add_subplot() if ax is None else ax
        left = min(start_of_axis(sol, *names) for sol in flows.values())
        shades = colormaps["viridis"](np.linspace(0.0, 0.85, len(flows)))
        for colour, (key, sol) in zip(shades, flows.items(), strict=True):
            draw_over_time(ax, sol, sol[value], left, color=colour, label=_label(key, symbol))
            if beside is not None:
                style: Any = {"linestyle": (0, (1, 1.5)), "linewidth": 1.1}
                draw_over_time(ax, sol, sol[beside], left, color=colour, **style)
        longest = max(flows.values(), key=lambda sol: sol.t_final)
        time_axis(ax, longest)
        ax.set_xlim(left=left)
        if yscale == "log" or (yscale == "auto" and "loss" in value):
            ax.set_yscale("log")
        ax.set_xlabel(time_label(longest))
        title = value.replace("_", " ")
        ax.set_ylabel(title if beside is None else f"{title} (dotted: {beside.replace('_', ' ')})")
        legend_above(ax, entries_beside(ax))
    return figure


def plot_law(
    x: ArrayLike,
    times: Mapping[str, ArrayLike],
    *,
    xlabel: str = r"$\lambda$",
    ylabel: str = "time",
    y: str = "log",
    ax: Axes | None = None,
) -> Figure:
    """Draw times, or other numbers, against a parameter on a log axis, with the slope of each fitted line.

    Parameters
    ----------
    x : array_like, shape (k,)
        The parameter, positive.
    times : dict of str to array_like, shape (k,)
        The numbers, by their name in the legend; nan (not reached) is left out.
    xlabel, ylabel : str
        Of the axes.
    y : {"log", "linear"}, default "log"
        The slope is that of ``log y`` or of y itself, against the natural logarithm of x.
    ax : matplotlib Axes, optional
        Where to draw. By default a new figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        Shapes differ, or a number that a logarithm is taken of is not positive.
    ImportError
        matplotlib is missing.
    """
    as_choice("y", y, ("log", "linear"))
    require_mapping("times", times)
    if not times:
        raise ValueError("times is empty; give one series at least")
    require_text(xlabel=xlabel, ylabel=ylabel)
    at = as_array("x", x, 1)
    numbers = {name: as_real(name, values).astype(np.float64) for name, values in times.items()}
    for name, values in numbers.items():
        if values.shape != at.shape:
            raise ValueError(f"{name} has shape {values.shape}; that of x is {at.shape}")
        if y == "log" and (values <= 0.0).any():
            raise ValueError(f"{name} has numbers that are not positive; take y='linear'")
    if (at <= 0.0).any():
        raise ValueError("x has numbers that are not positive")
    with canvas(SIZE, ax) as figure:
        ax = figure.add_subplot() if ax is None else ax
        there = len(ax.get_legend_handles_labels()[0])  # laws that were drawn before
        for colour, (name, values) in zip(_cycle(there, len(numbers)), numbers.items(), strict=True):
            known = np.isfinite(values)
            label = name
            if np.unique(at[known]).size > 1:
                over = np.log(values[known]) if y == "log" else values[known]
                slope, offset = np.polyfit(np.log(at[known]), over, 1)
                line = slope * np.log(at[known]) + offset
                ax.plot(at[known], np.exp(line) if y == "log" else line, color=colour, linewidth=0.9)
                label = f"{name}, slope {round(slope, 3) + 0.0:.3f}"
            ax.plot(at[known], values[known], "o", color=colour, markersize=5, label=label)
        ax.set_xscale("log")
        ax.set_yscale(y)
        ax.set_xlabel(xlabel)
        ax.set_ylabel(ylabel)
        legend_above(ax, entries_beside(ax))
    return figure


def plot_components(
    sol: Trajectory, name: str, highlight: Sequence[int] | None = None, ax: Axes | None = None
) -> Figure:
    """Draw the components of an observable over time; see `Solution.plot_components`."""
    values = sol[name]
    if values.ndim == 1:
        raise ValueError(f"{name!r} is a number; draw it with plot_flows")
    count = values.shape[1]
    asked = np.arange(count) if highlight is None else np.atleast_1d(as_real("highlight", highlight))
    chosen = asked.ravel().tolist()
    if not set(chosen) <= set(range(count)) or (chosen and asked.dtype.kind not in "iu"):
        raise ValueError(f"highlight is {highlight!r}; the components of {name!r} are 0 to {count - 1}")
    with canvas(SIZE, ax) as figure:
        ax = figure.add_subplot() if ax is None else ax
        left = start_of_axis(sol, name)
        others = [i for i in range(count) if i not in chosen]
        if others:
            draw_over_time(ax, sol, values[:, others], left, color=SKY, linewidth=0.7)
        for colour, i in zip(_cycle(0, len(chosen)), chosen, strict=True):
            draw_over_time(ax, sol, values[:, i], left, color=colour, linewidth=1.3)
        time_axis(ax, sol)
        ax.set_xlim(left=left)
        ax.set_xlabel(time_label(sol))
        ax.set_ylabel(name.replace("_", " "))
    return figure


def require_mapping(name: str, value: object) -> None:
    """Raise TypeError if an argument is no mapping."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} is {value!r}; it must be a mapping, with what to call each in the legend")


def require_text(**arguments: object) -> None:
    """Raise TypeError if an argument is no text."""
    for name, value in arguments.items():
        if not isinstance(value, str):
            raise TypeError(f"{name} is {value!r}; it must be a text")


def entries_beside(ax: Axes) -> int:
    """Return how many entries of the legend of `ax` fit above it beside each other."""
    texts = (re.sub(r"\\[a-z]+|[${}^]", "", label) for label in ax.get_legend_handles_labels()[1])
    longest = max(map(len, texts))
    inches = 0.5 + 0.06 * longest
    return max(1, int(ax.get_window_extent().width / ax.figure.dpi / inches))


def _label(key: object, symbol: str) -> str:
    if isinstance(key, str):
        return key
    number = as_number("a name in flows", key)
    simple = number == 0.0 or 1e-2 <= abs(number) < 1e4
    return f"${symbol}$ = " + (f"{number:g}" if simple else scientific(number))


def _cycle(first: int, count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(first, first + count)]
