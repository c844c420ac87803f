"""Completion of a matrix of low rank by U V^T: the slow phase lowers the nuclear norm, and with it the rank.

The paper's setting: 20 x 20, rank 3 with singular values 24.5, 17.6 and 10.7, width 10, about half of the
entries observed (220 here), standard Gaussian start, F = sum of the squared errors (c = 2), lam = 1e-3, t up
to 1e4. Then ||w||^2 falls from about 310 on the plateau to about 106, twice the sum of the singular values.
Whether the nuclear norm finds the matrix from so few entries is luck; with the default seed it does.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

import grokflow as gf
from grokflow.app.experiments.experiment import DEFAULTS, Experiment, data_stream, figure_with_run
from grokflow.figures.run import mark_clocks
from grokflow.figures.style import GREY, PURPLE, SKY, legend_above, scientific, time_axis


def experiment(seed: int, weight_decay: float | None, small: bool) -> Experiment:
    """Return the paper's matrix completion problem."""
    size, width, observed, singular = (6, 3, 20, [6.0]) if small else (20, 10, 220, [24.5, 17.6, 10.7])
    lam = 1e-3 if weight_decay is None else weight_decay
    rng = data_stream(seed)
    rank = len(singular)
    left, right = (np.linalg.qr(rng.standard_normal((size, rank)))[0] for _ in range(2))
    teacher = left * singular @ right.T
    order = rng.permutation(size * size)
    rows, cols = np.divmod(order, size)
    train, test = slice(observed), slice(observed, None)
    problem = gf.models.MatrixCompletion(
        rows[train],
        cols[train],
        teacher[rows[train], cols[train]],
        shape=(size, size),
        width=width,
        scale=2.0,
        test=(rows[test], cols[test], teacher[rows[test], cols[test]]),
    )
    w0 = problem.initial_weights(std=1.0, seed=np.random.default_rng(seed))  # those of the paper's run

    def draw(sol: gf.Solution) -> Figure:
        shape = rf"${size}\times {size}$"
        title = f"Matrix completion, {shape}, rank {rank}, width {width}, $\\lambda$ = {scientific(lam)}"
        figure, axes = figure_with_run(sol, title, panels=1)
        ax = axes[2]
        for i, value in enumerate(singular):
            ax.axhline(
                value,
                color=GREY,
                linewidth=0.8,
                linestyle=(0, (1, 2)),
                label=None if i else "teacher",
                zorder=0,
            )
        values = sol["singular_values"]
        for part, colour, label in (
            (values[:, :rank], PURPLE, f"largest {rank}"),
            (values[:, rank:], SKY, "others"),
        ):
            lines = ax.plot(sol.t, part, color=colour, linewidth=1.2)
            lines[0].set_label(label)
        time_axis(ax, sol)
        mark_clocks(ax, sol, label=False)
        ax.set_ylim(bottom=0.0)
        axes[1].sharex(ax)
        axes[1].tick_params(labelbottom=False)
        axes[1].set_xlabel("")
        ax.set_xlabel("$t$")
        ax.set_ylabel(r"singular values of $UV^{\!\top}$")
        legend_above(ax)
        return figure

    return Experiment(problem, w0, lam, 10.0 / lam, draw, {**DEFAULTS, "singular_values": "singular_values"})
