"""Where the slow phase ends: the point of least norm on the manifold of minimisers, by Newton's method."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._options import COUNT
from grokflow._validate import FloatArray, as_count, as_positive, as_vector
from grokflow.limit.tangent import ON_MANIFOLD, as_rtol_rank, length, require_minimiser
from grokflow.problems import Problem, as_problem
from grokflow.regularizers import Regularization, as_regularizer, is_l1

DIFFERENCE = 1e-6  # of weights, relative, over which second derivatives are taken
RANK = 1e-12  # an eigenvalue of K that counts as zero, over the largest
RETURN = 30  # steps of Newton's method back to the manifold
FORCING = 0.1  # by which conjugate gradients reduce the gradient, at most
WIDEST = 0.5  # of ||w||, the radius within which the quadratic model is trusted, at most
ROUND_OFF = 1e-13  # of R, below which its changes say nothing
LANCZOS = 60  # products that look for a negative eigenvalue
OWN = 0x6D696E  # a seed that no data are drawn by
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
        "minimum", "saddle" (`lowest` is negative), or "max_steps".
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
    """Find the KKT point of ``min R`` on the manifold of minimisers downhill from `w`: where a drift ends.

    Newton's method on the manifold, in kernel space: conjugate gradients in the tangent space within a radius
    that is trusted, and a way back to the manifold after each step.

    Parameters
    ----------
    problem : Problem
        One with residuals that vanish on the manifold.
    w : array_like, shape (d,)
        A point of it: ``limit_map(problem, w0).w``.
    regularizer : "norm", mapping or Regularizer, default "norm"
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
    Newton's method goes downhill, but not along the drift: where R has several minima on the manifold the two
    may end at different ones.

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
    if is_l1(regularizer):
        raise ValueError(
            "regularizer is an l1 norm, which has kinks: Newton's method takes smooth ones; its drift, "
            "norm_flow, ends at the minimum exactly"
        )
    descent = Descent(problem, compiled, as_rtol_rank(rtol_rank, problem) or RANK)
    here = descent.at(point)
    offset = length(here.normal_step())
    if not offset <= ON_MANIFOLD * length(point):
        raise ValueError(
            f"w is not on the manifold of minimisers: its distance is about {offset:.3g} (||w|| = "
            f"{length(point):.3g}, ||r|| = {length(here.residual):.3g}); land first: w = "
            "gf.limit_map(problem, w).w"
        )
    return descent.run(descent.onto_manifold(point), target, most)


class Place:
    """A point, its tangent space, and R there."""

    def __init__(
        self, problem: Problem, w: FloatArray, regularizer: core.Regularizer, rtol_rank: float
    ) -> None:
        self.w, self.residual = w, problem._core.residual(w)
        self._lin = problem._core.linearize(w)
        values, vectors = np.linalg.eigh(self._lin.gram())
        kept = values > rtol_rank * max(values[-1], 0.0)
        self._values, self._vectors = values[kept], vectors[:, kept]
        self.value, self.slope = regularizer.evaluate(w)
        self.multipliers = -self._solve(self._lin.jvp(self.slope))
        self.gradient = self.project(self.slope)

    def _solve(self, u: FloatArray) -> FloatArray:
        """Return ``K^+ u``."""
        return np.asarray(self._vectors @ ((self._vectors.T @ u) / self._values))

    def project(self, v: FloatArray) -> FloatArray:
        """Return P v, by two passes, as K squares the condition number."""
        for _ in range(2):
            v = v - self._lin.vjp(self._solve(self._lin.jvp(v)))
        return v

    def normal_step(self) -> FloatArray:
        """Return ``-J^+ r``."""
        return -self._lin.vjp(self._solve(self.residual))

    @property
    def stationarity(self) -> float:
        """``||P grad R|| / ||grad R||``."""
        whole = length(self.slope)
        return length(self.gradient) / whole if whole > 0.0 else 0.0


