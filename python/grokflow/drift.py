"""The slow phase: the Riemannian gradient flow of the norm on the manifold of minimisers."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._options import Callback, FlowOptions, Observe, WeightDecay, as_decay, as_options
from grokflow._validate import FloatArray, as_choice, as_number, as_positive, as_real
from grokflow.integrator import Driver
from grokflow.methods import EXPLICIT, Curvature, Tsit5, as_curvature
from grokflow.problems import Problem
from grokflow.progress import progress_callback
from grokflow.solution import Solution
from grokflow.tangent import NoTangentSpace, as_point, as_rtol_rank, length, project, require_kernel_space

TOLD = 3  # changes of rank that a message lists; near a singular point they come in flocks


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


class DriftDriver(Driver):
    """A run of the core on the manifold, with its monitor."""

    def __init__(self, run: core.DriftRun, options: FlowOptions, problem: Problem) -> None:
        super().__init__(run.run, options, problem)
        self._drift = run

    def solution(self, interrupted_by: BaseException | None = None) -> Solution:
        """Return what has been recorded so far; its message names the changes of rank."""
        sol = dataclasses.replace(super().solution(interrupted_by), monitor=self._drift.monitor())
        if not sol.rank_changes or sol.status == "rank_change":
            return sol
        changes = ", ".join(
            f"from {before} to {after} at s = {s:.4g}" for s, before, after in sol.rank_changes[:TOLD]
        )
        more = len(sol.rank_changes) - TOLD
        rest = f", and {more} more times (see rank_changes)" if more > 0 else ""
        return dataclasses.replace(
            sol, message=f"{sol.message} On the way the rank of the Hessian changed {changes}{rest}."
        )


def norm_flow(
    problem: Problem,
    w: ArrayLike,
    s_span: tuple[float, float],
    *,
    regularizer: Regularization = "norm",
    on_rank_change: str = "record",
    kkt_tol: float | None = None,
    rtol_rank: float | None = None,
    method: str | Tsit5 = "Tsit5",
    curvature: str | Curvature = "auto",
    rtol: float = 1e-6,
    atol: ArrayLike = 1e-9,
    t_eval: ArrayLike | str | None = "log",
    observe: Observe = None,
    save_states: bool | str | os.PathLike[str] = "auto",
    events: Any = None,
    first_step: float | None = None,
    max_step: float = math.inf,
    max_steps: int | None = None,
    max_time: float | None = None,
    callback: Callback | None = None,
    progress: bool = False,
) -> Solution:
    """Integrate the drift ``dw/ds = -P(w) grad R(w)`` on the manifold of minimisers.

    P(w) is the orthogonal projector on ker Hess F(w). With ``R = ||w||^2 / 2`` this is the limit of
    gradient flow with weight decay lam -> 0 in slow time ``s = lam t``.

    Parameters
    ----------
    problem : Problem
        The training loss F.
    w : array_like, shape (d,)
        Start, a minimiser of F: ``limit_map(problem, w0).w``. A distance to the manifold of up to 1e-6
        ``||w||`` is removed first.
    s_span : (float, float)
        Start and end in slow time.
    regularizer : {"norm", "hessian_trace"}, mapping or Regularizer, default "norm"
        R: half the squared norm; half the squared norm weighted by block (``{"*": 1.0, "b": 0.0}``); ``c
        sum_i ||grad f_i||^2``, the trace of the Hessian, which label noise makes small; or functions of
        your own.
    on_rank_change : {"record", "stop"}, default "record"
        What to do where the rank of the Hessian changes, a singular point of the manifold. It is told by
        `message` and `rank_changes` either way; with "stop" the status is "rank_change".
    kkt_tol : float, optional
        Stop with status "stationary" at a KKT point of min R on the manifold, where
        ``||P grad R|| <= kkt_tol ||grad R||``. Default: run to the end of `s_span`.
    rtol_rank : float, optional
        As in :func:`tangent_projection`.
    method : {"Tsit5"} or Tsit5, default "Tsit5"
        The integrator. Each new state is taken back to the manifold within the step.
    curvature : {"auto", "gram", "dense", "krylov"}, Auto, Gram, Dense or Krylov, default "auto"
        As in :func:`tangent_projection`.
    rtol, atol, t_eval, observe, save_states, events, first_step, max_step, max_steps, max_time, callback,
    progress
        As in :func:`gradient_flow`, with `s` for `t`. The value of R can be observed as "regularizer".

    Returns
    -------
    Solution
        Its `t` is the slow time s, and its `monitor` holds the smallest non-zero eigenvalue eta(s) of the
        Hessian, rank and gap at each step; see also :func:`horizon`.

    Raises
    ------
    ValueError
        `w` is not on the manifold (its distance is told), or the rank at `w` cannot be decided.
    TypeError, ValueError
        Other misuse, before any work.
    KeyboardInterrupt
        Ctrl-C; its attribute `solution` holds the trajectory so far.

    Notes
    -----
    Memory beyond the data, in vectors of d numbers: 20 of the method, up to 16 of the way back to the
    manifold, and about 11 for the tangent space, run and record; with "gram" two matrices of n x n.

    References
    ----------
    Boursier, Pesme, Dragomir, arXiv:2505.20172, Props. 2 to 4. Label noise: Li, Wang, Arora,
    arXiv:2110.06914.

    Examples
    --------
    >>> import numpy as np, grokflow as gf
    >>> problem = gf.models.LinearRegression([[1.0, 1.0]], [2.0])
    >>> slow = gf.norm_flow(problem, [1.5, 0.5], (0, 20))
    >>> slow.final.round(6)
    array([1., 1.])
    """
    point = as_point(problem, w)
    name, budget, _ = as_curvature(curvature)
    require_kernel_space(problem, name)
    threshold = as_rtol_rank(rtol_rank)
    stop = as_choice("on_rank_change", on_rank_change, ("record", "stop")) == "stop"
    rest = 0.0 if kkt_tol is None else as_positive("kkt_tol", kkt_tol)
    compiled = as_regularizer(regularizer, problem)
    with progress_callback(progress, s_span, callback, "drift", "s") as watched:
        options = as_options(
            problem.num_params,
            s_span,
            (*problem.quantities, "regularizer"),
            method=method,
            methods=EXPLICIT,
            span_name="s_span",
            rtol=rtol,
            atol=atol,
            t_eval=t_eval,
            observe=observe,
            save_states=save_states,
            events=events,
            first_step=first_step,
            max_step=max_step,
            max_steps=max_steps,
            max_time=max_time,
            callback=watched,
        )
        _, slope = compiled.evaluate(point)
        start, chosen = onto_manifold(problem, point, slope, name, budget, threshold)
        options.settings.update(
            curvature=chosen,
            regularizer=describe(regularizer),
            on_rank_change=on_rank_change,
            kkt_tol=kkt_tol,
            rtol_rank=rtol_rank,
            problem=repr(problem),
        )
        run = core.DriftRun(
            problem._core, compiled, start, chosen, budget, threshold, stop, rest, options.compiled
        )
        driver = DriftDriver(run, options, problem)
        driver.advance(to_end=True)
    return driver.solution()


def first_order_residual(problem: Problem, w: ArrayLike, weight_decay: WeightDecay) -> FloatArray:
    """Return the residual at which the flow runs beside the manifold, to first order in lam.

    ``r = -(c K)^-1 J D w`` with D the rates, on the manifold and up to the horizon (see :func:`horizon`).

    Parameters
    ----------
    problem : Problem
        A sum of squares.
    w : array_like, shape (d,)
        A point of the drift.
    weight_decay : float, or mapping of str to float
        As in :func:`gradient_flow`.

    Returns
    -------
    ndarray, shape (n,)

    Raises
    ------
    TypeError
        The problem has no residuals.
    ValueError
        A rate is negative.

    Notes
    -----
    Where K is singular, as with equal samples or with one that nothing moves, r is the solution of least
    norm: there is one, for ``J D w`` lies in the range of J.

    In a network whose activation has a kink J is that along the data points on which neurons slide: where a
    pre-activation is 0 at `w`, up to round-off, as in the states of :func:`norm_flow`, and the drift from
    `w` holds it there.
    """
    point = as_point(problem, w)
    problem._require_residuals("residual")
    rates = as_decay(weight_decay, problem)
    pull = np.empty_like(point)
    for begin, end, rate in rates:
        pull[begin:end] = rate * point[begin:end]
    there = core.drifting_piece(problem._core, point, rates).linearize(point)
    residual = np.linalg.lstsq(problem.scale * there.gram(), -there.jvp(pull), rcond=None)[0]
    return np.asarray(residual, dtype=np.float64)


def onto_manifold(
    problem: Problem, w: FloatArray, v: FloatArray, curvature: str, budget: float, rtol_rank: float
) -> tuple[FloatArray, str]:
    """Return the point of the manifold that `w` is close to, and the curvature to use there."""
    found = project(problem, w, v, curvature, budget, rtol_rank)
    if problem.is_piecewise and found.curvature != "gram":
        raise NoTangentSpace(
            f"the residual does not vanish at w: ||r|| = {length(problem._core.residual(w)):.3g}; the "
            "activation of this network has a kink, and how its drift slides along data points is known only "
            "where they are fitted: make the network wider, or smooth (activation='smooth_relu')"
        )
    if found.distance > 1e-13 * np.linalg.norm(w):
        w, _ = core.pull_back(problem._core, w, found.curvature, budget, rtol_rank)
    return w, found.curvature


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


def horizon(sol: Solution, weight_decay: float, kappa: float = 10.0) -> float:
    """Return the slow time up to which a drift describes the flow with weight decay `weight_decay`.

    That is the first s with ``eta(s) < kappa lam``: beyond it the Hessian is no longer stiff against the
    weight decay, and the distance of the flow to the drift, about lam / eta(s), exceeds 1 / kappa.

    Parameters
    ----------
    sol : Solution
        A drift, returned by :func:`norm_flow`.
    weight_decay : float
        The rate lam > 0.
    kappa : float, default 10.0
        How far above lam eta has to stay.

    Returns
    -------
    float
        By interpolation of log eta(s) between the steps; inf if eta stays above on the whole span.

    Raises
    ------
    ValueError
        `sol` is no drift, or a number is not positive.
    """
    if not sol.monitor:
        raise ValueError("sol has no monitor: it must be a drift, returned by norm_flow")
    level = as_positive("kappa", kappa) * as_positive("weight_decay", weight_decay)
    s, eta = sol.monitor["s"], np.maximum(sol.monitor["eta"], np.finfo(np.float64).tiny)
    below = np.flatnonzero(eta < level)
    if below.size == 0:
        return math.inf
    i = below[0]
    if i == 0:
        return float(s[0])
    part = np.log(eta[i - 1] / level) / np.log(eta[i - 1] / eta[i])
    return float(s[i - 1] + part * (s[i] - s[i - 1]))
