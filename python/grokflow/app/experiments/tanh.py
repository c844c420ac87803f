"""A two-layer tanh network that learns one of two neurons: the clearest delayed generalisation of the four.

Teacher, sizes and start are ours, chosen so that the plateau is long.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

import grokflow as gf
from grokflow.app.experiments.experiment import DEFAULTS, Experiment, data_stream, figure_with_run
from grokflow.figures.style import scientific


def experiment(seed: int, weight_decay: float | None, small: bool) -> Experiment:
    """Return a network of 50 neurons that learns a difference of two from 60 samples in 10 dimensions."""
    width, n, p = (8, 12, 3) if small else (50, 60, 10)
    lam = 1e-4 if weight_decay is None else weight_decay
    rng = data_stream(seed)
    directions = rng.standard_normal((2, p))
    directions *= 1.5 / np.linalg.norm(directions, axis=1, keepdims=True)
    X, X_test = rng.standard_normal((n, p)), rng.standard_normal((400, p))
    y, y_test = (np.tanh(x @ directions.T) @ [1.0, -1.0] for x in (X, X_test))
    problem = gf.models.TwoLayerNetwork(X, y, width=width, activation="tanh", test=(X_test, y_test))
    w0 = problem.initial_weights(std=1.0, seed=seed)

    def draw(sol: gf.Solution) -> Figure:
        title = f"Two-layer tanh network, n = {n}, width {width}, $\\lambda$ = {scientific(lam)}"
        return figure_with_run(sol, title)[0]

    return Experiment(problem, w0, lam, 10.0 / lam, draw, DEFAULTS)