class Descent:
    """The method, and the work that it has done."""

    def __init__(self, problem: Problem, regularizer: core.Regularizer, rtol_rank: float) -> None:
        self._problem, self._regularizer, self._rtol_rank = problem, regularizer, rtol_rank
        self._projections = 0

    def at(self, w: FloatArray) -> Place:
        """Return the place at `w`."""
        self._projections += 1
        return Place(self._problem, w, self._regularizer, self._rtol_rank)

    def onto_manifold(self, w: FloatArray) -> Place:
        """Return the place on the manifold beside `w`, by Newton's method."""
        here, last = self.at(w), math.inf
        for _ in range(RETURN):
            step = here.normal_step()
            size = length(step)
            if not size < last or size <= 4e-16 * length(here.w):
                break
            here, last = self.at(here.w + step), size
        return here

    def hessian(self, here: Place, v: FloatArray) -> FloatArray:
        """Return ``P (Hess R + sum_i mu_i Hess r_i) v`` of a tangent vector, by differences along it."""
        size = length(v)
        if size == 0.0:
            return v
        reach = DIFFERENCE * max(length(here.w), 1e-100) / size
        ahead, behind = (self._pull(here, sign * reach * v) for sign in (1.0, -1.0))
        self._projections += 1
        return here.project((ahead - behind) / (2.0 * reach))

    def _pull(self, here: Place, step: FloatArray) -> FloatArray:
        """The gradient of the Lagrangian beside a place."""
        beside = here.w + step
        slope: FloatArray = self._regularizer.evaluate(beside)[1]
        return slope + self._problem._core.linearize(beside).vjp(here.multipliers)

    def step(self, here: Place, radius: float) -> tuple[FloatArray, float]:
        """Return Newton's step, ended by the radius or negative curvature, and the fall that it promises."""
        x, r = np.zeros_like(here.w), here.gradient
        p, promised = -r, 0.0
        start = length(r)
        target = start * min(FORCING, (start / max(length(here.slope), 1e-300)) ** 0.5)
        for _ in range(2 * here.w.size):
            Hp = self.hessian(here, p)
            curvature, square = float(p @ Hp), float(r @ r)
            alpha = square / curvature if curvature > 0.0 else math.inf
            if not curvature > 0.0 or length(x + alpha * p) >= radius:
                alpha = to_boundary(x, p, radius)
                promised += alpha * square - 0.5 * alpha**2 * curvature
                return x + alpha * p, promised
            x, r = x + alpha * p, r + alpha * Hp
            promised += 0.5 * alpha * square
            if length(r) <= target:
                break
            p = -r + float(r @ r) / square * p
        return x, promised

    def run(self, here: Place, tol: float, max_steps: int) -> MinimumNorm:
        """Descend to a KKT point."""
        radius, steps, widest = 0.1 * length(here.w), 0, WIDEST * length(here.w)
        while here.stationarity > tol and steps < max_steps:
            steps += 1
            move, promised = self.step(here, radius)
            there = self.onto_manifold(here.w + move)
            fall = here.value - there.value
            if promised <= ROUND_OFF * abs(here.value):  # R tells no more: the gradient does
                if there.stationarity >= here.stationarity:
                    break
                here = there
                continue
            ratio = fall / promised
            if ratio < 0.25 or not math.isfinite(ratio):
                radius = 0.25 * length(move)
            elif ratio > 0.75 and length(move) > 0.9 * radius:
                radius = min(2.0 * radius, widest)
            if ratio > 0.1:
                here = there
            elif radius < 1e-14 * length(here.w):
                break
        lowest, largest = self.lowest(here)
        status = "saddle" if lowest < -NEGATIVE * largest else "minimum"
        if here.stationarity > max(tol, 1e-6):
            status = "max_steps"
        return MinimumNorm(
            here.w, here.value, here.multipliers, here.stationarity, lowest, status, steps, self._projections
        )

    def lowest(self, here: Place) -> tuple[float, float]:
        """Return the smallest and the largest eigenvalue on the tangent space, by Lanczos' method."""
        v = here.project(np.random.default_rng(OWN).standard_normal(here.w.size))
        if length(v) <= 1e-8 * here.w.size**0.5:
            return math.inf, 0.0
        basis, diagonal, beside = [v / length(v)], [], []
        for _ in range(LANCZOS):
            u = self.hessian(here, basis[-1])
            diagonal.append(float(u @ basis[-1]))
            for _ in range(2):
                u = u - sum((float(u @ b) * b for b in basis), np.zeros_like(u))
            if length(u) <= 1e-8 * max(map(abs, diagonal)):
                break
            beside.append(length(u))
            basis.append(u / length(u))
        n = len(diagonal)
        values = np.linalg.eigvalsh(
            np.diag(diagonal) + np.diag(beside[: n - 1], 1) + np.diag(beside[: n - 1], -1)
        )
        return float(values[0]), float(np.abs(values).max())


def to_boundary(x: FloatArray, p: FloatArray, radius: float) -> float:
    """Return alpha > 0 with ``||x + alpha p|| = radius``."""
    a, b, c = float(p @ p), float(x @ p), float(x @ x) - radius**2
    return float((-b + math.sqrt(max(b * b - a * c, 0.0))) / a)
