"""Figures of a network with one input: its kinks over time, and the function that it has learned."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from grokflow._validate import as_number
from grokflow.figures.style import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    canvas,
    legend_above,
    on_axis,
    scientific,
    time_axis,
    time_label,
    time_name,
)
from grokflow.models.model import Regression
from grokflow.models.two_layer import TwoLayerNetwork
from grokflow.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


MARGIN = 0.1  # of the range of the data: how far beyond them things are drawn
DEAD = 1e-9  # inner weights of this size, relative to the largest weight, have no kink left
COLOURS = (ORANGE, GREEN, BLUE, VERMILION, PURPLE)
SHADES = ("0.93", SKY, BLUE, "#002b45")  # of |u_j|, from 0 up


def plot_modes(sol: Trajectory, problem: object, ax: Axes | None = None) -> Figure:
    """Draw kinks over time; see `Solution.plot_modes`."""
    network = _with_one_input("plot_modes", sol, problem, TwoLayerNetwork)
    with canvas((5.2, 3.6), ax) as figure:
        draw_modes(figure.subplots() if ax is None else ax, sol, network)
    return figure


def plot_function(
    sol: Trajectory,
    times: ArrayLike,
    problem: object,
    teacher: Callable[[NDArray[np.float64]], ArrayLike] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw the function at some times; see `Solution.plot_function`."""
    model = _with_one_input("plot_function", sol, problem, Regression)
    chosen = [as_number("times", t) for t in np.atleast_1d(np.asarray(times, dtype=object))]
    for t in chosen:
        if not sol.t[0] <= t <= sol.t[-1]:
            raise ValueError(f"times has {t}; recorded are {sol.t[0]} to {sol.t[-1]}")
    if teacher is not None and not callable(teacher):
        raise TypeError(f"teacher is {teacher!r}; it must be a function of inputs")
    with canvas((5.2, 3.2), ax) as figure:
        draw_function(figure.subplots() if ax is None else ax, sol, model, chosen, teacher)
    return figure


def draw_modes(ax: Axes, sol: Trajectory, network: TwoLayerNetwork) -> None:
    """Draw the kink -b/v of every neuron, coloured by |u|, with the data points as lines."""
    rows, times = on_axis(sol)
    w = sol.w[rows]  # type: ignore[index]
    if len(times) == 1:  # a line all the same
        times, w = times * [1.0, 10.0], np.repeat(w, 2, axis=0)
    u, v = (w[:, network.blocks[name]] for name in "uV")
    sizes = np.linalg.norm(u.reshape(*v.shape, -1), axis=2)
    b = w[:, network.blocks["b"]] if "b" in network.blocks else np.zeros_like(v)
    low, high = _span(network)
    with np.errstate(divide="ignore", invalid="ignore"):
        kinks = -b / v
    alive = np.hypot(v, b) > DEAD * np.abs(w).max(axis=1, initial=0.0, keepdims=True)
    kinks[~(alive & (low <= kinks) & (kinks <= high))] = np.nan
    if len(w) > 1:
        _draw_lines(ax, times, kinks, sizes)
    for x in np.unique(network._arguments["X"]):
        ax.axhline(x, color="black", linewidth=0.5, linestyle=(0, (1, 3)))
    time_axis(ax, sol)
    ax.set_ylim(low, high)
    ax.set_xlabel(time_label(sol))
    ax.set_ylabel("kink $-b_j/v_j$")


def _draw_lines(
    ax: Axes, t: NDArray[np.float64], kinks: NDArray[np.float64], sizes: NDArray[np.float64]
) -> None:
    """Draw a line for each column, coloured by its size from time to time, and what the colours mean."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm

    order = np.argsort(sizes[-1])  # the strongest at the end on top
    points = np.stack([np.broadcast_to(t[:, None], kinks.shape), kinks], axis=2)[:, order]
    pieces = np.stack([points[:-1], points[1:]], axis=2)  # (time, neuron, end, coordinate)
    lines = LineCollection(
        list(np.swapaxes(pieces, 0, 1).reshape(-1, 2, 2)),
        array=sizes[1:, order].T.ravel(),
        cmap=LinearSegmentedColormap.from_list("sizes", SHADES),
        norm=PowerNorm(0.5, 0.0, float(sizes.max()) or 1.0),
        linewidths=0.9,
        capstyle="round",
    )
    ax.add_collection(lines)
    bar = ax.figure.colorbar(lines, cax=ax.inset_axes((0.62, 1.05, 0.38, 0.04)), orientation="horizontal")
    bar.ax.tick_params(labelsize=6, length=2, pad=1, bottom=False, labelbottom=False, top=True, labeltop=True)
    bar.outline.set_visible(False)
    ax.text(0.6, 1.07, "$|u_j|$", transform=ax.transAxes, ha="right", va="center")


def draw_function(
    ax: Axes,
    sol: Trajectory,
    model: Regression,
    times: Iterable[float],
    teacher: Callable[[NDArray[np.float64]], ArrayLike] | None = None,
) -> None:
    """Draw the function at the recorded times nearest to `times`, with teacher and data."""
    x = np.linspace(*_span(model), 801)[:, None]
    X, y = model._arguments["X"], model._arguments["y"]
    settled = [y]  # what the vertical axis shows whole; the start, which is random, may leave it
    for i, time in enumerate(times):
        nearest = int(np.argmin(np.abs(sol.t - time)))
        t, f = sol.t[nearest], model.predict(sol.w[nearest], x)  # type: ignore[index]
        number = f"{t:.3g}" if 1e-3 < t < 1e3 or t == 0.0 else scientific(t).strip("$")
        label = f"${time_name(sol)}={number}$"
        ax.plot(x, f, color=COLOURS[i % len(COLOURS)], label=label, zorder=2 + 0.01 * i)
        if t > 0.0:
            settled.append(f)
    if teacher is not None:
        truth = np.asarray(teacher(x))
        ax.plot(x, truth, color="black", linestyle=(0, (4, 3)), linewidth=0.9, label="teacher", zorder=2.5)
        settled.append(truth)
    ax.plot(X, y, "o", color="black", markersize=3.5, label="data", zorder=3)
    if len(settled) > 1:
        low, high = min(f.min() for f in settled), max(f.max() for f in settled)
        ax.set_ylim(low - 0.3 * (high - low), high + 0.3 * (high - low))
    ax.set_xlim(x[0, 0], x[-1, 0])
    ax.set_xlabel("$x$")
    ax.set_ylabel("$f(x)$")
    legend_above(ax)


def _with_one_input(what: str, sol: Trajectory, problem: object, kind: type[Any]) -> Any:
    """Return the model that `sol` solved, if it can be drawn."""
    if problem is None:
        raise ValueError(f"{what} needs the problem, which a Solution that was loaded has not: give problem=")
    if not isinstance(problem, kind):
        raise TypeError(f"{what} draws networks, and problem is {type(problem).__name__}")
    inputs = problem._arguments["X"].shape[1]
    if inputs != 1:
        raise ValueError(f"{what} draws models with one input, and this one has {inputs}")
    if problem.num_params != sol.final.size:
        raise ValueError(f"problem has {problem.num_params} parameters, and the solution {sol.final.size}")
    if sol.w is None:
        raise ValueError(f"{what} needs the weights over time, which were not kept: set save_states=True")
    return problem


def _span(model: Regression) -> tuple[float, float]:
    """Return the range of inputs to draw."""
    X = model._arguments["X"]
    low, high = float(X.min()), float(X.max())
    beyond = MARGIN * (high - low) or 1.0
    return low - beyond, high + beyond
