"""Both phases of training with small weight decay, and the flows that they describe, side by side."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from grokflow._html import card
from grokflow._options import (
    Callback,
    Observe,
    Request,
    WeightDecay,
    as_decay,
    as_observables,
    as_rtol,
)
from grokflow._validate import FloatArray, as_positive, as_vector, is_list
from grokflow._warnings import warn
from grokflow.checkpoint.journal import Journal, kept
from grokflow.clocks import clocks
from grokflow.driver import attach
from grokflow.flows import flow
from grokflow.limit import figure, report
from grokflow.limit.compare import Fit, fit, horizon, largest_distance, merged
from grokflow.limit.drift import drift
from grokflow.limit.landing import land
from grokflow.limit.phases import Phases
from grokflow.limit.tangent import NoTangentSpace, require_kernel_space, require_minimiser
from grokflow.methods import BDF, ROCK2, Curvature, Exponential, Radau, as_curvature
from grokflow.problems import Problem, as_problem
from grokflow.regularizers import Regularization, as_regularizer, is_decay
from grokflow.solution import Solution

if TYPE_CHECKING:
    from matplotlib.figure import Figure


S_END = 10.0  # slow time by which most drifts are at rest
REST, LATEST = (
    1e-3,
    1e3,
)  # ||P w|| / ||w|| at rest, and the slow time at which "auto" no longer waits for that


@dataclass(frozen=True, eq=False, repr=False)
class TwoPhase(Phases):
    """Fast phase, landing, drift, and the flows with weight decay, returned by `two_phase`.

    Attributes
    ----------
    problem : Problem
    w0 : ndarray, shape (d,)
    fast : Solution
        The unregularised flow until it landed.
    landing : Landing
        ``Phi(w0)``.
    slow : Solution or None
        The drift from there, in slow time; None if the flow has not landed, or on a point where no drift
        starts: `message` says why.
    flows : dict of float to Solution
        The flow with weight decay, by its rate lam (the largest one where it differs by block).
    distance : dict of float to float
        ``max ||w_lam(s / lam) - w_slow(s)||`` over ``eps <= s <= s_end``, relative to ``max ||w_slow||``.
    slope : float
        Of log distance against log lam: 1 where the limit is regular. nan where `fit` says why.
    fit : Fit
        What the slope is fitted to: distances above the tolerance, from `eps` up to the earliest horizon.
    horizon : dict of float to float
        Slow time up to which the drift describes the flow, see :func:`horizon`.
    clocks : dict of float to Clocks
        Of each flow.
    eps, s_end, kappa : float
        As given, or found.
    """

    def plot(self, weight_decay: float | None = None) -> Figure:
        """Draw a flow with the limit that describes it, and the distances of all flows to the drift.

        Above: accuracies (where there are classes), losses and squared norm of the flow, and dashed over them
        those of the composite; its train
        loss is :meth:`predicted_loss` once it has landed, and what lies below the error of the solver is
        cut off. Shaded are the plateau, from `t_gf` on, and the drop: the time in which the test loss of the
        drift (its norm, without test data) goes through all but 5% at both ends of its fall. A dotted line
        marks the horizon, beyond which the limit does not describe the flow; an inset shows the test loss in
        linear time, in which the drop is not sudden. Below: the distances against slow time, with the
        horizons in the legend, and the largest ones from `eps` on against lam, filled where the slope is
        fitted to them. What is not known is left out: the distances if states were not kept, and all of the
        limit if the flow has not landed.

        Parameters
        ----------
        weight_decay : float, optional
            Which of `flows`. Default: the smallest.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ValueError
            `flows` holds no such rate.
        ImportError
            matplotlib is missing.
        """
        lam = min(self.flows) if weight_decay is None else weight_decay
        self._flow(lam)
        return figure.plot(self, lam)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return the header and the rows of `report`, as text."""
        return report.table(self)

    def report(self, file: IO[str] | None = None) -> None:
        """Print landing, drift and the table of the flows.

        Parameters
        ----------
        file : text stream, optional
            Default: standard output.
        """
        if file is not None and not hasattr(file, "write"):
            raise TypeError(f"file is {file!r}; it must be a text stream")
        print(report.report(self), end="", file=sys.stdout if file is None else file)

    def __repr__(self) -> str:
        return "\n".join(["TwoPhase:", *(f"  {line}" for line in report.summary(self))])

    def _repr_html_(self) -> str:
        status = "finished" if self.success else "incomplete"
        return card("TwoPhase", status, report.described(self), table=self.table())


