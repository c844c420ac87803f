"""The path of a step, as SciPy's dense output."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from scipy.integrate import DenseOutput

from grokflow._validate import FloatArray


@cache
def nodes(degree: int) -> FloatArray:
    """Return the extremal points of the Chebyshev polynomial on [0, 1], both ends among them."""
    x: FloatArray = 0.5 * (1.0 - np.cos(np.pi * np.arange(degree + 1) / degree))
    return x


@cache
def _weights(degree: int) -> FloatArray:
    weights: FloatArray = np.where(np.arange(degree + 1) % 2, -1.0, 1.0)
    weights[[0, -1]] *= 0.5
    return weights


class Path(DenseOutput):  # type: ignore[misc]
    """The polynomial through its values, shape (degree + 1, n), at the `nodes` of a step: exact there.

    Evaluated by the barycentric formula (Berrut & Trefethen, SIAM Review 46, 2004).
    """

    def __init__(self, t_old: float, t: float, values: FloatArray) -> None:
        super().__init__(t_old, t)
        self._values = values
        self._nodes, self._weights = nodes(len(values) - 1), _weights(len(values) - 1)

    def _call_impl(self, t: Any) -> Any:
        x = (np.atleast_1d(t) - self.t_old) / (self.t - self.t_old)
        away = x[:, None] - self._nodes
        at_node = away == 0.0
        terms = self._weights / np.where(at_node, 1.0, away)
        terms = np.where(at_node.any(axis=1, keepdims=True), at_node, terms)
        y = (terms / terms.sum(axis=1, keepdims=True)) @ self._values
        return y.T if np.ndim(t) else y[0]
