"""What the drift makes small: the norm, the trace of the Hessian, or a function of the user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._options import as_decay
from grokflow._validate import FloatArray, as_choice, as_number, as_real
from grokflow.problems import Problem


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


Regularization = str | Mapping[str, float] | Regularizer


def as_regularizer(regularizer: object, problem: Problem) -> core.Regularizer:
    """Return the compiled form of `regularizer`."""
    if isinstance(regularizer, Regularizer):
        return core.callback_regularizer(regularizer.evaluate)
    if isinstance(regularizer, Mapping):
        return core.weighted_norm(as_decay(regularizer, problem, "regularizer"))
    if as_choice("regularizer", regularizer, ("norm", "hessian_trace")) == "norm":
        return core.weighted_norm([(0, problem.num_params, 1.0)])
    return core.hessian_trace(problem._core)


def describe(regularizer: Regularization) -> object:
    """Return `regularizer` as JSON types."""
    if isinstance(regularizer, Mapping):
        return {name: float(weight) for name, weight in regularizer.items()}
    return regularizer if isinstance(regularizer, str) else repr(regularizer)