def two_phase(
    problem: Problem,
    w0: ArrayLike,
    weight_decay: Sequence[WeightDecay] = (1e-3, 1e-4, 1e-5),
    *,
    s_end: float | str = 10.0,
    eps: float = 0.1,
    kappa: float = 10.0,
    method: str | BDF | Radau | ROCK2 | Exponential = "auto",
    curvature: str | Curvature = "auto",
    rtol: float = 1e-6,
    atol: float | None = None,
    observe: Observe = None,
    max_steps: int | None = None,
    max_time: float | None = None,
    callback: Callback | None = None,
    progress: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float | str = "10min",
    checkpoint_errors: str = "warn",
    regularizer: Regularization = "norm",
) -> TwoPhase:
    """Run both phases of training with small weight decay and the flows that they describe, and compare.

    The statement of the paper, checked on a model of one's own: for lam -> 0 the flow follows the
    unregularised one to ``Phi(w0)`` and then, in slow time ``s = lam t``, the Riemannian flow of the norm
    on the manifold of minimisers.

    Parameters
    ----------
    problem : Problem
        The training loss F.
    w0 : array_like, shape (d,)
        Initial weights.
    weight_decay : sequence of float or mappings, default (1e-3, 1e-4, 1e-5)
        The rates lam > 0. Decay that differs by block is given as in :func:`gradient_flow`, all of it in
        the same proportions; lam is then the largest rate, and the drift that of ``R = sum_b (lam_b / lam)
        ||w_b||^2 / 2``.
    s_end : float or "auto", default 10.0
        End in slow time; the flows run to ``t = s_end / lam``. "auto" is where the drift has come to rest,
        ``||P w|| <= 1e-3 ||w||``, which takes the longer the larger `w0` is; it costs a second landing and
        drift.
    eps : float, default 0.1
        Start, in slow time, of the comparison of flows and drift.
    kappa : float, default 10.0
        How far above lam the smallest non-zero eigenvalue of the Hessian has to stay, see :func:`horizon`.
    method, observe, max_steps, max_time, callback, progress, checkpoint, checkpoint_every, checkpoint_errors
        Of each run, as in :func:`gradient_flow`; `method` of the flows in fast time.
    curvature : {"auto", "gram", "dense", "krylov"}, Auto, Gram, Dense or Krylov, default "auto"
        As in :func:`gradient_flow` and :func:`tangent_projection`.
    rtol, atol : float, default 1e-6 and by the size of the start
        Tolerances of all runs. They bound the distances from below: choose them below the smallest lam.
    regularizer : {"norm", "hessian_trace", "l1"}, mapping, Regularizer or L1, default "norm"
        R of flows, ``F + lam R``, and drift, as in :func:`gradient_flow`. With another one than the norm the
        entries of `weight_decay` are numbers, and there are no clocks, which are those of the norm.

    Returns
    -------
    TwoPhase

    Raises
    ------
    TypeError, ValueError
        Misuse, before any work.
    KeyboardInterrupt
        Ctrl-C; its attribute `solution` holds the run that was on its way or else the last one, `flows` those
        that were done, and `landing` the landing, or None if it was still to come.

    References
    ----------
    Boursier, Pesme, Dragomir, arXiv:2505.20172, Props. 1 and 2, Appendix E.

    Examples
    --------
    >>> import numpy as np, grokflow as gf
    >>> problem = gf.models.LinearRegression(np.eye(2, 4), np.ones(2))
    >>> phases = gf.two_phase(problem, np.ones(4), [1e-2, 1e-3])
    >>> round(phases.slope, 1)
    1.0
    """
    arguments = dict(locals())
    request = Request.of(arguments, rtol=as_rtol(rtol))
    as_problem(problem)
    start = as_vector("w0", w0, problem.num_params)
    penalises = as_regularizer(regularizer, problem).evaluate
    known = problem._observables
    if not is_decay(regularizer):
        known |= {"regularizer": lambda t, w: penalises(w)[0]}
    observables = {
        name: known[what] if isinstance(what, str) else what
        for name, what in as_observables(observe, known).items()
    }
    decays = as_decays(weight_decay, problem, regularizer)
    first = as_positive("eps", eps)
    given = None if isinstance(s_end, str) and s_end == "auto" else as_positive("s_end", s_end)
    if given is not None and first >= given:
        raise ValueError(f"eps is {first:g}; it must be smaller than s_end = {given:g}")
    as_positive("kappa", kappa)
    if atol is not None:
        as_positive("atol", atol)
    require_kernel_space(problem, as_curvature(curvature).name)
    require_minimiser(problem)
    slows = drift_of(decays) if regularizer == "norm" else regularizer
    penalty: Regularization = "norm" if is_decay(regularizer) else regularizer

    def run(journal: Journal | None) -> TwoPhase:
        flows: dict[float, Solution] = {}
        landing, slow, no_drift = None, None, ""
        kept_request = replace(request, journal=journal)
        try:  # no call by * or **: an interrupt may come before its result has a name
            end = given or at_rest(problem, start, kept_request, slows, first)
            for lam, decay in decays.items():
                whole = replace(kept_request, t_span=(0.0, end / lam))
                flows[lam] = flow(problem, start, decay, whole, penalty)
            fast_times = merged([sol.t for sol in flows.values()])
            fast = replace(kept_request, t_eval=fast_times, observe=observables)
            landing = land(problem, start, fast, regularizer=slows)
            if landing.success:
                slow_times = np.minimum(merged([lam * sol.t for lam, sol in flows.items()]), end)
                slowly = replace(kept_request, t_span=(0.0, end), method="auto", t_eval=slow_times)
                try:
                    slow = drift(problem, landing.w, slowly, slows, before=landing.path.final)
                except NoTangentSpace as error:
                    no_drift = str(error)
            horizons: dict[float, float] = {}
            distance: dict[float, float] = {}
            fitted = Fit()
            if slow is not None:
                horizons = {lam: horizon(slow, lam, kappa) for lam in flows}
                distance = {lam: largest_distance(sol, slow, lam, first, end) for lam, sol in flows.items()}
                fitted = fit(flows, slow, horizons, first, request.rtol)
            found = TwoPhase(
                problem=problem,
                w0=start,
                fast=landing.path,
                landing=landing,
                slow=slow,
                flows=flows,
                distance=distance,
                fit=fitted,
                horizon=horizons,
                clocks={
                    lam: clocks(sol)
                    for lam, sol in flows.items()
                    if {"grad_norm", "norm"} <= sol.observed.keys() and is_decay(regularizer)
                },
                eps=first,
                s_end=end,
                kappa=float(kappa),
                _decays=decays,
                _request=Request(
                    method=method, curvature=curvature, rtol=request.rtol, atol=atol, observe={}
                ),
                _regularizer=slows,
                _observables=observables,
                _no_drift=no_drift,
            )
            if found.parting:
                warn(found.parting)
            return found
        except BaseException as error:
            done = [*flows.values(), *([landing.path] if landing else []), *([slow] if slow else [])]
            if done and not hasattr(error, "solution"):  # it came between two runs
                attach(error, done[-1])
            attach(error, flows, "flows")
            attach(error, landing, "landing")
            raise

    return kept("two_phase", arguments, run)


