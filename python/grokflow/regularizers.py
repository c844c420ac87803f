"""What the drift makes small: a norm, the trace of the Hessian, or a function of the user's."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._options import WeightDecay, as_decay, as_rate
from grokflow._validate import FloatArray, as_choice, as_number, as_real
from grokflow.problems import Problem

NAMES = ("norm", "hessian_trace", "l1")
SIDE = 1e-7  # of a weight, to either side of 0, where a smooth slope cannot tell them apart,
JUMP = 1e-3  # and what it may differ by, relative to its size
BESIDE = 10.0 ** -np.arange(8, 1, -1)  # distances over ||w|| at which a run that rattled has its kink,
DIRECTIONS = 8  # in which one is looked for,
STAYS = 0.9  # and the share of the difference between both sides that is left at half the distance
NAMED = (
    "if it is an l1 norm, say regularizer='l1', or grokflow.L1 with weights by block, whose kinks are known"
)


class Regularizer:
    """A smooth function R of the weights, for the drift to make small.

    Parameters
    ----------
    value : callable
        ``value(w) -> float``, R(w).
    gradient : callable
        ``gradient(w) -> array_like, shape (d,)``, grad R(w).

    Raises
    ------
    TypeError
        If one of the two is not callable.

    Examples
    --------
    >>> import numpy as np, grokflow as gf
    >>> quartic = gf.Regularizer(value=lambda w: np.sum(w**4) / 4, gradient=lambda w: w**3)
    """

    def __init__(
        self, *, value: Callable[[FloatArray], float], gradient: Callable[[FloatArray], ArrayLike]
    ) -> None:
        for name, function in (("value", value), ("gradient", gradient)):
            if not callable(function):
                raise TypeError(f"{name} is {function!r}; it must be a function of w")
        self.value, self.gradient = value, gradient

    def evaluate(self, w: FloatArray) -> tuple[float, FloatArray]:
        """Return R(w) and grad R(w), checked to be what they must be.

        Raises
        ------
        TypeError, ValueError
            The value is no number, or the gradient has the wrong shape or is not finite.
        """
        value = as_number("the regularizer's value", self.value(w))
        gradient = as_real("the regularizer's gradient", self.gradient(w))
        if gradient.shape != w.shape:
            raise ValueError(f"the regularizer's gradient has shape {gradient.shape}; it must be {w.shape}")
        if not np.isfinite(gradient).all():
            i = int(np.argmin(np.isfinite(gradient)))
            raise ValueError(f"the regularizer's gradient is {gradient[i]} at index {i}; it must be finite")
        return value, np.ascontiguousarray(gradient, dtype=np.float64)


class L1:
    """The l1 norm ``sum_i weight_i |w_i|``, for the drift to make small.

    It has kinks, the surfaces ``w_i = 0``. Flow and drift cross them, or stay there while the data do not
    pull a weight off: in a flow with ``weight_decay=lam`` while ``|grad_i F| <= lam weight_i``. The solution
    is that of a differential inclusion, each surface is located where it is met, and `Solution.mode_changes`
    tells them: "cross", "stick" and "release", with the index of the weight as "neuron" and 0 as "sample".

    Parameters
    ----------
    weights : float or mapping of str to float, default 1.0
        One for all, or by block, by name or pattern: ``{"u": 1.0, "*": 0.0}``.

    Raises
    ------
    ValueError
        A weight is negative or not finite.
    TypeError
        A weight is no number.

    Examples
    --------
    >>> import numpy as np, grokflow as gf
    >>> problem = gf.models.LinearRegression([[1.0, 2.0]], [2.0])
    >>> landing = gf.limit_map(problem, np.array([0.5, 0.0]))
    >>> gf.norm_flow(problem, landing.w, (0, 10), regularizer=gf.L1()).final.round(12)
    array([0., 1.])
    """

    def __init__(self, weights: WeightDecay = 1.0) -> None:
        if isinstance(weights, Mapping):
            for name, weight in weights.items():
                as_rate(f"weights[{name!r}]", weight)
        else:
            as_rate("weights", weights)
        self.weights = weights

    def __repr__(self) -> str:
        return f"L1({self.weights!r})"


Regularization = str | Mapping[str, float] | Regularizer | L1


def as_regularizer(regularizer: object, problem: Problem) -> core.Regularizer:
    """Return the compiled form of `regularizer`."""
    if isinstance(regularizer, Regularizer):
        return core.callback_regularizer(regularizer.evaluate)
    if isinstance(regularizer, Mapping):
        return core.weighted_norm(as_decay(regularizer, problem, "regularizer"))
    if isinstance(regularizer, L1):
        return core.l1_norm(as_decay(regularizer.weights, problem, "weights"))
    name = as_choice("regularizer", regularizer, NAMES)
    if name == "hessian_trace":
        return core.hessian_trace(problem._core)
    everywhere = [(0, problem.num_params, 1.0)]
    return core.weighted_norm(everywhere) if name == "norm" else core.l1_norm(everywhere)


def is_decay(regularizer: object) -> bool:
    """Whether its flow is that of weight decay."""
    return isinstance(regularizer, Mapping) or (isinstance(regularizer, str) and regularizer == "norm")


def is_l1(regularizer: object) -> bool:
    """Whether it is the norm that has kinks."""
    return isinstance(regularizer, L1) or (isinstance(regularizer, str) and regularizer == "l1")


def require_kinks_named(regularizer: object, problem: Problem, w: FloatArray) -> None:
    """Raise ValueError if the slope of a function of the user's jumps where a weight changes its sign."""
    if not isinstance(regularizer, Regularizer):
        return
    away = np.where(w == 0.0, 1.0, w)
    every_other = np.arange(w.size) % 2 == 0  # a norm of a group has no kink while some of it is not 0
    for turned in (every_other, ~every_other):
        try:
            sides = [
                regularizer.evaluate(np.where(turned, side * away, away))[1] for side in (SIDE, -SIDE, 1.0)
            ]
        except Exception:  # it need not be defined there: a barrier
            return
        jumps = turned & (np.abs(sides[0] - sides[1]) > JUMP * np.abs(sides).max(axis=0))
        if jumps.any():
            i = int(np.argmax(jumps))
            name = next(name for name, block in problem.blocks.items() if block.start <= i < block.stop)
            raise ValueError(
                f"the slope of the regularizer jumps from {sides[1][i]:.3g} to {sides[0][i]:.3g} where "
                f"w[{i}], in {name!r}, changes its sign: weights would rattle there; {NAMED}"
            )


