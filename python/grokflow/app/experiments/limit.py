"""The limit of vanishing weight decay: three flows in slow time s = lam t, and over them the drift.

A two-layer tanh network like that of `tanh`, with three teacher neurons and c = 1 (the sum of the squared
errors): its Hessian stays far from singular on the whole drift. There the statement of the paper can be seen
in full: the distance of the flow to the drift falls as lam. The sizes are ours.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import grokflow as gf
from grokflow.app.experiments.experiment import LimitExperiment, data_stream
from grokflow.figures.style import legend_above, scientific
from grokflow.limit.figure import LIMIT, draw_distances, draw_slope, shades


def experiment(seed: int, weight_decay: float | None, small: bool) -> LimitExperiment:
    """Return flows for lam = 1e-3 (or ``weight_decay``), a tenth and a hundredth of it, and their limit."""
    width, n, p, neurons = (20, 8, 4, 3) if small else (50, 50, 10, 3)
    largest = 1e-3 if weight_decay is None else weight_decay
    rng = data_stream(seed)
    directions = rng.standard_normal((neurons, p))
    directions *= 1.5 / np.linalg.norm(directions, axis=1, keepdims=True)
    signs = np.where(np.arange(neurons) % 2 == 0, 1.0, -1.0)
    X, X_test = rng.standard_normal((n, p)), rng.standard_normal((400, p))
    y, y_test = (np.tanh(x @ directions.T) @ signs for x in (X, X_test))
    problem = gf.models.TwoLayerNetwork(
        X, y, width=width, activation="tanh", scale="sum", test=(X_test, y_test)
    )
    w0 = problem.initial_weights(std=1.0, seed=seed)

    def draw(phases: gf.TwoPhase) -> Figure:
        figure = Figure(figsize=(5.6, 6.4), layout="constrained")
        figure.suptitle(f"Two-layer tanh network, n = {n}, width {width}: the limit $\\lambda\\to0$")
        rows = figure.add_gridspec(3, 2, height_ratios=(2.2, 1.8, 2))
        losses = figure.add_subplot(rows[0, :])
        norm = figure.add_subplot(rows[1, :], sharex=losses)
        draw_slow_time(losses, phases, "test_loss")
        draw_slow_time(norm, phases, "norm")
        losses.set_yscale("log")
        losses.set_ylabel("test loss")
        losses.tick_params(labelbottom=False)
        legend_above(losses)
        norm.set_ylabel(r"$\|w\|^2$")
        norm.set_ylim(bottom=0.0)
        norm.set_xlabel(r"$s=\lambda t$")
        draw_distances(figure.add_subplot(rows[2, 0]), phases)
        draw_slope(figure.add_subplot(rows[2, 1]), phases)
        return figure

    return LimitExperiment(problem, w0, [largest, largest / 10.0, largest / 100.0], draw)


def draw_slow_time(ax: Axes, phases: gf.TwoPhase, name: str) -> None:
    """Draw a quantity of all flows against slow time, from wide to narrow, and that of the drift on top."""
    power = 2 if name == "norm" else 1
    count = len(phases.flows)
    for i, (colour, (lam, sol)) in enumerate(zip(shades(count), phases.flows.items(), strict=True)):
        after = sol.t > 0.0
        label = rf"$\lambda$ = {scientific(lam)}"
        width = 1.2 + 1.4 * (count - 1 - i)
        ax.plot(lam * sol.t[after], sol[name][after] ** power, color=colour, linewidth=width, label=label)
    if phases.slow is not None:
        after = phases.slow.t > 0.0
        ax.plot(phases.slow.t[after], phases.slow[name][after] ** power, **LIMIT, label="drift")
    ax.set_xscale("log")
    ax.set_xlim(1e-4 * max(phases.flows), phases.s_end)
