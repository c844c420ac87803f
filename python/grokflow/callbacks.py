"""Problems from functions of one's own, written in Python on NumPy arrays.

The arguments of these functions are read-only arrays, which may be kept: an array that nobody refers to any
more is filled again for the next call, any other is left alone. The point `w` of a linearisation, which jvp,
vjp, jacobian, gram, hvp and hessian get there, is one array object for all calls at that point; so is `w`
where residual and vjp (or jacobian) are called for one gradient.

A result may be anything that NumPy converts to float64 of the right shape. It is copied at once, so a
function may return the same buffer each time. An exception that a function raises reaches the caller of the
solver unchanged.

Compiled functions (ctypes function pointers, numba `@cfunc`, `scipy.LowLevelCallable`) with the signatures of
``grokflow/callbacks.h`` are called without the interpreter: residual, jvp, vjp, hvp; loss, gradient, hvp.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._validate import FloatArray, as_count, as_scale
from grokflow.memory import require_memory
from grokflow.pointers import pointers_of
from grokflow.problems import Problem

__all__ = ["CallbackError", "LeastSquares", "Objective", "PrecisionWarning"]

Function = Callable[..., Any]
Shapes = Mapping[str, int | Sequence[int]]


class CallbackError(ValueError):
    """A function of the user's returned what cannot be used.

    Attributes
    ----------
    callback : str
        The name of the function, such as ``"gradient"``.
    t : float or None
        The time at which the solver called it; None outside a flow.
    """

    def __init__(self, callback: str, fault: str) -> None:
        super().__init__(callback, fault)
        self.callback = callback
        self.t: float | None = None

    def __str__(self) -> str:
        where = "" if self.t is None else f" (at t = {self.t:.6g})"
        return f"{self.callback} {self.args[1]}{where}"


class PrecisionWarning(UserWarning):
    """A function of the user's computes in single precision, less than the solver can make use of."""


