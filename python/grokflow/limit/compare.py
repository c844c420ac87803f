"""How far a flow is from the drift that describes it, and up to when that is to be expected."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from grokflow._backend import core
from grokflow._options import WeightDecay, as_decay
from grokflow._validate import FloatArray, as_positive, as_vector
from grokflow.curves import first_crossing, nearest
from grokflow.problems import Problem, as_problem
from grokflow.regularizers import Regularization, as_regularizer, is_decay
from grokflow.solution import Solution
from grokflow.trajectory import require_trajectory

SAME = 1e-9  # relative difference of two times that are one
FALLS = 0.5  # power of lam between the two smallest rates, below which distances do not fall,
PARTED = 0.1  # and the part of the largest one that tells where
ERROR = 5.0  # of a flow along its path, over its tolerance, in nearly all runs


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
    require_trajectory(sol)
    if not sol.monitor:
        raise ValueError("sol has no monitor: it must be a drift, returned by norm_flow")
    level = as_positive("kappa", kappa) * as_positive("weight_decay", weight_decay)
    crossed = first_crossing(sol.monitor["s"], sol.monitor["eta"], level, log_t=False)
    return math.inf if math.isnan(crossed) else crossed


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
    return residual_beside(as_problem(problem), as_vector("w", w, problem.num_params), weight_decay)


def residual_beside(
    problem: Problem, point: FloatArray, weight_decay: WeightDecay, regularizer: Regularization = "norm"
) -> FloatArray:
    """Return the residual beside a point of the manifold, to first order in lam."""
    K, pushed, _ = tangent_kernel(problem, point, weight_decay, regularizer)
    return np.asarray(np.linalg.lstsq(problem.scale * K, -pushed, rcond=None)[0], dtype=np.float64)


def step_beside(
    problem: Problem, point: FloatArray, weight_decay: WeightDecay, regularizer: Regularization = "norm"
) -> FloatArray:
    """Return how the flow runs beside a point of the manifold, to first order in lam: J^+ r, normal to it."""
    K, pushed, pull = tangent_kernel(problem, point, weight_decay, regularizer)
    residual = np.linalg.lstsq(problem.scale * K, -pushed, rcond=None)[0]
    return pull(np.linalg.lstsq(K, residual, rcond=None)[0])


def tangent_kernel(
    problem: Problem, point: FloatArray, weight_decay: WeightDecay, regularizer: Regularization
) -> tuple[FloatArray, FloatArray, Callable[[FloatArray], FloatArray]]:
    """Return K at a point of the manifold, J applied to what decays there, and the product with J^T."""
    problem._require_residuals("residual")
    if is_decay(regularizer):
        compiled, factor = core.weighted_norm(as_decay(weight_decay, problem)), 1.0
    else:
        compiled, factor = as_regularizer(regularizer, problem), float(weight_decay)  # type: ignore[arg-type]
    there = core.drifting_piece(problem._core, point, compiled).linearize(point)
    return there.gram(), there.jvp(factor * compiled.evaluate(point)[1]), there.vjp


def distance_path(sol: Solution, slow: Solution | None, lam: float) -> tuple[FloatArray, FloatArray]:
    """Return slow times of a flow, and its distance to the drift relative to the largest norm of that.

    Both are empty where states were not kept.
    """
    if sol.w is None or slow is None or slow.w is None:
        return np.empty(0), np.empty(0)
    s = lam * sol.t
    chosen = s <= slow.t_final * (1.0 + SAME)
    apart = sol.w[chosen] - slow.w[nearest(slow.t, s[chosen])]
    size = float(np.max(np.linalg.norm(slow.w, axis=1)))
    return s[chosen], np.linalg.norm(apart, axis=1) / size


def merged(grids: Sequence[FloatArray]) -> FloatArray:
    """Return all times of several grids, sorted, each once."""
    times = np.sort(np.concatenate(list(grids)))
    apart: NDArray[np.bool_] = np.diff(times, prepend=-np.inf) > SAME * np.abs(times)
    return times[apart]


def largest_distance(sol: Solution, slow: Solution, lam: float, begin: float, end: float) -> float:
    """Return the largest distance of a flow to the drift on a span of slow time; nan if it is not known."""
    s, apart = distance_path(sol, slow, lam)
    inside = apart[(s >= begin * (1.0 - SAME)) & (s <= end * (1.0 + SAME))]
    return float(inside.max()) if sol.success and inside.size else math.nan


@dataclass(frozen=True)
class Fit:
    """The power of lam by which flows come close to the drift, and what it is fitted to.

    Attributes
    ----------
    slope : float
        Of log distance against log lam, by least squares; nan where there is nothing to fit.
    s_end : float
        Slow time up to which the distances are taken: the earliest horizon of the rates that take part.
    distance : dict of float to float
        The largest distance up to there, for each of these rates.
    reason : str
        Why there is no slope, or empty.
    parting : float
        Slow time at which flows of the smallest rates are seen to part from the drift, by a distance that
        does not fall with lam: the limit branches, and what is of the size of lam decides on the way. nan
        where it falls.
    """

    slope: float = math.nan
    s_end: float = math.nan
    distance: dict[float, float] = field(default_factory=dict)
    reason: str = ""
    parting: float = math.nan


def fit(
    flows: Mapping[float, Solution], slow: Solution, horizons: Mapping[float, float], eps: float, rtol: float
) -> Fit:
    """Fit the distances from `eps` on, up to the horizon, as far as they exceed the error of the flows."""
    within = {lam: sol for lam, sol in flows.items() if horizons[lam] > eps}
    if len(within) < 2:
        where = (
            "" if len(flows) < 2 else f"the horizon lies beyond eps = {eps:g} for {len(within)} rate(s) only"
        )
        return Fit(reason=where)
    end = min(slow.t_final, *(horizons[lam] for lam in within))
    found = {lam: largest_distance(sol, slow, lam, eps, end) for lam, sol in within.items()}
    seen = {lam: apart for lam, apart in found.items() if apart > ERROR * rtol}  # which nan is not
    if len(seen) < 2:
        known = any(apart <= ERROR * rtol for apart in found.values())
        return Fit(reason="the distances are at the tolerance; choose a smaller rtol" if known else "")
    x, y = np.log(np.array(list(seen.items()))).T
    smallest, next_ = np.argsort(x)[:2]
    falls = y[next_] - y[smallest] > FALLS * (x[next_] - x[smallest])
    lam = min(seen)
    parting = math.nan if falls else parted(flows[lam], slow, lam, eps, end)
    return Fit(slope=float(np.polyfit(x, y, 1)[0]), s_end=end, distance=seen, parting=parting)


def parted(sol: Solution, slow: Solution, lam: float, begin: float, end: float) -> float:
    """Return the slow time in a span at which a flow is first seen to go elsewhere than the drift."""
    s, apart = distance_path(sol, slow, lam)
    inside = (s >= begin * (1.0 - SAME)) & (s <= end * (1.0 + SAME))
    return float(s[inside][np.argmax(apart[inside] > PARTED * apart[inside].max())])
