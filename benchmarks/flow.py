"""What a user hands to a general ODE solver: the right-hand side and its derivatives, counted and timed."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from scipy.linalg import cho_factor, cho_solve


class LimitReached(Exception):
    """The time allowed for one run is over."""


@dataclass
class Run:
    """One run of one solver: ``w`` on the problem's grid (or its head), and what it cost."""

    solver: str
    status: str = "ok"  # ok, limit, memory, failed, extrapolated
    seconds: float = np.nan
    nfev: float = 0
    steps: float = 0
    work: dict = field(default_factory=dict)
    error: float = np.nan
    note: str = ""
    w: np.ndarray | None = None

    def record(self):
        """What goes into a JSON file."""
        return {key: value for key, value in vars(self).items() if key != "w"}


class Flow:
    """dw/dt = -grad F(w) - lam w. Counts every call, and raises LimitReached after ``limit`` CPU seconds."""

    def __init__(self, problem, limit):
        self.problem, self.lam = problem, problem.weight_decay
        self.counts = Counter()
        self.deadline = time.process_time() + limit
        self.last, self.last_t = None, None

    def count(self, what):
        self.counts[what] += 1
        if time.process_time() > self.deadline:
            raise LimitReached

    def point(self, w):
        """The model at w; the tanh of the last right-hand side are used again when w has not changed."""
        if self.last is None or not np.array_equal(self.last.w, w):
            self.last = self.problem.at(w.copy())
        return self.last

    def rhs(self, t, w):
        self.count("gradients")
        if t != self.last_t:
            self.counts["times"] += 1
            self.last_t = t
        self.last = self.problem.at(w.copy())
        return -self.last.gradient() - self.lam * w

    def jacobian(self, t, w):
        self.count("H")
        J = self.point(w).hessian()
        np.negative(J, out=J)
        J.flat[:: J.shape[0] + 1] -= self.lam
        return J

    def jacobian_times(self, point, v):
        self.count("hvp")
        return -point.hvp(v) - self.lam * v


class GaussNewton:
    """(I + gamma (lam I + c J^T J))^-1 in kernel space, by a Cholesky factorisation of n x n (Woodbury)."""

    def __init__(self, flow):
        self.flow = flow

    def linearize(self, w):
        self.flow.count("K")
        self.point = self.flow.point(w)
        self.K = self.point.gram()

    def factor(self, gamma):
        self.flow.count("chol")
        self.alpha = 1 + gamma * self.flow.lam
        A = self.K.copy()
        A.flat[:: A.shape[0] + 1] += self.alpha * self.flow.problem.n / gamma
        self.chol = cho_factor(A, lower=True, overwrite_a=True, check_finite=False)

    def solve(self, v):
        self.flow.count("psolve")
        q = cho_solve(self.chol, self.point.jvp(v), overwrite_b=True, check_finite=False)
        return (v - self.point.vjp(q)) / self.alpha
