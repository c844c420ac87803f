"""The linear and the diagonal problem, in NumPy, as a user of a general ODE solver would write them.

Each is a flow dw/dt = -grad F(w) - lam w with F(w) = ||r(w)||^2 / (2 n). ``problem.at(w)`` freezes a point
and offers ``gradient``, ``hvp``, ``hessian``, ``jacobian`` and the pieces of the Gauss-Newton preconditioner
(``jvp``, ``vjp``, ``gram``), so that one evaluation of the model serves them all. ``problem.model()`` is the
same problem in grokflow, with the same layout of w.
"""

from __future__ import annotations

import numpy as np


class Problem:
    """n residuals, d weights that start at w0, and the output ``grid``, logarithmic up to ``t_end``."""

    tight = 1e-13  # rtol of the reference, if that is CVODE's

    def __init__(self, name, n, w0, weight_decay, t_end):
        self.name, self.n, self.w0, self.d = name, n, w0, w0.size
        self.weight_decay, self.t_end = float(weight_decay), float(t_end)
        self.grid = np.concatenate([[0.0], np.logspace(-2, np.log10(t_end), 80)])
        self.grid[-1] = t_end

    def loss(self, w):
        r = self.at(w).r
        return 0.5 * (r @ r) / self.n


class Point:
    """The model at one w: the residual ``r`` and all its derivatives."""

    def __init__(self, problem, w):
        self.p, self.n, self.w = problem, problem.n, w

    def gradient(self):
        return self.vjp(self.r / self.n)


class Linear(Problem):
    """Linear regression with more weights than samples: r = X w - y."""

    def __init__(self, name, n, d, weight_decay, t_end, seed=0):
        g = np.random.default_rng(seed)
        self.X = g.standard_normal((n, d))
        self.y = self.X @ (g.standard_normal(d) / np.sqrt(d))
        g.standard_normal((200, d))  # the test inputs come before w0 in the stream of this seed
        super().__init__(name, n, g.standard_normal(d), weight_decay, t_end)
        self.H, self.K = self.X.T @ self.X / n, self.X @ self.X.T

    def at(self, w):
        return LinearPoint(self, w)

    def model(self):
        import grokflow as gf

        return gf.models.LinearRegression(self.X, self.y)

    def exact(self):
        """The flow in closed form: one exponential per right singular vector of X."""
        U, s, Vt = np.linalg.svd(self.X, full_matrices=False)
        rate, start = s**2 / self.n, Vt @ self.w0
        rest = (s * (U.T @ self.y) / self.n) / (rate + self.weight_decay)
        t = self.grid[:, None]
        inside = rest + (start - rest) * np.exp(-(rate + self.weight_decay) * t)
        return np.exp(-self.weight_decay * t) * (self.w0 - Vt.T @ start) + inside @ Vt


class LinearPoint(Point):
    def __init__(self, problem, w):
        super().__init__(problem, w)
        self.r = problem.X @ w - problem.y

    def jvp(self, v):
        return self.p.X @ v

    def vjp(self, u):
        return self.p.X.T @ u

    def gram(self):
        return self.p.K

    def jacobian(self):
        return self.p.X

    def hvp(self, v):
        return self.vjp(self.jvp(v) / self.n)

    def hessian(self):
        return self.p.H.copy()


class Diagonal(Problem):
    """Diagonal linear network, r = P (u * v) - y, taught by a sparse Fourier series; w = [u, v]."""

    def __init__(self, name, n, features, weight_decay, t_end, sparsity=5, seed=1):
        g = np.random.default_rng(seed)
        x = g.uniform(0, 1, n)
        k = np.arange(features)
        phase = 2 * np.pi * np.outer(x, (k + 1) // 2)  # 1, cos x, sin x, cos 2x, ...
        self.P = np.where(k == 0, 1.0, np.sqrt(2) * np.where(k % 2 == 1, np.cos(phase), np.sin(phase)))
        teacher = np.zeros(features)
        values = g.choice([-1.0, 1.0], sparsity) * g.uniform(0.5, 1.5, sparsity)
        teacher[g.choice(features, sparsity, replace=False)] = values
        self.y = self.P @ teacher
        super().__init__(name, n, np.sqrt(0.1) * g.standard_normal(2 * features), weight_decay, t_end)

    def at(self, w):
        return DiagonalPoint(self, w)

    def model(self):
        import grokflow as gf

        return gf.models.DiagonalLinearNetwork(self.P, self.y)


class DiagonalPoint(Point):
    def __init__(self, problem, w):
        super().__init__(problem, w)
        self.u, self.v = np.split(w, 2)
        self.r = problem.P @ (self.u * self.v) - problem.y
        self.g = problem.P.T @ (self.r / self.n)

    def gradient(self):
        return np.concatenate([self.g * self.v, self.g * self.u])

    def jvp(self, z):
        du, dv = np.split(z, 2)
        return self.p.P @ (self.u * dv + self.v * du)

    def vjp(self, q):
        g = self.p.P.T @ q
        return np.concatenate([g * self.v, g * self.u])

    def gram(self):
        return (self.p.P * (self.u**2 + self.v**2)) @ self.p.P.T

    def hvp(self, z):
        du, dv = np.split(z, 2)
        return self.vjp(self.jvp(z) / self.n) + np.concatenate([self.g * dv, self.g * du])

    def jacobian(self):
        return np.hstack([self.p.P * self.v, self.p.P * self.u])

    def hessian(self):
        J = self.jacobian()
        H, k = J.T @ (J / self.n), np.arange(self.g.size)
        H[k, k + k.size] += self.g
        H[k + k.size, k] += self.g
        return H
