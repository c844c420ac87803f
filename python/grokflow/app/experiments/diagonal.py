"""Sparse recovery by a diagonal linear network: prediction X (u * v), teacher a sparse Fourier series.

The least ||u||^2 + ||v||^2 for a given u * v is twice the l1 norm of u * v, so that the slow phase finds the
sparse coefficients. Initial variance 0.1 and lam = 1e-4 are the paper's; the sizes are ours.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import grokflow as gf
from grokflow.app.experiments.experiment import DEFAULTS, Experiment, data_stream, figure_with_run
from grokflow.figures.style import GREY, ORANGE, PURPLE, legend_above, scientific

Array = NDArray[np.float64]


def experiment(seed: int, weight_decay: float | None, small: bool) -> Experiment:
    """Return the recovery of 5 of 100 Fourier coefficients from 40 samples."""
    features, samples, terms = (20, 12, 2) if small else (100, 40, 5)
    lam = 1e-4 if weight_decay is None else weight_decay
    rng = data_stream(seed)
    X = fourier(rng.uniform(size=samples), features)
    X_test = fourier((np.arange(300) + 0.5) / 300, features)
    teacher = np.zeros(features)
    support = rng.choice(features, terms, replace=False)
    teacher[support] = rng.choice([-1.0, 1.0], terms) * rng.uniform(0.5, 1.5, terms)
    problem = gf.models.DiagonalLinearNetwork(X, X @ teacher, test=(X_test, X_test @ teacher))
    w0 = problem.initial_weights(std=0.1**0.5, seed=seed)

    def draw(sol: gf.Solution) -> Figure:
        title = (
            f"Diagonal linear network, n = {samples}, {features} coefficients, $\\lambda$ = {scientific(lam)}"
        )
        figure, axes = figure_with_run(sol, title, panels=1)
        ax, index, found = axes[2], np.arange(features), sol["coefficients"]
        ax.axhline(0.0, color=GREY, linewidth=0.6)
        ax.plot(
            support, teacher[support], "o", markersize=8, fillstyle="none", color="black", label="teacher"
        )
        landing = found[
            np.searchsorted(sol.t, min(np.nan_to_num(gf.clocks(sol).t_wd, nan=np.inf), sol.t[-1]))
        ]
        ax.plot(index, landing, "x", markersize=4, color=ORANGE, label="landing")
        ax.plot(index, found[-1], "o", markersize=3.5, color=PURPLE, label="end")
        ax.set_xlabel("index of the Fourier coefficient")
        ax.set_ylabel(r"$u \odot v$")
        legend_above(ax)
        return figure

    observe = {**DEFAULTS, "coefficients": "coefficients"}
    return Experiment(problem, w0, lam, 30.0 / lam, draw, observe)


def fourier(x: Array, features: int) -> Array:
    """Return 1, sqrt(2) cos 2 pi x, sqrt(2) sin 2 pi x, ... at x, shape (len(x), features)."""
    k = np.arange(features)
    angle = 2.0 * np.pi * np.outer(x, (k + 1) // 2)
    return np.where(k == 0, 1.0, np.sqrt(2.0) * np.where(k % 2 == 1, np.cos(angle), np.sin(angle)))
