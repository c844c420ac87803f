"""The training loss that every solver takes: values and derivatives at a point, computed in C++."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._validate import FloatArray, as_choice, as_vector
from grokflow._warnings import warn
from grokflow.classes import Classes
from grokflow.memory import require_memory


class Problem:
    """A training loss ``F: R^d -> R``, in most cases ``F(w) = (c/2) ||r(w)||^2`` or a loss on outputs.

    The models of :mod:`grokflow.models` and the problems built from functions of one's own are problems.
    Every method takes the weights `w` of shape (d,), flat; :meth:`unflatten` names their parts.

    Attributes
    ----------
    num_params : int
        Number of parameters d.
    num_residuals : int
        Number of residuals n, or of pseudo-residuals (:mod:`grokflow.losses`); 0 if there are none.
    scale : float
        The factor c.
    attained : bool
        False if the loss is known to have no minimiser at finite w: labels that are certain, with "logistic"
        and "cross_entropy".
    blocks : dict of str to slice
        The named parts of `w`, in order.
    is_piecewise : bool
        Whether F is smooth only piece by piece: a network whose activation has a kink.

    Raises
    ------
    TypeError
        By every method, if an argument does not hold real numbers, or if this problem lacks the function.
    ValueError
        By every method, if an argument has the wrong shape or holds nan or infinity (the index is told).
    """

    _drawn: Mapping[str, Mapping[str, Any]] = MappingProxyType({})  # how weights were drawn, by their digest
    _hash: str | None = None  # what tells the data from others; functions do not tell
    _finest = 0.0  # rtol below which its numbers are too coarse
    _notes: Mapping[str, str] = {}  # of the stats of its runs, beside counts
    _costs: Mapping[str, float] = MappingProxyType({})  # of one's own functions, once measured
    _classes: Classes | None = None
    _kinks = ""  # why the gradient flow is not smooth, where it is not and no solver takes care of that

    def __init__(self, compiled: core.Problem) -> None:
        self._core = compiled
        self._shapes = {name: (begin, shape) for name, begin, shape in compiled.blocks()}
        self.num_params: int = compiled.num_params
        self.num_residuals: int = compiled.num_residuals
        self.scale: float = compiled.scale
        self.attained: bool = compiled.attained
        self.blocks: dict[str, slice] = {
            name: slice(begin, begin + math.prod(shape)) for name, (begin, shape) in self._shapes.items()
        }
        self._compiled_quantities = tuple(name for name, _ in compiled.quantities())
        self.is_piecewise: bool = core.is_piecewise(compiled)

    @property
    def quantities(self) -> tuple[str, ...]:
        """The names that :meth:`quantity` evaluates and that a flow can observe."""
        return self._compiled_quantities + (self._classes.names if self._classes else ())

    @property
    def _observables(self) -> dict[str, str | Callable[[float, FloatArray], Any]]:
        """Of each quantity what a run takes: a name that the core knows, or a function f(t, w)."""
        return {
            name: name if name in self._compiled_quantities else partial(self._at_time, name)
            for name in self.quantities
        }

    def _at_time(self, name: str, t: float, w: FloatArray) -> float | FloatArray:
        return self.quantity(name, w)

    def loss(self, w: ArrayLike) -> float:
        """Return the training loss F(w)."""
        return self._core.loss(self._weights(w))

    def gradient(self, w: ArrayLike) -> FloatArray:
        """Return grad F(w), shape (d,)."""
        return self._core.gradient(self._weights(w))

    def residual(self, w: ArrayLike) -> FloatArray:
        """Return r(w), shape (n,): predictions minus targets, or the pseudo-residual of another loss."""
        self._require_residuals("residual")
        return self._core.residual(self._weights(w))

    def jvp(self, w: ArrayLike, v: ArrayLike) -> FloatArray:
        """Return J v, shape (n,), with J = dr/dw (B^T df/dw of another loss), for `v` of shape (d,)."""
        self._require_residuals("jvp")
        point, direction = self._weights(w), as_vector("v", v, self.num_params)
        return self._core.linearize(point).jvp(direction)

    def vjp(self, w: ArrayLike, u: ArrayLike) -> FloatArray:
        """Return J^T u, shape (d,), with J = dr/dw at `w`, for `u` of shape (n,)."""
        self._require_residuals("vjp")
        point, direction = self._weights(w), as_vector("u", u, self.num_residuals)
        return self._core.linearize(point).vjp(direction)

    def jacobian(self, w: ArrayLike) -> FloatArray:
        """Return J = dr/dw at `w`, shape (n, d)."""
        self._require_residuals("jacobian")
        self._require_matrix("the Jacobian", self.num_residuals, self.num_params)
        return self._core.linearize(self._weights(w)).jacobian()

    def gram(self, w: ArrayLike) -> FloatArray:
        """Return the tangent kernel K = J J^T at `w`, shape (n, n)."""
        self._require_residuals("gram")
        self._require_matrix("the tangent kernel", self.num_residuals, self.num_residuals)
        return self._core.linearize(self._weights(w)).gram()

    def hvp(self, w: ArrayLike, v: ArrayLike) -> FloatArray:
        """Return Hess F(w) v, shape (d,), for `v` of shape (d,)."""
        if not self._core.has_hvp:
            raise TypeError(f"{self!r} offers no Hessian-vector product (hvp)")
        point, direction = self._weights(w), as_vector("v", v, self.num_params)
        return self._core.linearize(point).hvp(direction)

    def hessian(self, w: ArrayLike) -> FloatArray:
        """Return Hess F(w), shape (d, d)."""
        if not self._core.has_hessian:
            raise TypeError(f"{self!r} offers no Hessian; give hvp or hessian")
        self._require_matrix("the Hessian", self.num_params, self.num_params)
        return self._core.linearize(self._weights(w)).hessian()

    def quantity(self, name: str, w: ArrayLike) -> float | FloatArray:
        """Return the quantity `name`, one of `quantities`, at `w`: a float, or an array of shape (k,)."""
        point = self._weights(w)
        if as_choice("name", name, self.quantities) in self._compiled_quantities:
            return self._core.quantity(name, point)
        assert self._classes is not None
        return self._classes.value(name, self._outputs_at(point, name == "test_accuracy"), point)

    def unflatten(self, w: ArrayLike) -> dict[str, FloatArray]:
        """Return the named parts of `w`, each in its own shape: views of `w` if that is a float64 array."""
        flat = self._weights(w)
        return {name: flat[self.blocks[name]].reshape(shape) for name, (_, shape) in self._shapes.items()}

    def __repr__(self) -> str:
        residuals = f", num_residuals={self.num_residuals}" if self.num_residuals else ""
        return f"<{type(self).__name__}: num_params={self.num_params}{residuals}, scale={self.scale:.6g}>"

    def _require_ready(self) -> None:
        """Look at what may have changed since it was made, and warn where no solver fits it."""
        if self._kinks:
            warn(self._kinks)

    def _weights(self, w: ArrayLike) -> FloatArray:
        return as_vector("w", w, self.num_params)

    def _outputs_at(self, w: FloatArray, test: bool) -> FloatArray:
        """Return the outputs at the training or the test samples, of a problem that has classes."""
        raise NotImplementedError

    def _require_matrix(self, what: str, rows: int, columns: int) -> None:
        require_memory(f"{what} has {rows} x {columns} entries", rows * columns)

    def _require_residuals(self, function: str) -> None:
        if self.num_residuals == 0:
            raise TypeError(f"{self!r} has no residuals, hence no {function}; its loss is no sum of squares")


def require_problem(problem: object) -> Problem:
    """Return `problem`, checked to be one."""
    if not isinstance(problem, Problem):
        raise TypeError(
            f"problem is {problem!r}; it must be a grokflow.Problem: a model, LeastSquares or Objective"
        )
    return problem


def as_problem(problem: object) -> Problem:
    """Return `problem` for a solver, checked to be one, with a warning where no solver fits it."""
    checked = require_problem(problem)
    checked._require_ready()
    return checked
