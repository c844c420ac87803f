"""The slow phase: the Riemannian gradient flow of the norm on the manifold of minimisers."""

from __future__ import annotations

import dataclasses
import math
import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._options import Callback, FlowOptions, Observe, Request, as_options
from grokflow._validate import FloatArray, as_choice, as_positive, as_vector
from grokflow.checkpoint.journal import Journal, kept
from grokflow.costs import measure
from grokflow.driver import Driver, warn_of_precision
from grokflow.limit.tangent import (
    NoTangentSpace,
    as_rtol_rank,
    length,
    project,
    require_kernel_space,
    require_minimiser,
)
from grokflow.methods import EXPLICIT, Curvature, Tsit5, as_curvature
from grokflow.problems import Problem, as_problem
from grokflow.progress import to_end
from grokflow.provenance import provenance
from grokflow.regularizers import Regularization, as_regularizer, describe, is_l1, require_kinks_named
from grokflow.solution import Solution

RESOLVED = 1e-11  # change of a weight, relative to ||w||, below which the projected field is round-off
TOLD = 3  # changes of rank that a message lists; near a singular point they come in flocks
DECIDED = 2e-6  # a tenth of the largest relative error that round-off left behind such a point, of 24


class DriftDriver(Driver):
    """A run of the core on the manifold, with its monitor."""

    def __init__(self, run: core.DriftRun, options: FlowOptions, problem: Problem) -> None:
        super().__init__(run, options, problem)
        self._drift = run

    def _without_states(self, interrupted_by: BaseException | None) -> Solution:
        """Return what has been recorded so far; its message names the changes of rank."""
        sol = dataclasses.replace(super()._without_states(interrupted_by), monitor=self._drift.monitor())
        if not sol.rank_changes or sol.status == "rank_change":
            return sol
        changes = ", ".join(
            f"from {before} to {after} at s = {s:.4g}" for s, before, after in sol.rank_changes[:TOLD]
        )
        more = len(sol.rank_changes) - TOLD
        rest = f", and {more} more times (see rank_changes)" if more > 0 else ""
        message = f"{sol.message} On the way the rank of the Hessian changed {changes}{rest}."
        if self._settings["rtol"] < DECIDED:
            message += (
                " What is tangent there is decided by round-off, which may leave errors of about "
                f"{DECIDED:g} behind: ask for rtol = {DECIDED:g}."
            )
        return dataclasses.replace(sol, message=message)


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
    atol: ArrayLike | None = None,
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
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float | str = "10min",
    checkpoint_errors: str = "warn",
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
    regularizer : {"norm", "hessian_trace", "l1"}, mapping, Regularizer or L1, default "norm"
        R: half the squared norm; half the squared norm weighted by block (``{"*": 1.0, "b": 0.0}``); ``c
        sum_i ||grad f_i||^2``, the trace of the Hessian, which label noise makes small; the l1 norm, by block
        with :class:`L1`; or smooth functions of your own.
    on_rank_change : {"record", "stop"}, default "record"
        What to do where the rank of the Hessian changes, a singular point of the manifold. It is told by
        `message` and `rank_changes` either way; with "stop" the status is "rank_change".
    kkt_tol : float, optional
        Stop with status "stationary" at a KKT point of min R on the manifold, where
        ``||P grad R|| <= kkt_tol ||grad R||``. Default: run to the end of `s_span`.
    rtol_rank : float, optional
        As in :func:`tangent_projection`. With "gram" the default is 1e-12, and an eigenvalue that
        has sunk below counts again once it is 100 times larger; until then the multipliers of residuals that
        it belongs to keep their last values, where they have limits.
    method : {"Tsit5"} or Tsit5, default "Tsit5"
        The integrator. Each new state is taken back to the manifold within the step.
    curvature : {"auto", "gram", "dense", "krylov"}, Auto, Gram, Dense or Krylov, default "auto"
        As in :func:`tangent_projection`.
    rtol, atol, t_eval, observe, save_states, events, first_step, max_step, max_steps, max_time, callback,
    progress, checkpoint, checkpoint_every, checkpoint_errors
        As in :func:`gradient_flow`, with `s` for `t`; the default of `atol` is at least 1e-11 ``||w||``. The
        value of R can be observed as "regularizer".

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
    Memory beyond the data, in vectors of d numbers: 15 of the method, up to 16 of the way back to the
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
    arguments = dict(locals())
    as_problem(problem)

    def run(journal: Journal | None) -> Solution:
        return drift(
            problem,
            w,
            Request.of(arguments, t_span=s_span, journal=journal),
            regularizer,
            on_rank_change=on_rank_change,
            kkt_tol=kkt_tol,
            rtol_rank=rtol_rank,
        )

    return kept("norm_flow", arguments, run)