class CallbackProblem(Problem):
    """What problems of one's own share: the functions, by name, and the named parts of `w`."""

    _timed = True  # whether its costs are measured

    functions: tuple[str, ...]
    """The names of the functions that were given."""

    def __init__(
        self,
        num_params: int,
        residuals: tuple[int, ...],
        scale: float,
        functions: dict[str, Function | None],
        parameters: Shapes | None,
    ) -> None:
        """`residuals` is the shape of the residual, or of outputs; empty where there is neither."""
        require_memory(f"num_params is {num_params}: w, its gradient and a direction", 3 * num_params)
        if residuals:
            size = math.prod(residuals)
            require_memory(f"there are {size} residuals or outputs: a vector of them", size)
        given = {name: function for name, function in functions.items() if function is not None}
        pointers = pointers_of(given)
        for name, function in given.items():
            if pointers is None and not callable(function):
                raise TypeError(f"{name} is {function!r}; it must be a function")
        self.functions = tuple(given)
        if "solve" in given and "hvp" not in given:
            raise TypeError("solve needs hvp beside it, for what else is asked of the Hessian")
        if pointers is not None:
            self._timed = False
        if takes_range(given.get("gram")):
            given["gram_of"] = given.pop("gram")
        self._arguments = (num_params, residuals, scale, functions, parameters)
        shapes = _as_shapes(parameters, num_params)
        if pointers is None:
            self._callbacks = core.CallbackProblem(num_params, residuals, scale, given, shapes)
        super().__init__(
            self._compile() if pointers is None else _compiled(pointers, self._arguments, shapes)
        )
        if self._costs:
            self._set_costs(self._costs)

    def _set_costs(self, costs: Mapping[str, float]) -> None:
        self._costs = dict(costs)
        self._callbacks.measured(costs["gradient_seconds"], costs.get("gram_seconds", math.nan))

    def _compile(self) -> core.Problem:
        """Return the problem that the functions make."""
        return self._callbacks

    def __getstate__(self) -> dict[str, Any]:
        """All but the compiled side: functions that have a name in a module can be pickled."""
        return {name: value for name, value in vars(self).items() if name not in ("_core", "_callbacks")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        CallbackProblem.__init__(self, *self._arguments)


class LeastSquares(CallbackProblem):
    """The loss ``F(w) = (c/2) ||r(w)||^2`` for a residual r of one's own; J = dr/dw has shape (n, d).

    Parameters
    ----------
    residual : callable
        ``residual(w) -> (n,)``, predictions minus targets.
    jvp, vjp : callable, optional
        ``jvp(w, v) -> (n,)`` is J v and ``vjp(w, u) -> (d,)`` is J^T u. Each may be omitted if `jacobian`
        is given, which is then evaluated once per point.
    num_params, num_residuals : int
        d and n.
    jacobian : callable, optional
        ``jacobian(w) -> (n, d)``.
    gram : callable, optional
        ``gram(w) -> (n, n)``, the tangent kernel J J^T. Default: from `jacobian`, or by n products with J^T
        and n with J. If it takes ``gram(w, begin, end)``, it also serves a decay that differs by block, with
        the kernel of the parameters begin <= i < end.
    hvp : callable, optional
        ``hvp(w, v) -> (d,)``, the full Hessian of F, with the factor c, times v. Default: c J^T J v alone;
        where Newton's method converges badly with that, as beside a minimiser at which the residual stays,
        also c sum_i r_i Hess r_i v, by a difference of J^T r (in `stats`: "nlinearize" and "nvjp").
    scale : {"mean", "sum", "samples"} or float, default "mean"
        The factor c: 1/n, 1, or a positive number.
    parameters : mapping of str to shape, optional
        The named parts of `w`, in order, e.g. ``{"u": 5, "V": (5, 3)}``; they add up to d.

    Raises
    ------
    TypeError
        If a function is missing or is no function.
    ValueError
        If a size is not positive, or `parameters` does not add up to `num_params`.
    CallbackError
        By whoever calls a function, if it returns a wrong shape or dtype, or an asymmetric gram.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.eye(2, 3)
    >>> problem = LeastSquares(
    ...     residual=lambda w: X @ w - 1.0, jacobian=lambda w: X, num_params=3, num_residuals=2
    ... )
    >>> problem.loss(np.zeros(3))
    0.5
    """

    def __init__(
        self,
        *,
        residual: Function,
        jvp: Function | None = None,
        vjp: Function | None = None,
        num_params: int,
        num_residuals: int,
        jacobian: Function | None = None,
        gram: Function | None = None,
        hvp: Function | None = None,
        scale: str | float = "mean",
        parameters: Shapes | None = None,
    ) -> None:
        n = as_count("num_residuals", num_residuals)
        require("residual", residual, "residual(w) -> (n,)")
        if jacobian is None:
            require("jvp", jvp, "jvp(w, v) -> (n,), or jacobian(w) -> (n, d) in place of jvp and vjp")
            require("vjp", vjp, "vjp(w, u) -> (d,), or jacobian(w) -> (n, d) in place of jvp and vjp")
        functions = {
            "residual": residual,
            "jvp": jvp,
            "vjp": vjp,
            "jacobian": jacobian,
            "gram": gram,
            "hvp": hvp,
        }
        super().__init__(as_count("num_params", num_params), (n,), as_scale(scale, n), functions, parameters)

    def jacobian(self, w: ArrayLike) -> FloatArray:
        """Return J = dr/dw at `w`, shape (n, d): the function that was given, or n products with J^T."""
        if "jacobian" in self.functions:
            return self._callbacks.given_jacobian(self._weights(w))
        return super().jacobian(w)


class Objective(CallbackProblem):
    """A smooth loss F of one's own that need not be a sum of squares.

    Parameters
    ----------
    loss : callable
        ``loss(w) -> float``, F(w).
    gradient : callable
        ``gradient(w) -> (d,)``, grad F(w).
    num_params : int
        d.
    hvp : callable, optional
        ``hvp(w, v) -> (d,)``, Hess F(w) v.
    solve : callable, optional
        ``solve(w, alpha, beta, v, tol) -> (d,)``, the solution x of ``(alpha + beta Hess F(w)) x = v`` up to
        ``tol ||x||``, or None where negative curvature is met. alpha is a number, or an array (d,) where
        weight decay differs by block. BDF and "krylov" call it in place of products, "auto" takes that; it
        pays where F lives on another device. Needs `hvp`.
    hessian : callable, optional
        ``hessian(w) -> (d, d)``, symmetric. Default: by d products `hvp`.
    parameters : mapping of str to shape, optional
        The named parts of `w`, in order; they add up to d.

    Raises
    ------
    TypeError
        If a function is missing or is no function.
    ValueError
        If `num_params` is not positive, or `parameters` does not add up to it.
    CallbackError
        By whoever calls a function, if it returns a wrong shape or dtype, or an asymmetric Hessian.

    Examples
    --------
    >>> import numpy as np
    >>> problem = Objective(loss=lambda w: np.cos(w).sum(), gradient=lambda w: -np.sin(w), num_params=2)
    >>> problem.loss(np.zeros(2))
    2.0
    """

    def __init__(
        self,
        *,
        loss: Function,
        gradient: Function,
        num_params: int,
        hvp: Function | None = None,
        solve: Function | None = None,
        hessian: Function | None = None,
        parameters: Shapes | None = None,
    ) -> None:
        require("loss", loss, "loss(w) -> float")
        require("gradient", gradient, "gradient(w) -> (d,)")
        functions = {"loss": loss, "gradient": gradient, "hvp": hvp, "solve": solve, "hessian": hessian}
        super().__init__(as_count("num_params", num_params), (), 1.0, functions, parameters)


def _compiled(pointers: Any, arguments: tuple[Any, ...], shapes: list[tuple[str, list[int]]]) -> core.Problem:
    num_params, residuals, scale, _, _ = arguments
    return core.CompiledProblem(num_params, math.prod(residuals) if residuals else 0, scale, pointers, shapes)


def require(name: str, function: object, signature: str) -> None:
    """Raise TypeError if `function` is None."""
    if function is None:
        raise TypeError(f"{name} is missing; give {signature}")


def takes_range(gram: Function | None) -> bool:
    """Whether a function that returns a kernel takes the first and the last of the parameters that count."""
    if gram is None:
        return False
    try:
        return {"begin", "end"} <= set(inspect.signature(gram).parameters)
    except ValueError:  # a builtin that tells nothing of itself
        return False


def _as_shapes(parameters: Shapes | None, num_params: int) -> list[tuple[str, list[int]]]:
    """Return the named shapes, which tile the `num_params` entries of w."""
    if parameters is None:
        return [("w", [num_params])]
    if not isinstance(parameters, Mapping):
        raise TypeError(f"parameters is {parameters!r}; it must map names to shapes, such as {{'V': (5, 3)}}")
    shapes = []
    for name, shape in parameters.items():
        extents = shape if isinstance(shape, Sequence) else [shape]
        shapes.append((name, [as_count(f"an extent of parameters[{name!r}]", extent) for extent in extents]))
    size = sum(math.prod(shape) for _, shape in shapes)
    if size != num_params:
        raise ValueError(f"parameters hold {size} entries; num_params is {num_params}")
    return shapes
