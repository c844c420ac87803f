"""What an experiment consists of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import grokflow as gf
from grokflow.figures.run import draw_run

DEFAULTS = {name: name for name in ("train_loss", "test_loss", "norm", "grad_norm")}


@dataclass(frozen=True)
class Experiment:
    """A problem with its start, how to run it, and how to draw its trajectory."""

    problem: gf.Problem
    w0: NDArray[Any]
    weight_decay: float
    t_end: float
    draw: Callable[[gf.Solution], Figure]
    observe: Mapping[str, Any]

    def run(self, progress: bool = False) -> gf.Solution:
        """Return the trajectory."""
        return gf.gradient_flow(
            self.problem,
            self.w0,
            (0.0, self.t_end),
            weight_decay=self.weight_decay,
            observe=self.observe,
            progress=progress,
        )


@dataclass(frozen=True)
class LimitExperiment:
    """A problem with its start, how to compare its flows with their limit, and how to draw all of it."""

    problem: gf.Problem
    w0: NDArray[Any]
    weight_decay: Sequence[float]
    draw: Callable[[gf.TwoPhase], Figure]

    def run(self, progress: bool = False) -> gf.TwoPhase:
        """Return flows, landing and drift."""
        return gf.two_phase(self.problem, self.w0, self.weight_decay, progress=progress)


def data_stream(seed: int) -> np.random.Generator:
    """Return random numbers for the data, independent of the initial weights drawn from ``seed`` itself."""
    return np.random.default_rng([seed, 1])


def figure_with_run(sol: gf.Solution, title: str, panels: int = 0) -> tuple[Figure, list[Any]]:
    """Return a figure with losses and squared norm, room for more panels below if wanted, and the axes."""
    heights = [2.4, 1.6] + panels * [1.9]
    figure = Figure(figsize=(5.2, sum(heights) + 0.7), layout="constrained")
    axes: list[Any] = list(figure.subplots(len(heights), 1, height_ratios=heights))
    axes[0].sharex(axes[1])
    axes[0].tick_params(labelbottom=False)
    draw_run(axes[:2], sol)
    figure.suptitle(title)
    return figure, axes
