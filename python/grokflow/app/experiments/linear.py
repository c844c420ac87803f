"""Linear regression with more parameters than samples: the one problem whose flow has a closed form.

In the basis X = U diag(s) V^T every coordinate of V^T w relaxes on its own, at the rate c s_i^2 + lam, and
what is orthogonal to the rows of X decays at the rate lam. The closed form is drawn over the computed curve.
The sizes are ours.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import grokflow as gf
from grokflow.app.experiments.experiment import DEFAULTS, Experiment, data_stream, figure_with_run
from grokflow.figures.style import legend_above, scientific

Array = NDArray[np.float64]


def experiment(seed: int, weight_decay: float | None, small: bool) -> Experiment:
    """Return a Gaussian design of n = 50 samples in d = 200 dimensions, started at random."""
    n, d = (10, 30) if small else (50, 200)
    lam = 1e-3 if weight_decay is None else weight_decay
    rng = data_stream(seed)
    X, X_test = rng.standard_normal((n, d)), rng.standard_normal((4 * n, d))
    teacher = rng.standard_normal(d) / np.sqrt(d)
    problem = gf.models.LinearRegression(X, X @ teacher, test=(X_test, X_test @ teacher))
    w0 = problem.initial_weights(std=1.0, seed=seed)

    def draw(sol: gf.Solution) -> Figure:
        exact = closed_form(X, X @ teacher, problem.scale, lam, w0, sol.t)
        figure, axes = figure_with_run(
            sol, f"Linear regression, n = {n}, d = {d}, $\\lambda$ = {scientific(lam)}"
        )
        train = problem.scale / 2.0 * ((exact - teacher) @ X.T) ** 2
        test = 0.5 * ((exact - teacher) @ X_test.T) ** 2
        style = {"color": "black", "linestyle": (0, (1, 3)), "linewidth": 1.4, "zorder": 3}
        axes[0].plot(sol.t, train.sum(axis=1), label="closed form", **style)
        axes[0].plot(sol.t, test.mean(axis=1), **style)
        axes[1].plot(sol.t, (exact**2).sum(axis=1), **style)
        legend_above(axes[0])
        return figure

    return Experiment(problem, w0, lam, 10.0 / lam, draw, DEFAULTS)


def closed_form(X: Array, y: Array, scale: float, lam: float, w0: Array, t: Array) -> Array:
    """Return w(t), shape (T, d), of dw/dt = -scale X^T (X w - y) - lam w."""
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    rate = scale * s**2 + lam
    limit = scale * s * (U.T @ y) / rate
    start = Vt @ w0
    inside = limit + (start - limit) * np.exp(-np.outer(t, rate))
    w: Array = np.exp(-lam * t)[:, None] * (w0 - Vt.T @ start) + inside @ Vt
    return w
