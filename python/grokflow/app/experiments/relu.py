"""A ReLU network on ten data points, the paper's Figure 3: kinks drift, stick to data points and merge.

The paper's setting: width 100, ten inputs uniform in [-2, 2], a teacher of three ReLUs (these are ours),
Gaussian start of variance 4, lam = 1e-3, t up to 1e6. With the default seed the test loss is 1.2 at t = 1,
where the data are fitted, and 0.8 at t = 100; then it falls to 0.001. So it goes with every seed tried.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import grokflow as gf
from grokflow.app.experiments.experiment import DEFAULTS, Experiment, data_stream, figure_with_run
from grokflow.figures.network import draw_function, draw_modes
from grokflow.figures.style import scientific


def experiment(seed: int, weight_decay: float | None, small: bool) -> Experiment:
    """Return the paper's network of 100 ReLU neurons on ten data points."""
    width, n = (15, 5) if small else (100, 10)
    lam = 1e-3 if weight_decay is None else weight_decay
    X = np.sort(data_stream(seed).uniform(-2.0, 2.0, n))[:, None]
    X_test = np.linspace(-2.0, 2.0, 400)[:, None]
    problem = gf.models.TwoLayerNetwork(
        X, teacher(X), width=width, activation="relu", test=(X_test, teacher(X_test))
    )
    w0 = problem.initial_weights(std=2.0, seed=seed)

    def draw(sol: gf.Solution) -> Figure:
        title = f"Two-layer ReLU network, n = {n}, width {width}, $\\lambda$ = {scientific(lam)}"
        figure, axes = figure_with_run(sol, title, panels=2)
        draw_modes(axes[2], sol, problem)
        axes[2].sharex(axes[1])
        for ax in axes[:2]:
            ax.tick_params(labelbottom=False)
            ax.set_xlabel("")
        draw_function(
            axes[3], sol, problem, [t for t in (0.0, 1.0, 100.0 / lam) if t <= sol.t_final], teacher
        )
        return figure

    return Experiment(problem, w0, lam, 1000.0 / lam, draw, DEFAULTS)


def teacher(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return three ReLUs at inputs of shape (k, 1)."""
    hidden = np.maximum(x * [1.0, -1.0, 1.0] + [0.5, 0.3, -0.7], 0.0)
    return np.asarray(hidden @ [1.0, 1.0, -2.0])
