"""Newton's method on the manifold of minimisers: a point of it, and where R falls from there."""

from __future__ import annotations

import math

import numpy as np

from grokflow._backend import core
from grokflow._validate import FloatArray
from grokflow.limit.tangent import length

DIFFERENCE = 1e-6  # of weights, relative, over which second derivatives are taken
RETURN = 30  # steps of Newton's method back to the manifold
FORCING = 0.1  # by which conjugate gradients reduce the gradient, at most
WIDEST = 0.5  # of ||w||, the radius within which the quadratic model is trusted, at most
ROUND_OFF = 1e-13  # of R, below which its changes say nothing
LANCZOS = 60  # products that look for a negative eigenvalue
OWN = 0x6D696E  # a seed that no data are drawn by


class Place:
    """A point, its tangent space, and R there; on a piece, of the surfaces that are slid on."""

    def __init__(
        self, problem: core.Problem, w: FloatArray, regularizer: core.Regularizer, rtol_rank: float
    ) -> None:
        self.w, self.residual = w, problem.residual(w)
        self._problem, self._lin = problem, problem.linearize(w)
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
        v = core.along_surfaces(self._problem, v)
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

    def __init__(self, problem: core.Problem, regularizer: core.Regularizer, rtol_rank: float) -> None:
        self._problem, self._regularizer, self._rtol_rank = problem, regularizer, rtol_rank
        self.steps = self.projections = 0

    def at(self, w: FloatArray) -> Place:
        """Return the place at `w`."""
        self.projections += 1
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
        self.projections += 1
        return here.project((ahead - behind) / (2.0 * reach))

    def _pull(self, here: Place, step: FloatArray) -> FloatArray:
        """The gradient of the Lagrangian beside a place."""
        beside = here.w + step
        slope: FloatArray = self._regularizer.evaluate(beside)[1]
        return slope + self._problem.linearize(beside).vjp(here.multipliers)

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

    def run(self, here: Place, tol: float, max_steps: int) -> Place:
        """Descend to a KKT point."""
        radius, widest = 0.1 * length(here.w), WIDEST * length(here.w)
        while here.stationarity > tol and self.steps < max_steps:
            self.steps += 1
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
        return here

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