def rattling(regularizer: object, w: FloatArray) -> str:
    """Return in a sentence that the slope of a function of the user's jumps beside `w`, if it does."""
    if not isinstance(regularizer, Regularizer):
        return ""
    directions = np.random.default_rng(0).standard_normal((DIRECTIONS, w.size))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    try:
        for reach, e in itertools.product(BESIDE * np.linalg.norm(w), directions):
            there = [regularizer.evaluate(w + side * reach * e)[1] for side in (1.0, -1.0, 0.5, -0.5)]
            jump, nearer = np.abs(there[0] - there[1]), np.abs(there[2] - there[3])
            i = int(np.argmax(jump))
            if jump[i] > JUMP * np.abs(there).max() and nearer[i] > STAYS * jump[i]:
                return (
                    f"The slope of the regularizer jumps beside the last weights, by {jump[i]:.3g} in its "
                    f"entry {i}: weights rattle there; {NAMED}."
                )
    except Exception:  # it was evaluated all along; here it need not be defined
        pass
    return ""


class Penalised(Problem):
    """F + lam R, for a flow: it lets observe what F does, and R as "regularizer"."""

    def __init__(self, problem: Problem, regularizer: core.Regularizer, lam: float) -> None:
        super().__init__(core.penalised(problem._core, regularizer, lam))
        self._of, self._by = problem, regularizer
        self._finest, self._notes = problem._finest, problem._notes

    @property
    def _observables(self) -> dict[str, Any]:
        return self._of._observables | {"regularizer": lambda t, w: self._by.evaluate(w)[0]}


def with_penalty(
    problem: Problem, weight_decay: WeightDecay, regularizer: Regularization, w0: FloatArray
) -> tuple[Problem, list[tuple[int, int, float]]]:
    """Return a problem and rates of decay whose gradient flow is that of ``F + weight_decay R``."""
    if isinstance(regularizer, str) and regularizer == "norm":
        return problem, as_decay(weight_decay, problem)
    if isinstance(weight_decay, Mapping):
        raise TypeError(
            f"weight_decay is {weight_decay!r}, and regularizer is {regularizer!r}: the factor of a "
            "regularizer is one number; weights by block belong into the regularizer"
        )
    lam = as_rate("weight_decay", weight_decay)
    if isinstance(regularizer, Mapping):
        weights = as_decay(regularizer, problem, "regularizer")
        return problem, [(begin, end, lam * weight) for begin, end, weight in weights]
    compiled = as_regularizer(regularizer, problem)
    require_kinks_named(regularizer, problem, w0)
    return Penalised(problem, compiled, lam), [(0, problem.num_params, 0.0)]


def describe(regularizer: Regularization) -> object:
    """Return `regularizer` as JSON types."""
    if isinstance(regularizer, Mapping):
        return {name: float(weight) for name, weight in regularizer.items()}
    return regularizer if isinstance(regularizer, str) else repr(regularizer)
