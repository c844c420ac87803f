"""The drift dw/ds = -P(w) w on the manifold of minimisers: grokflow, and a careful user with SciPy."""

from __future__ import annotations

import time
from dataclasses import dataclass

import grokflow as gf
import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import cho_factor, cho_solve, lstsq

from benchmarks.problems import make
from benchmarks.reference import CACHE

S_END = 10.0
GRID = np.concatenate([[0.0], np.geomspace(1e-2, S_END, 43)])  # 14 points a decade
SECONDS = 0.5  # in which a run is repeated, for the fastest to count


@dataclass
class Run:
    """One drift on the grid: what it cost, and how far off it was."""

    solver: str
    seconds: float
    projections: int
    error: float
    residual: float  # the largest ||r|| on the grid
    rtol: float


@dataclass
class Start:
    """A problem, its landing point, from which all drifts start, and the drift to many digits."""

    problem: object
    w: np.ndarray
    reference: np.ndarray  # (T, d) on the grid

    def run(self, solver, solve, rtol):
        """The fastest of the runs that fit into half a second (at least one)."""
        best, began = np.inf, time.process_time()
        while best == np.inf or time.process_time() - began < SECONDS:
            start = time.process_time()
            path, projections = solve(self, rtol)
            best = min(best, time.process_time() - start)
        error = np.abs(path - self.reference).max() / np.abs(self.reference).max()
        residual = max(float(np.linalg.norm(self.problem.at(w).r)) for w in path)
        return Run(solver, best, projections, float(error), residual, rtol)


def ours(start, rtol):
    sol = gf.norm_flow(
        start.problem.model(),
        start.w,
        (0.0, S_END),
        rtol=rtol,
        atol=1e-3 * rtol,
        t_eval=GRID,
        observe=[],
    )
    return sol.w, sol.stats["nproject"]


def by_kernel(point):
    """J^+ J w by a Cholesky factorisation of K = J J^T, in the closed form that the model's structure has."""
    chol = cho_factor(point.gram(), lower=True, overwrite_a=True, check_finite=False)
    return point.vjp(cho_solve(chol, point.jvp(point.w), overwrite_b=True, check_finite=False))


def by_cholesky(point):
    """The same with J written out."""
    J = point.jacobian()
    return J.T @ cho_solve(cho_factor(J @ J.T, lower=True), J @ point.w)


def by_lstsq(point):
    """J^+ J w as the solution of least norm."""
    J = point.jacobian()
    return lstsq(J, J @ point.w, lapack_driver="gelsy", check_finite=False)[0]


def scipy(normal_part, method="RK45"):
    def solve(start, rtol):
        def field(s, w):
            return normal_part(start.problem.at(w)) - w

        sol = solve_ivp(field, (0.0, S_END), start.w, method, GRID, rtol=rtol, atol=1e-3 * rtol)
        return sol.y.T, sol.nfev

    return solve


PEERS = {
    "RK45 kernel": scipy(by_kernel),
    "RK45 Cholesky": scipy(by_cholesky),
    "RK45 lstsq": scipy(by_lstsq),
}


def begin(name):
    """Land, and compute the reference: SciPy's DOP853 with a tight tolerance, kept in the cache."""
    problem, path = make(name), CACHE / f"{name}-drift.npz"
    if not path.exists():
        landing = gf.limit_map(problem.model(), problem.w0, rtol=1e-9, atol=1e-12, save_states=False)
        start = Start(problem, landing.w, np.empty(0))
        CACHE.mkdir(exist_ok=True)
        np.savez(path, w=landing.w, reference=scipy(by_kernel, "DOP853")(start, 1e-11)[0])
    with np.load(path) as kept:
        return Start(problem, kept["w"], kept["reference"])


def match(start, error):
    """grokflow at the loosest rtol, in quarter decades from 1e-4, with an error no larger than ``error``."""
    for rtol in 10.0 ** -np.arange(4.0, 10.0, 0.25):
        run = start.run("grokflow", ours, float(rtol))
        if run.error <= error:
            break
    return run
