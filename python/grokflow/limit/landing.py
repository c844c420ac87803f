"""Where the unregularised flow lands: the limit map Phi."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._html import card
from grokflow._manual import explained
from grokflow._options import SOON, Callback, FlowOptions, Observe, Request, as_options, as_rtol
from grokflow._validate import FloatArray, as_positive, as_vector
from grokflow._warnings import warn
from grokflow.callbacks import PrecisionWarning
from grokflow.checkpoint.journal import Journal, kept
from grokflow.costs import measure
from grokflow.curves import first_crossing, value_at
from grokflow.driver import Driver, require_finite_start, warn_of_precision
from grokflow.limit.round_off import PACE, STOPS, ratio, saddles, with_other_digits
from grokflow.limit.tangent import as_rtol_rank
from grokflow.methods import BDF, ROCK2, Curvature, Exponential, Radau, as_curvature
from grokflow.problems import Problem, as_problem
from grokflow.progress import to_end
from grokflow.provenance import provenance
from grokflow.regularizers import Regularization, as_regularizer, is_decay
from grokflow.solution import Solution

DIAGNOSES = ("landed", "saddle", "degenerate", "no_minimiser")
EPS = 1e-3  # the fraction of the first gradient that defines t_gf, as in `clocks`


@dataclass(frozen=True, eq=False, repr=False)
class Landing:
    """The end of the unregularised flow, returned by `limit_map` whether there is one or not.

    Attributes
    ----------
    w : ndarray, shape (d,)
        ``Phi(w0)`` to round-off on the manifold, if the flow has landed; else its last state.
    t : float
        Time at which Newton's method took over from the flow.
    t_gf : float
        First time with ``||grad F|| <= 1e-3 ||grad F(w0)||``; nan if it was not reached or observed.
    loss, loss_gf : float
        F at `w`, and at `t_gf`.
    residual_norm, gradient_norm : float
        ``||r(w)||`` (nan without residuals) and ``||grad F(w)||``.
    rank : int or None
        Number of non-zero eigenvalues of Hess F(w), so that the manifold has dimension d - rank. None where
        "krylov" has looked, which decides on none.
    eta, largest : float
        The smallest of these in modulus, and the largest: the ends of the spectrum of ``c K``.
    gap : float
        `eta` over the largest eigenvalue that counts as zero, which is taken as at least 2.2e-16 times
        `largest`.
    pulled : float
        Length of the way that Newton's method went.
    curvature : str
        "gram", "dense" or "krylov": what has looked at `w`.
    status : str
        "landed"; "no_minimiser": the weights run away; "saddle": at rest where the Hessian has a negative
        eigenvalue; "degenerate": an algebraic approach to a point where the Hessian loses rank, or a rank
        that cannot be decided; or one of the words of :class:`Solution`, of which "finished" says that the
        flow has not landed by `t_max`, or is at rest where only a Hessian, which the problem does not give,
        could tell a minimiser from a saddle.
    message : str
        The status in a sentence.
    stats : dict
        Work of flow and landing, as in :class:`Solution`; ``seconds`` are those of the flow.
    settings : dict
        What was asked for, as in :class:`Solution`, with ``t_max`` (None: no limit) and ``rtol_rank``. The
        steps of the flow keep 0.03 of the tolerances, for their errors add up.
    path : Solution
        The flow until `t`.
    round_off : float
        How far from `w` the flow lands, over ``||w||``, with other last digits at the start and at each
        saddle that it leaves. It is looked at where there is one, out of which errors grow; else, or if
        "grad_norm" is not observed or time is over, nan. Beyond ten times `rtol`, or where these digits
        decide when a saddle is left, the message says so, with a :class:`PrecisionWarning`.
    """

    w: FloatArray
    t: float
    t_gf: float
    loss: float
    loss_gf: float
    residual_norm: float
    gradient_norm: float
    rank: int | None
    eta: float
    largest: float
    gap: float
    pulled: float
    curvature: str
    status: str
    message: str
    stats: dict[str, int | float]
    settings: dict[str, Any]
    path: Solution
    round_off: float = math.nan

    @property
    def success(self) -> bool:
        """Whether the flow has landed."""
        return self.status == "landed"

    def __repr__(self) -> str:
        lines = self._described()
        return "\n".join(
            [f"Landing: {self.status}", *(f"  {name:<16}{text}" for name, text in lines.items())]
        )

    def _repr_html_(self) -> str:
        return card("Landing", self.status, self._described(), folded={"stats": self.stats})

    def _described(self) -> dict[str, str]:
        """What there is to say of it, in lines by name."""
        return {
            "message": self.message,
            "w": f"d = {self.w.size}, ||w|| = {np.linalg.norm(self.w):.6g}, pulled by {self.pulled:.3g}",
            "t": f"{self.t:.4g} (t_gf = {self.t_gf:.4g}, where the loss is {self.loss_gf:.3g})",
            "loss": f"{self.loss:.3g}, ||r|| = {self.residual_norm:.3g}, "
            f"||grad F|| = {self.gradient_norm:.3g}",
            "Hess F": f"rank {self.rank}, eigenvalues {self.eta:.4g} ... {self.largest:.4g}, "
            f"gap {self.gap:.3g} ({self.curvature})",
        }


def limit_map(
    problem: Problem,
    w0: ArrayLike,
    *,
    method: str | BDF | Radau | ROCK2 | Exponential = "auto",
    curvature: str | Curvature = "auto",
    rtol: float = 1e-6,
    atol: float | None = None,
    rtol_rank: float | None = None,
    t_max: float = math.inf,
    t_eval: ArrayLike | str | None = "log",
    observe: Observe = None,
    save_states: bool | str | os.PathLike[str] = "auto",
    max_step: float = math.inf,
    max_steps: int | None = None,
    max_time: float | None = None,
    callback: Callback | None = None,
    progress: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float | str = "10min",
    checkpoint_errors: str = "warn",
) -> Landing:
    """Find ``Phi(w0)``, the limit of the unregularised flow ``dw/dt = -grad F(w)``.

    The stiff flow runs until ``||H^+ grad F||`` (``||J^+ r||`` with residuals) is small enough for its
    square to be below the tolerance; Newton's method along the normal space does the rest, to round-off.

    Parameters
    ----------
    problem : Problem
        The training loss F.
    w0 : array_like, shape (d,)
        Initial weights.
    method, t_eval, observe, save_states, max_step, max_steps, max_time, callback, progress, checkpoint,
    checkpoint_every, checkpoint_errors
        Of the flow, as in :func:`gradient_flow`.
    curvature : {"auto", "gram", "dense", "krylov"}, Auto, Gram, Dense or Krylov, default "auto"
        For the linear systems of the flow as in :func:`gradient_flow`, and for the tangent space at its end
        as in :func:`tangent_projection`.
    rtol : float, default 1e-6
        The error allowed in ``Phi(w0)``: about ``atol + rtol |w|``.
    atol : float, optional
        Default: by the size of `w0`, as in :func:`gradient_flow`.
    rtol_rank : float, optional
        As in :func:`tangent_projection`.
    t_max : float, default inf
        The time at which to give up.

    Returns
    -------
    Landing
        A flow that does not land says which of these it saw: no minimiser at finite w, a saddle, a degenerate
        Hessian, or a limit.

    Raises
    ------
    TypeError, ValueError
        Misuse, before any work.
    KeyboardInterrupt
        Ctrl-C; its attribute `solution` holds the path so far.

    Notes
    -----
    Of a network with kinks it is the limit of flows with ever less decay, at one rate: a neuron that died on
    a data point stays there for the data to pull again, if decay holds it there (some weights are frozen).

    References
    ----------
    Boursier, Pesme, Dragomir, arXiv:2505.20172, Prop. 1.

    Examples
    --------
    >>> import grokflow as gf
    >>> problem = gf.models.LinearRegression([[1.0, 1.0]], [2.0])
    >>> landing = gf.limit_map(problem, [1.0, 0.0])
    >>> landing.w.round(12)
    array([1.5, 0.5])
    """
    arguments = dict(locals())
    as_problem(problem)
    start, tolerance = as_vector("w0", w0, problem.num_params), as_rtol(rtol)

    def run(journal: Journal | None) -> Landing:
        request = Request.of(arguments, rtol=tolerance, journal=journal)
        return land(problem, start, request, rtol_rank, t_max)

    return kept("limit_map", arguments, run)


def land(
    problem: Problem,
    start: FloatArray,
    request: Request,
    rtol_rank: float | None = None,
    t_max: float = math.inf,
    regularizer: Regularization = "norm",
) -> Landing:
    """Run the unregularised flow from a checked start until it has landed, or cannot.

    It is the limit of flows with ever less of the regularizer: a neuron at a kink that neither side moves
    goes where decay at these rates would push it.
    """
    wanted = as_curvature(request.curvature)
    end = core.FOREVER if isinstance(t_max, float) and t_max == math.inf else as_positive("t_max", t_max)
    atol = None if request.atol is None else as_positive("atol", request.atol)
    threshold = as_rtol_rank(rtol_rank, problem)
    require_finite_start(problem, start, 0.0)
    decay = as_regularizer(regularizer if is_decay(regularizer) else "norm", problem)

    def begin(
        watched: Request, start: FloatArray = start, end: float = end, atol: float | None = atol
    ) -> LandingDriver:
        measure(problem, start, wanted, request)
        whole = replace(watched, t_span=(0.0, end), atol=atol)
        options = as_options(
            whole, start, problem._observables, blocks=problem.blocks, piecewise=problem.is_piecewise
        )
        warn_of_precision(problem, options.settings["rtol"])
        options.settings.update(weight_decay=0.0, **provenance(problem, start))
        run = core.LandingRun(problem._core, start, *wanted, threshold, options.compiled, decay)
        options.settings["method"] = run.method
        asked = {
            "curvature": wanted.name,
            "rtol_rank": rtol_rank,
            "t_max": None if end == core.FOREVER else end,
        }
        return LandingDriver(run, options, problem, asked)

    def landing_of(driver: LandingDriver) -> Landing:
        landing = driver.landing()
        slopes: Any = landing.path["grad_norm"] if "grad_norm" in landing.path.observed else []
        passed = saddles(landing.path.t, slopes) if landing.success else []
        if not passed:
            return landing
        tolerance = landing.settings["atol"]  # its default follows the start
        again, began, w, pace = unseen(request, landing.path), 0.0, with_other_digits(start, tolerance), 1.0
        for saddle in passed:
            for stop in [*np.linspace(saddle.closest, saddle.left, STOPS)[:-1].tolist(), saddle.left]:
                if stop > began:
                    piece = partial(begin, start=w, end=stop - began, atol=tolerance)
                    path, other = to_end(piece, LandingDriver.pause, again, "landing")
                    if other:
                        return compared(landing, other, pace)
                    again, began, w = unseen(again, path), stop, path.final
                if stop < saddle.left:
                    w = with_other_digits(w, tolerance)
            pace = max(pace, ratio((float(np.linalg.norm(problem.gradient(w))), saddle.slope)))
        last = partial(begin, start=w, end=end - began, atol=tolerance)
        return compared(landing, to_end(last, LandingDriver.landing, again, "landing"), pace)

    return to_end(begin, landing_of, request, "landing")


def unseen(request: Request, path: Solution) -> Request:
    """Return `request` for a run after that of `path`, of which only the end counts."""
    left = None
    if request.max_time is not None:
        left = max(as_positive("max_time", request.max_time) - float(path.stats["seconds"]), SOON)
    return replace(
        request,
        t_eval=[],
        observe=[],
        save_states=False,
        callback=None,
        progress=False,
        journal=None,
        max_time=left,
    )


def compared(landing: Landing, other: Landing, pace: float) -> Landing:
    """Return `landing`, with how far from it the `other` one is; warn where that is far.

    The other has left a saddle with a gradient that is larger or smaller by the factor `pace`. It may have
    taken the same way all the same, where another is closed to both by round-off.
    """
    if other.status not in DIAGNOSES:
        return landing
    away = float(np.linalg.norm(landing.w - other.w) / (np.linalg.norm(landing.w) or 1.0))
    message = landing.message
    elsewhere = away > 10.0 * landing.settings["rtol"]
    if elsewhere or pace > PACE:
        end = f"end {away:.2g} ||w|| away" if elsewhere else "end there too, but leave it at another time"
        found = (
            "Round-off has chosen it, for the flow has left a saddle too close for double precision: "
            f"weights with other last digits {end}. Start from larger weights."
        )
        warn(found, PrecisionWarning)
        message = f"{message} {found}"
    return replace(landing, round_off=away, message=message)


class LandingDriver(Driver):
    """A run of the core that watches for its landing, and then settles on the manifold."""

    def __init__(
        self, run: core.LandingRun, options: FlowOptions, problem: Problem, asked: dict[str, Any]
    ) -> None:
        super().__init__(run, options, problem)
        self._landing, self._on, self._asked = run, problem, asked

    def pause(self) -> tuple[Solution, Landing | None]:
        """Return the path, and where the flow has ended if that was before the end of the span."""
        path = self.solution()
        return path, None if path.status == "finished" else self.landing()

    def landing(self) -> Landing:
        """Return where the flow has landed, once it is at its end."""
        path, found = self.solution(), self._landing.settle()
        settings = {name: value for name, value in path.settings.items() if name != "t_span"}
        return as_landing(self._on, path, found, settings | self._asked)


def as_landing(problem: Problem, path: Solution, found: dict[str, Any], settings: dict[str, Any]) -> Landing:
    """Join what the flow has recorded with what Newton's method has found."""
    t_gf = loss_gf = math.nan
    times = np.append(path.t, path.t_final)  # which may lie between two records
    if "grad_norm" in path.observed and len(path.t):
        slopes = np.append(path["grad_norm"], np.linalg.norm(problem._core.gradient(path.final)))
        t_gf = first_crossing(times, slopes, EPS * slopes[0])
    if "train_loss" in path.observed:
        loss_gf = value_at(times, np.append(path["train_loss"], problem._core.loss(path.final)), t_gf)
    work = {name: path.stats[name] + count for name, count in found["stats"].items()}
    status = found["status"]
    message = explained(status, found["message"]) if found["message"] else path.message
    if path.status == "finished" and settings["t_max"] is not None:
        status, message = "finished", f"The flow had not landed at t_max = {path.t_final:g}; raise t_max."
    if path.status == "no_minimiser":
        margin = problem.quantity("margin", found["w"]) if problem._classes else math.nan
        message = (
            f"{message} The smallest margin is {margin:.3g} at t = {path.t_final:.3g}. For a limit leave the "
            "labels some doubt (label_smoothing=), or take loss='squares'."
        )
    return Landing(
        w=found["w"],
        t=path.t_final,
        t_gf=t_gf,
        loss=problem.loss(found["w"]) if np.isfinite(found["w"]).all() else math.nan,
        loss_gf=loss_gf,
        residual_norm=found["residual_norm"],
        gradient_norm=float(np.linalg.norm(problem.gradient(found["w"]))),
        rank=found["rank"] if found["rank"] >= 0 else None,
        eta=found["eta"],
        largest=found["largest"],
        gap=found["gap"],
        pulled=found["pulled"],
        curvature=found["curvature"],
        status=status,
        message=message,
        stats=path.stats | work,  # type: ignore[arg-type]
        settings=settings,
        path=path,
    )
