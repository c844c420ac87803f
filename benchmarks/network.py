"""Deep tanh networks of any size. All solvers take the derivatives of grokflow: only the solvers differ."""

from __future__ import annotations

import math
from functools import cached_property

import grokflow as gf
import numpy as np

from benchmarks.models import Point, Problem

INPUTS = 20


def network(d, n, seed=0):
    """Three hidden layers of equal width and about d parameters, a tanh teacher of five neurons, and w0."""
    width = max(2, round((math.sqrt((INPUTS + 4) ** 2 + 8 * d) - INPUTS - 4) / 4))
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, INPUTS))
    y = np.tanh(X @ rng.standard_normal((INPUTS, 5)) / math.sqrt(INPUTS)) @ rng.standard_normal(5)
    problem = gf.models.MLP(X, y, widths=(width,) * 3, activation="tanh")
    return problem, problem.initial_weights(seed=seed)


def wide(d, n, seed=0):
    """A two-layer tanh network of about d parameters on n samples of 30 inputs, and w0: kernels are dear."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 30))
    y = np.sin(X[:, 0]) + 0.5 * X[:, 1] * X[:, 2]
    problem = gf.models.TwoLayerNetwork(X, y, width=round(d / 32), activation="tanh")
    return problem, 0.3 * rng.standard_normal(problem.num_params)


class Network(Problem):
    """The flow of that network, as the solvers of `benchmarks.solvers` take it."""

    tight = 1e-9

    def __init__(self, name, n, d, weight_decay, t_end, seed=0):
        self._model, w0 = network(d, n, seed)
        super().__init__(name, n, w0, weight_decay, t_end)

    def model(self):
        return self._model

    def at(self, w):
        return NetworkPoint(self, w)


class Compiled:
    """Another problem, with grokflow's derivatives in place of NumPy's."""

    def __init__(self, problem):
        self._problem, self._model = problem, problem.model()

    def __getattr__(self, name):
        return getattr(self._problem, name)

    def at(self, w):
        return NetworkPoint(self, w)


class NetworkPoint(Point):
    """One pass for a gradient; what the products with J and H share is made when first asked for."""

    @cached_property
    def lin(self):
        return self.p._model._core.linearize(self.w)

    def gradient(self):
        return self.p._model._core.gradient(self.w)

    def jvp(self, v):
        return self.lin.jvp(v)

    def vjp(self, q):
        return self.lin.vjp(q)

    def hvp(self, v):
        return self.lin.hvp(v)

    def gram(self):
        return self.lin.gram()

    def hessian(self):
        return self.lin.hessian()