def drift(
    problem: Problem,
    w: ArrayLike,
    request: Request,
    regularizer: Regularization,
    *,
    on_rank_change: str = "record",
    kkt_tol: float | None = None,
    rtol_rank: float | None = None,
    before: FloatArray | None = None,
) -> Solution:
    """Run the drift from a point near the manifold, in slow time.

    `before` is the last state of the flow that landed there: its forces tell how neurons that slide go on.
    """
    point = as_vector("w", w, problem.num_params)
    wanted = as_curvature(request.curvature)
    name, budget, _ = wanted
    require_kernel_space(problem, name)
    require_minimiser(problem)
    threshold = as_rtol_rank(rtol_rank, problem)
    stop = as_choice("on_rank_change", on_rank_change, ("record", "stop")) == "stop"
    rest = 0.0 if kkt_tol is None else as_positive("kkt_tol", kkt_tol)
    compiled = as_regularizer(regularizer, problem)
    require_kinks_named(regularizer, problem, point)

    def begin(watched: Request) -> DriftDriver:
        quantities = problem._observables | {"regularizer": "regularizer"}
        options = as_options(
            watched,
            point,
            quantities,
            blocks=problem.blocks,
            methods=EXPLICIT,
            span_name="s_span",
            finest=RESOLVED * length(point),
        )
        options = dataclasses.replace(options, regularizer=regularizer)
        warn_of_precision(problem, options.settings["rtol"])
        measure(problem, point, wanted, request)
        _, slope = compiled.evaluate(point)
        start, chosen = onto_manifold(problem, point, slope, name, budget, threshold)
        if is_l1(regularizer) and chosen != "gram":
            raise NoTangentSpace(
                f"curvature is {chosen!r}; the drift of an l1 norm is known for 'gram', where the residual "
                "vanishes and n < d"
            )
        options.settings.update(
            curvature=chosen,
            regularizer=describe(regularizer),
            on_rank_change=on_rank_change,
            kkt_tol=kkt_tol,
            rtol_rank=rtol_rank,
            **provenance(problem, point),
        )
        run = core.DriftRun(
            problem._core,
            compiled,
            start,
            chosen,
            budget,
            threshold,
            stop,
            rest,
            options.compiled,
            np.empty(0) if before is None or not problem.is_piecewise else before,
        )
        return DriftDriver(run, options, problem)

    return to_end(begin, DriftDriver.solution, request, "drift", "s")


def onto_manifold(
    problem: Problem, w: FloatArray, v: FloatArray, curvature: str, budget: float, rtol_rank: float
) -> tuple[FloatArray, str]:
    """Return the point of the manifold that `w` is close to, and the curvature to use there."""
    chosen = core.tangent_curvature_of(problem._core, curvature, budget, w)
    if problem.is_piecewise and chosen != "gram":
        raise NoTangentSpace(
            f"the residual does not vanish at w: ||r|| = {length(problem._core.residual(w)):.3g}; the "
            "activation of this network has a kink, and how its drift slides along data points is known only "
            "where they are fitted: make the network wider, or smooth (activation='smooth_relu')"
        )
    found = project(problem, w, v, chosen, budget, rtol_rank)
    if found.distance > 1e-13 * np.linalg.norm(w):
        w, _ = core.pull_back(problem._core, w, found.curvature, budget, rtol_rank)
    return w, found.curvature
