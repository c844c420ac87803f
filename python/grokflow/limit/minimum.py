"""Where the slow phase ends: the point of least norm on the manifold of minimisers, by Newton's method."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._options import COUNT, Request
from grokflow._validate import FloatArray, as_count, as_positive, as_vector
from grokflow.limit.descent import Descent, Place
from grokflow.limit.drift import drift
from grokflow.limit.tangent import ON_MANIFOLD, as_rtol_rank, length, require_minimiser
from grokflow.problems import Problem, as_problem
from grokflow.regularizers import Regularization, as_regularizer, is_l1

RANK = 1e-12  # an eigenvalue of K that counts as zero, over the largest
ROUGH = 1e-3  # tolerance of the drift that leads near its end,
NEAR = tuple(10.0**-k for k in range(2, 8))  # by this ||P grad R|| / ||grad R||, the next at a kink between,
LATEST = 30.0  # or by this slow time,
LATEST_KINKS = 1e4  # and by this one where kinks make valleys flat
REST = 1e-6  # the same, of a KKT point, at most
NEGATIVE = 1e-6  # an eigenvalue below -NEGATIVE times the largest makes a saddle


@dataclass(frozen=True, eq=False)
class MinimumNorm:
    """A point of least R on the manifold of minimisers, returned by `minimum_norm`.

    Attributes
    ----------
    w : ndarray, shape (d,)
        The point.
    value : float
        R there.
    multipliers : ndarray, shape (n,)
        mu, with ``grad R + J^T mu = 0``.
    stationarity : float
        ``||P grad R|| / ||grad R||``: how well that holds.
    lowest : float
        The smallest eigenvalue of the Hessian of R on the manifold, ``P (Hess R + sum_i mu_i Hess r_i) P``,
        on the tangent space; inf where that is a point.
    status : str
        "minimum", "saddle" (`lowest` is negative), or "max_steps" where `stationarity` is above 1e-6.
    num_steps, num_projections : int
        Steps of Newton's method, and projections on the tangent space.
    """

    w: FloatArray
    value: float
    multipliers: FloatArray
    stationarity: float
    lowest: float
    status: str
    num_steps: int
    num_projections: int

    @property
    def success(self) -> bool:
        """Whether it is a minimum of R on the manifold, as far as second derivatives tell."""
        return self.status == "minimum"


def minimum_norm(
    problem: Problem,
    w: ArrayLike,
    *,
    regularizer: Regularization = "norm",
    tol: float = 1e-10,
    max_steps: int = 100,
    rtol_rank: float | None = None,
) -> MinimumNorm:
    """Find the KKT point of ``min R`` on the manifold of minimisers at which the drift from `w` ends.

    The drift leads near it, in rough steps, and Newton's method on the manifold goes to round-off, in kernel
    space: conjugate gradients in the tangent space within a radius that is trusted, and a way back to the
    manifold after each step.

    Parameters
    ----------
    problem : Problem
        One with residuals that vanish on the manifold.
    w : array_like, shape (d,)
        A point of it: ``limit_map(problem, w0).w``.
    regularizer : {"norm", "hessian_trace", "l1"}, mapping, Regularizer or L1, default "norm"
        R, as in :func:`norm_flow`.
    tol : float, default 1e-10
        Stop where ``||P grad R|| <= tol ||grad R||``, or where round-off ends the descent.
    max_steps : int, default 100
        The largest number of steps.
    rtol_rank : float, optional
        As in :func:`tangent_projection`; default 1e-12.

    Returns
    -------
    MinimumNorm
        Whether it is a minimum or a saddle of R on the manifold is told by second derivatives.

    Raises
    ------
    ValueError
        `w` is not on the manifold (its distance is told).
    TypeError, ValueError
        Other misuse, before any work.

    Notes
    -----
    Where there are kinks (a network of ReLUs, an l1 norm) Newton's method keeps to the surfaces on which the
    drift slides, and to its sides of the others. If it ends where that is not so, the drift goes on nearer to
    its end; if that does not help, as in a very flat valley, the result is where it has come to
    by s = 1e4, as "max_steps".

    Where KKT points fill a continuum, as the orbits of a factorisation, that of the drift is met but for the
    size of the last steps.

    References
    ----------
    Boursier, Pesme, Dragomir, arXiv:2505.20172, Props. 3 and 4. Absil, Mahony, Sepulchre, Optimization
    Algorithms on Matrix Manifolds, chapter 7.

    Examples
    --------
    >>> import grokflow as gf
    >>> problem = gf.models.LinearRegression([[1.0, 1.0]], [2.0])
    >>> gf.minimum_norm(problem, [2.0, 0.0]).w.round(12)
    array([1., 1.])
    """
    as_problem(problem)
    require_minimiser(problem)
    problem._require_residuals("residual")
    point = as_vector("w", w, problem.num_params)
    target, most = as_positive("tol", tol), as_count("max_steps", max_steps, COUNT)
    compiled = as_regularizer(regularizer, problem)
    rank = as_rtol_rank(rtol_rank, problem) or RANK
    has_kinks = problem.is_piecewise or is_l1(regularizer)
    here = Place(core.drifting_piece(problem._core, point, compiled), point, compiled, rank)
    if not (offset := length(here.normal_step())) <= ON_MANIFOLD * length(point):
        raise ValueError(
            f"w is not on the manifold of minimisers: its distance is about {offset:.3g} (||w|| = "
            f"{length(point):.3g}, ||r|| = {length(here.residual):.3g}); land first: w = "
            "gf.limit_map(problem, w).w"
        )
    latest = LATEST_KINKS if has_kinks else LATEST
    s, steps, projections = 0.0, 0, 0
    for near in NEAR:
        request = Request(t_span=(s, max(s, latest)), rtol=ROUGH, t_eval=[], observe=[])
        slow = drift(problem, point, request, regularizer, kkt_tol=near, rtol_rank=rtol_rank)
        s, point = slow.t_final, slow.final
        descent = Descent(core.drifting_piece(problem._core, point, compiled), compiled, rank)
        here = descent.run(descent.onto_manifold(point), target, most - steps)
        steps += descent.steps
        projections += descent.projections + int(slow.stats["nproject"])
        if not has_kinks:
            break
        piece = core.drifting_piece(problem._core, here.w, compiled)  # which need not be the one before
        if is_kkt(Place(piece, here.w, compiled, rank), target):
            break
    else:
        here = descent.at(point)
    lowest, largest = descent.lowest(here)
    status = "saddle" if lowest < -NEGATIVE * largest else "minimum"
    if not is_kkt(here, target):
        status = "max_steps"
    return MinimumNorm(
        here.w, here.value, here.multipliers, here.stationarity, lowest, status, steps, projections
    )


def is_kkt(here: Place, tol: float) -> bool:
    """Whether a place is on the manifold, and R does not fall from there."""
    on_manifold = length(here.normal_step()) <= ON_MANIFOLD * length(here.w)
    return on_manifold and here.stationarity <= max(tol, REST)
