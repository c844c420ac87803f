"""OdeSolver classes over the compiled integrators."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import OdeSolver
from scipy.integrate._ivp.common import validate_first_step, validate_max_step, validate_tol, warn_extraneous

from grokflow._backend import core
from grokflow._validate import FloatArray
from grokflow.scipy.jacobian import Jacobian, as_linearize
from grokflow.scipy.path import Path, nodes

FAILURES = {
    "step_too_small": f"{OdeSolver.TOO_SMALL_STEP} The solution blows up, or fun is not smooth there.",
    "non_finite": "fun is not finite at t = {t:.6g}, or just after it, however small the step.",
    "solver_failed": "Newton's method failed just after t = {t:.6g}, however small the step: is jac right?",
    "error_test_failed": "The error did not fall with the step just after t = {t:.6g}: is fun noisy?",
}


def _spacing(t: float, direction: float) -> float:
    """Return the smallest step that moves t reliably, as SciPy has it."""
    return 10.0 * abs(math.nextafter(t, math.copysign(math.inf, direction)) - t)


class _Compiled(OdeSolver):  # type: ignore[misc]
    """What the methods share: a run of the core, whose time starts at 0 and grows."""

    t: float
    y: FloatArray
    degree: int | None = None  # of the path of a step; None: the order in use

    def __init__(
        self,
        fun: Any,
        t0: float,
        y0: ArrayLike,
        t_bound: float,
        max_step: float,
        rtol: float,
        atol: ArrayLike,
        vectorized: bool,
        first_step: float | None,
    ) -> None:
        super().__init__(fun, t0, y0, t_bound, vectorized, support_complex=False)
        self.max_step = validate_max_step(max_step)
        self.rtol, self.atol = validate_tol(rtol, atol, self.n)
        if np.ndim(self.rtol):
            raise ValueError(
                f"`rtol` is {rtol}; it must be one number (atol may have one for each component)"
            )
        first = 0.0 if first_step is None else validate_first_step(first_step, t0, t_bound)
        self._t0, self._sign, self._y_old = float(t0), float(self.direction), self.y
        if not math.isfinite(t0):
            raise ValueError(f"the time span begins at {t0}; its start must be finite")
        if self.n == 0 or t_bound == t0:
            return  # there is nothing to integrate
        linearize, self._solves = self._linear_systems()
        options = core.RunOptions(
            t0=0.0,
            t1=min(abs(t_bound - t0), sys.float_info.max),
            rtol=float(self.rtol),
            atol=np.atleast_1d(np.asarray(self.atol, dtype=float)),
            method=type(self).__name__,
            max_order=5,
            first_step=first,
            max_step=max(self.max_step, _spacing(t0, self.direction)),
            max_steps=sys.maxsize,
            max_time=math.inf,
            whole_steps=False,
            sample_times=np.empty(0),
            keep_states=False,
            observables=[],
            events=[],
            callback=None,
        )
        right_hand_side = self.fun_single if vectorized else fun
        self._run = core.ode(
            right_hand_side, linearize, self._solves, float(t0), float(t_bound), self.y, options
        )
        self.nfev = self._run.stats()["nfev"]

    def _linear_systems(self) -> tuple[Jacobian | None, str]:
        return None, "dense"  # never asked for

    def _step_impl(self) -> tuple[bool, str | None]:
        t, self._y_old = self.t, self.y
        # As in SciPy, a first step moves t whatever the longest one is.
        limited = self.t_old is not None and math.isfinite(self.max_step)
        if limited and self.max_step < _spacing(t, self.direction):
            return False, self.TOO_SMALL_STEP
        status, elapsed, y, self.nfev, nfactor = core.ode_step(self._run)
        if self._solves != "iterative":
            self.nlu = nfactor
        if status in FAILURES:
            return False, FAILURES[status].format(t=t)
        end = self._t0 + self._sign * elapsed
        self.t = self.t_bound if status == "finished" or self._sign * (end - self.t_bound) > 0 else end
        self.y = y
        return (True, None) if self.t != t else (False, self.TOO_SMALL_STEP)

    def _dense_output_impl(self) -> Path:
        at = nodes(self.degree or self._run.order)
        return Path(self.t_old, self.t, core.ode_path(self._run, self._y_old, at))


class _Explicit(_Compiled):
    def __init__(
        self,
        fun: Any,
        t0: float,
        y0: ArrayLike,
        t_bound: float,
        max_step: float = np.inf,
        rtol: float = 1e-3,
        atol: ArrayLike = 1e-6,
        vectorized: bool = False,
        first_step: float | None = None,
        **extraneous: Any,
    ) -> None:
        warn_extraneous(extraneous)
        super().__init__(fun, t0, y0, t_bound, max_step, rtol, atol, vectorized, first_step)


class _Implicit(_Compiled):
    def __init__(
        self,
        fun: Any,
        t0: float,
        y0: ArrayLike,
        t_bound: float,
        max_step: float = np.inf,
        rtol: float = 1e-3,
        atol: ArrayLike = 1e-6,
        jac: Any = None,
        jac_sparsity: Any = None,
        vectorized: bool = False,
        first_step: float | None = None,
        **extraneous: Any,
    ) -> None:
        warn_extraneous(extraneous)
        self._jac = jac, jac_sparsity
        super().__init__(fun, t0, y0, t_bound, max_step, rtol, atol, vectorized, first_step)

    def _linear_systems(self) -> tuple[Jacobian, str]:
        return as_linearize(self, *self._jac)


class BDF(_Implicit):
    """Backward differentiation formulas of order 1 to 5, with fully variable coefficients.

    Parameters
    ----------
    fun : callable
        The right-hand side ``fun(t, y)``, shape (n,); if `vectorized`, also of y (n, k), shape (n, k).
    t0, t_bound : float
        Start and end of the integration, in either direction; `t_bound` may be infinite.
    y0 : array_like, shape (n,)
        Initial state; real.
    max_step : float, default inf
        The longest step.
    rtol : float, default 1e-3
    atol : float or array_like, shape (n,), default 1e-6
        The error allowed in y_i is ``atol_i + rtol |y_i|``, in the root mean square over i. It is kept over
        the path; steps keep a smaller one.
    jac : array_like, sparse matrix, LinearOperator, Problem, or callable, optional
        df/dy, shape (n, n), or ``jac(t, y)`` that returns it. A sparse matrix is factored by
        :func:`scipy.sparse.linalg.splu`; with a LinearOperator systems are solved by GMRES, and no matrix is
        made; so they are with a `grokflow.Problem` whose negative gradient `fun` is. Default: differences of
        `fun`.
    jac_sparsity : array_like or sparse matrix, shape (n, n), optional
        Where df/dy may differ from 0, for differences of `fun`.
    vectorized : bool, default False
        Whether `fun` takes several states at once.
    first_step : float, optional
        The first step to try; by default it is estimated from `fun`.

    Attributes
    ----------
    nfev, njev, nlu : int
        Evaluations of `fun`, those for differences left out, and of `jac`; factorisations.

    Raises
    ------
    ValueError
        An argument, or what `fun` or `jac` returned, has the wrong shape or is complex; or `jac` has the
        wrong sign.

    See Also
    --------
    scipy.integrate.OdeSolver : what can be done with an object of this class.
    """


class Radau(_Implicit):
    """The three-stage Radau IIA method of order 5. Parameters are those of `BDF`."""

    degree = 3


class Tsit5(_Explicit):
    """The Runge-Kutta method of Tsitouras, of order 5, for systems that are not stiff.

    Parameters are those of `BDF`, without `jac` and `jac_sparsity`.
    """

    degree = 4


class ROCK2(_Explicit):
    """The stabilised Runge-Kutta method ROCK2, of order 2: stiff systems with a real negative spectrum.

    Parameters are those of `BDF`, without `jac` and `jac_sparsity`.
    """

    degree = 2
