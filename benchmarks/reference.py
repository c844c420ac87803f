"""Reference trajectories, kept in ``.cache`` beside this file, and the error of a run against them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from benchmarks.flow import Flow
from benchmarks.solvers import PEERS

CACHE = Path(__file__).parent / ".cache"


@dataclass
class Reference:
    w: np.ndarray  # (T, d), on the problem's grid
    how: str
    sharpness: float  # the largest eigenvalue of Hess F + lam I along the path

    def error(self, w):
        """The largest error of any weight at any time (of those reached), relative to the largest weight."""
        return float(np.abs(w - self.w[: len(w)]).max() / np.abs(self.w).max())


def reference(problem):
    """Read the reference from the cache, or compute it, which takes seconds (a minute for the largest)."""
    path = CACHE / f"{problem.name}-{problem.weight_decay:g}.npz"
    if path.exists():
        with np.load(path) as kept:
            return Reference(kept["w"], str(kept["how"]), float(kept["sharpness"]))
    w, how = compute(problem)
    found = Reference(w, how, max(sharpness(problem, w_t) for w_t in w[::8]))
    CACHE.mkdir(exist_ok=True)
    np.savez(path, w=found.w, how=found.how, sharpness=found.sharpness)
    return found


def compute(problem):
    if hasattr(problem, "exact"):
        return problem.exact(), "closed form"
    solver, rtol = ("SciPy Radau", 1e-11) if problem.d <= 700 else ("CVODE GMRES+GN(K)", problem.tight)
    w, _, _ = PEERS[solver](problem, rtol, rtol * 1e-2, Flow(problem, np.inf))
    return w, f"{solver} at rtol={rtol:g}"


def sharpness(problem, w):
    hvp = LinearOperator((problem.d, problem.d), matvec=problem.at(w).hvp, dtype=float)
    start = np.random.default_rng(0).standard_normal(problem.d)
    top = eigsh(hvp, k=1, which="LA", tol=1e-3, v0=start, return_eigenvectors=False)
    return float(top[0]) + problem.weight_decay