def as_decays(
    weight_decay: object, problem: Problem, regularizer: Regularization = "norm"
) -> dict[float, WeightDecay]:
    """Return the decays by their largest rates, falling; mappings must agree in their proportions.

    Weights by block in `regularizer` make such mappings of numbers.
    """
    if not is_list(weight_decay):
        raise TypeError(f"weight_decay is {weight_decay!r}; it must be a list of rates, e.g. [1e-3, 1e-4]")
    if len(weight_decay) == 0:
        raise ValueError("weight_decay is empty; give at least one rate")
    decays: dict[float, WeightDecay] = {}
    shape = None
    for i, decay in enumerate(weight_decay):
        if regularizer != "norm" and isinstance(decay, Mapping):
            raise TypeError(
                f"weight_decay[{i}] is {decay!r}; with regularizer={regularizer!r} it is a number"
            )
        rates = np.array([rate for _, _, rate in as_decay(decay, problem, f"weight_decay[{i}]")])
        lam = float(rates.max())
        if lam <= 0:
            raise ValueError(f"weight_decay[{i}] is {decay!r}; a rate must be positive")
        shape = rates / lam if shape is None else shape
        if shape.shape != rates.shape or not np.allclose(rates / lam, shape, rtol=1e-12):
            raise ValueError(
                f"weight_decay[{i}] is {decay!r}, not in the proportions of weight_decay[0] = "
                f"{weight_decay[0]!r}; they share one drift, so that all must agree"
            )
        if lam in decays:
            raise ValueError(f"weight_decay holds the rate {lam:g} twice")
        by_block = regularizer if isinstance(regularizer, Mapping) else None
        if by_block is not None:
            as_decay(by_block, problem, "regularizer")
            decays[lam] = {block: lam * weight for block, weight in by_block.items()}
        else:
            decays[lam] = dict(decay) if isinstance(decay, Mapping) else lam
    return dict(sorted(decays.items(), reverse=True))


def at_rest(
    problem: Problem, start: FloatArray, request: Request, regularizer: Regularization, eps: float
) -> float:
    """Return the slow time at which the drift has come to rest; `S_END` where none starts."""
    bare = replace(request, t_eval=[], observe=[])
    landing = land(problem, start, bare, regularizer=regularizer)
    if not landing.success:
        return S_END
    slowly = replace(bare, t_span=(0.0, LATEST), method="auto")
    try:
        slow = drift(problem, landing.w, slowly, regularizer, kkt_tol=REST, before=landing.path.final)
    except NoTangentSpace:
        return S_END
    return max(slow.t_final, 2.0 * eps)


def drift_of(decays: Mapping[float, WeightDecay]) -> Regularization:
    """Return the regularizer whose drift is the limit of these decays."""
    lam, decay = next(iter(decays.items()))
    if not isinstance(decay, Mapping):
        return "norm"
    return {block: rate / lam for block, rate in decay.items()}
