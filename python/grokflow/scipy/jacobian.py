"""What `jac` may be, and how the linear systems of an implicit step are solved with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.integrate import OdeSolver
from scipy.integrate._ivp.common import num_jac
from scipy.optimize._numdiff import group_columns
from scipy.sparse import csc_matrix, eye, issparse
from scipy.sparse.linalg import LinearOperator, aslinearoperator, gmres, splu

from grokflow._validate import FloatArray
from grokflow.problems import Problem

RESIDUAL = 1e-3  # of an iterative solve: Newton's method needs a digit or two
KRYLOV_SPACE = 50  # vectors that such a solve keeps
DIFFERENCE = 1e-7  # step of the difference that tells the sign, relative to y

Solve = Callable[[Any], Any]  # v -> (I - z J)^-1 v, or None
Jacobian = Callable[[float, FloatArray], Any]  # (t, y) -> J


def as_linearize(solver: OdeSolver, jac: Any, sparsity: Any) -> tuple[Jacobian, str]:
    """Return the function of (t, y) that the core linearises by, and how it solves.

    "dense": the function returns J, which the core factors. "exact", "iterative": it returns a function of z,
    and that one ``solve(v)``, which is (I - z J)^-1 v up to round-off or a digit or two, or None.
    """
    if jac is None:
        return (_dense if sparsity is None else _sparse)(_differences(solver, sparsity))
    if isinstance(jac, Problem):
        jac = _of_descent(jac)
    constant = not callable(jac) or isinstance(jac, LinearOperator)
    first = _matrix(jac if constant else jac(solver.t, solver.y))
    _require_shape(first, solver.n)
    if first.dtype is not None and first.dtype.kind == "c":
        raise ValueError("`jac` is complex, and the system is real; write real and imaginary parts")
    _require_sign(solver, _product(first))
    return _kind(first)((lambda t, y: first) if constant else _counted(solver, jac, first))


def _matrix(J: Any) -> Any:
    return J if issparse(J) or isinstance(J, LinearOperator) else np.asarray(J)


def _of_descent(problem: Problem) -> Jacobian:
    """Return the derivative of -grad F, frozen at a point."""

    def jac(t: float, w: FloatArray) -> LinearOperator:
        lin, d = problem._core.linearize(w), problem.num_params
        return LinearOperator((d, d), matvec=lambda v: -lin.hvp(np.ravel(v)), dtype=float)

    return jac


def _counted(solver: OdeSolver, jac: Jacobian, first: Any) -> Jacobian:
    """Return jac, counted; the first matrix asked for is that of the start."""

    def counted(t: float, y: FloatArray) -> Any:
        solver.njev += 1
        return first if solver.njev == 1 else jac(t, y)

    return counted


def _differences(solver: OdeSolver, sparsity: Any) -> Jacobian:
    """J by differences of fun, which as in SciPy are not counted."""
    factor = None
    if sparsity is not None:
        structure = csc_matrix(sparsity)
        _require_shape(structure, solver.n, "jac_sparsity")
        sparsity = structure, group_columns(structure)

    def differences(t: float, y: FloatArray) -> Any:
        nonlocal factor
        solver.njev += 1
        f = solver.fun_single(t, y)
        J, factor = num_jac(solver.fun_vectorized, t, y, f, solver.atol, factor, sparsity)
        return J

    return differences


def _kind(J: Any) -> Callable[[Jacobian], tuple[Jacobian, str]]:
    if issparse(J):
        return _sparse
    return _operator if isinstance(J, LinearOperator) else _dense


def _dense(jac: Jacobian) -> tuple[Jacobian, str]:
    return jac, "dense"


def _sparse(jac: Jacobian) -> tuple[Jacobian, str]:
    def linearize(t: float, y: FloatArray) -> Callable[[complex], Solve | None]:
        J = csc_matrix(jac(t, y))
        _require_shape(J, y.size)
        one = eye(y.size, format="csc")

        def factor(z: complex) -> Solve | None:
            try:
                solve: Solve = splu(one - z * J).solve
            except RuntimeError:  # exactly singular
                return None
            return solve

        return factor

    return linearize, "exact"


def _operator(jac: Jacobian) -> tuple[Jacobian, str]:
    def linearize(t: float, y: FloatArray) -> Callable[[complex], Solve]:
        J = jac(t, y)
        _require_shape(J, y.size)
        product = _product(J)

        def factor(z: complex) -> Solve:
            matrix = LinearOperator((y.size, y.size), lambda v: v - z * product(v), dtype=type(z))

            def solve(v: Any) -> Any:
                x, failed = gmres(matrix, v, rtol=RESIDUAL, restart=KRYLOV_SPACE, maxiter=4)
                return None if failed else x

            return solve

        return factor

    return linearize, "iterative"


def _product(J: Any) -> Solve:
    """Return v -> J v, also for complex v."""
    real = aslinearoperator(J).matvec
    return lambda v: real(v.real) + 1j * real(v.imag) if np.iscomplexobj(v) else real(v)


def _require_shape(J: Any, n: int, name: str = "jac") -> None:
    if J.shape != (n, n):
        raise ValueError(
            f"`{name}` has shape {J.shape}; it must be {(n, n)}, one row for each entry of fun(t, y)"
        )


def _require_sign(solver: OdeSolver, product: Solve) -> None:
    """Refuse the negative of the derivative of fun along fun, told by one difference."""
    f = solver.fun_single(solver.t, solver.y)
    size = np.linalg.norm(f)
    if size == 0.0 or not np.isfinite(size):
        return
    step = DIFFERENCE * (np.linalg.norm(solver.y) or 1.0)
    change = (solver.fun_single(solver.t, solver.y + step / size * f) - f) / step
    given = product(f / size)
    if np.linalg.norm(given + change) < 0.1 * np.linalg.norm(change):
        raise ValueError("`jac` has the wrong sign: it is -df/dy along fun(t0, y0); return df/dy")
