"""The tangent space of the manifold of minimisers: the projection on it, and whether a point lies there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._validate import FloatArray, as_flag, as_positive, as_vector
from grokflow.methods import Curvature, as_curvature
from grokflow.problems import Problem, as_problem

ON_MANIFOLD = 1e-6  # distance to the manifold, relative to ||w||, that is taken for a matter of tolerance
UNFITTED = (
    ". The activation of this network has a kink, and how its drift slides along data points is known only "
    "where they are fitted: if they are not after landing, make the network wider, or smooth "
    "(activation='smooth_relu')"
)
CLEAR_GAP = (
    10.0  # ratio of neighbouring eigenvalues around the threshold, below which the rank is a matter of taste
)


class NoTangentSpace(ValueError):
    """The tangent space at a point is not known, so that no drift starts there."""


@dataclass(frozen=True, eq=False)
class TangentProjection:
    """A vector projected on ``ker Hess F(w)``, and what was decided about the Hessian on the way.

    Attributes
    ----------
    v : ndarray, shape (d,)
        The projection P v.
    rank : int or None
        Number of eigenvalues of Hess F(w) that count as non-zero: d minus the dimension of the manifold. None
        for "krylov", which decides on none.
    eta, largest : float
        The smallest of these eigenvalues in modulus, and the largest. Of "gram" and "krylov" to about 0.1%.
    gap : float
        `eta` over the largest eigenvalue that counts as zero, which is taken as at least 2.2e-16 times
        `largest`.
    distance : float
        ``||H^+ grad F(w)||``: how far `w` is from the manifold.
    curvature : str
        "gram", "dense" or "krylov".
    stats : dict of str to int
        Work done, as in :class:`Solution`.
    w : ndarray, shape (d,)
        The point of the manifold that all this is about: `w` as given, or where it has landed.
    """

    v: FloatArray
    rank: int | None
    eta: float
    largest: float
    gap: float
    distance: float
    curvature: str
    stats: dict[str, int]
    w: FloatArray


def tangent_projection(
    problem: Problem,
    w: ArrayLike,
    v: ArrayLike,
    *,
    curvature: str | Curvature = "auto",
    rtol_rank: float | None = None,
    land: bool = False,
) -> TangentProjection:
    """Project `v` on ``ker Hess F(w)``, the tangent space of the manifold of minimisers at `w`.

    Parameters
    ----------
    problem : Problem
        The training loss F.
    w : array_like, shape (d,)
        A minimiser, or another critical point of F.
    v : array_like, shape (d,)
        The vector.
    curvature : {"auto", "gram", "dense", "krylov"}, Auto, Gram, Dense or Krylov, default "auto"
        "gram": ``P v = v - J^T K^-1 J v`` with the n x n tangent kernel ``K = J J^T``, applied twice where K
        is ill-conditioned; where the residual is zero. "dense": the eigenvectors of the d x d Hessian, at
        any critical point. "krylov": without a matrix, conjugate gradients on K where the residual is zero,
        else MINRES on the Hessian. "auto" is gram if there are residuals, all
        zero, n <= d and K fits the memory budget (4 GiB); else dense for d <= 2000; else krylov.
    rtol_rank : float, optional
        Eigenvalues of the Hessian (of ``c K``) below `rtol_rank` times the largest count as zero. Default:
        2.2e-15 times the size of the matrix that is factored, or 1e-5 for a model in single precision.
    land : bool, default False
        Take `w` to the manifold first, by Newton's method along the normal space: a point of a flow with
        weight decay, which runs beside it, or one that is close. The result says where that is (`w`).

    Returns
    -------
    TangentProjection

    Raises
    ------
    ValueError
        `w` is not on the manifold (its distance is told), or the rank cannot be decided because the
        eigenvalues have no gap around the threshold and `rtol_rank` is not given.
    TypeError, ValueError
        Other misuse, before any work.

    References
    ----------
    Boursier, Pesme, Dragomir, arXiv:2505.20172, Prop. 2.

    Examples
    --------
    >>> import grokflow as gf
    >>> problem = gf.models.LinearRegression([[1.0, 1.0]], [2.0])
    >>> gf.tangent_projection(problem, [2.0, 0.0], [1.0, 0.0]).v
    array([ 0.5, -0.5])
    """
    as_problem(problem)
    require_minimiser(problem)
    point = as_vector("w", w, problem.num_params)
    vector = as_vector("v", v, problem.num_params)
    name, budget, _ = as_curvature(curvature)
    threshold = as_rtol_rank(rtol_rank, problem)
    if as_flag("land", land):
        chosen = core.tangent_curvature_of(problem._core, name, budget, point)
        point, _ = core.pull_back(problem._core, point, chosen, budget, threshold)
    return project(problem, point, vector, name, budget, threshold)


def project(
    problem: Problem, w: FloatArray, v: FloatArray, curvature: str, budget: float, rtol_rank: float
) -> TangentProjection:
    """Project `v`, and refuse points that are not on the manifold or whose rank cannot be decided."""
    chosen = core.tangent_curvature_of(problem._core, curvature, budget, w)
    projected, spectrum, stats, distance, slope = core.tangent_projection(
        problem._core, w, v, chosen, budget, rtol_rank
    )
    require_on_manifold(problem, w, distance, slope, spectrum)
    if rtol_rank == 0.0 and spectrum["rank"] > 0 and spectrum["gap"] < CLEAR_GAP:
        raise NoTangentSpace(
            "the rank of the Hessian at w cannot be decided: its smallest eigenvalue that counts as "
            f"non-zero, {spectrum['eta']:.3g}, is only {spectrum['gap']:.2g} times the next, and the "
            f"largest is {spectrum['largest']:.3g}; set rtol_rank"
        )
    return TangentProjection(
        v=projected,
        rank=spectrum["rank"] if spectrum["rank"] >= 0 else None,
        eta=spectrum["eta"],
        largest=spectrum["largest"],
        gap=spectrum["gap"],
        distance=distance,
        curvature=chosen,
        stats=stats,
        w=w,
    )


def require_on_manifold(
    problem: Problem, w: FloatArray, distance: float, slope: float, spectrum: dict[str, float]
) -> None:
    """Raise NoTangentSpace if `w` is not a critical point of F up to a small error, or if it is a saddle."""
    norm = length(w)
    offset = max(distance, slope / spectrum["largest"] if spectrum["largest"] > 0 else math.inf * slope)
    if slope > 0 and not offset <= ON_MANIFOLD * norm:
        residual = f", ||r|| = {length(problem._core.residual(w)):.3g}" if problem.num_residuals else ""
        raise NoTangentSpace(
            f"w is not on the manifold of minimisers: its distance is about {offset:.3g} (||w|| = {norm:.3g}"
            f"{residual}, ||grad F|| = {slope:.3g}); land first: w = gf.limit_map(problem, w).w, or "
            f"land=True where it is close{UNFITTED if problem.is_piecewise else ''}"
        )
    if spectrum["num_negative"] > 0:
        raise NoTangentSpace(
            f"w is a saddle of F: {spectrum['num_negative']} eigenvalues of its Hessian are negative; "
            "start from a minimiser, e.g. gf.limit_map(problem, w + noise).w"
        )


def require_kernel_space(problem: Problem, curvature: str) -> None:
    """Raise ValueError if the drift of `problem` slides along kinks and `curvature` cannot tell how."""
    if problem.is_piecewise and curvature not in ("auto", "gram"):
        raise ValueError(
            f"curvature is {curvature!r}, but the activation of this network has a kink: how its drift "
            "slides along data points is known in kernel space alone; choose 'gram' or 'auto'"
        )


def require_minimiser(problem: Problem) -> None:
    """Raise ValueError if the loss of `problem` is known to have no minimiser at finite weights."""
    if not problem.attained:
        raise ValueError(
            "the loss has no minimiser at finite weights, for its labels are certain: the flow has no limit, "
            "and no drift follows it. Leave the labels some doubt (label_smoothing=), or take "
            "loss='squares'. What there is instead, the margin and the direction w / |w| over log t, is what "
            "gradient_flow observes"
        )


def length(v: FloatArray) -> float:
    """Return ``||v||``, without overflow."""
    largest = float(np.max(np.abs(v)))
    return largest * float(np.linalg.norm(v / largest)) if 0.0 < largest < math.inf else largest


def as_rtol_rank(rtol_rank: object, problem: Problem) -> float:
    """Return the threshold, 0 for the default one: that of double precision."""
    if rtol_rank is None:
        return problem._finest
    threshold = as_positive("rtol_rank", rtol_rank)
    if threshold >= 1.0:
        raise ValueError(f"rtol_rank is {threshold}; it must be below 1, relative to the largest eigenvalue")
    return threshold
