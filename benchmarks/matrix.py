"""Matrix completion by two factors."""

from __future__ import annotations

import numpy as np

from benchmarks.models import Point, Problem


class Matrix(Problem):
    """Matrix completion, r = (U V^T - M) at some entries (half), M of low rank; w = [U, V], row-major."""

    def __init__(self, name, size, width, weight_decay, t_end, rank=3, seed=2, observed=None):
        g = np.random.default_rng(seed)
        self.M = g.standard_normal((size, rank)) @ g.standard_normal((rank, size))
        observed = np.sort(g.permutation(size * size)[: observed or size * size // 2])
        self.rows, self.cols = np.divmod(observed, size)
        self.mask = np.zeros((size, size))
        self.mask[self.rows, self.cols] = 1.0
        self.width, self.shape = width, (2, size, width)
        self.same_row = np.equal.outer(self.rows, self.rows)
        self.same_col = np.equal.outer(self.cols, self.cols)
        super().__init__(name, observed.size, g.standard_normal(2 * size * width), weight_decay, t_end)

    def at(self, w):
        return MatrixPoint(self, w)

    def model(self):
        import grokflow as gf

        values = self.M[self.rows, self.cols]
        return gf.models.MatrixCompletion(self.rows, self.cols, values, shape=self.M.shape, width=self.width)


class MatrixPoint(Point):
    def __init__(self, problem, w):
        super().__init__(problem, w)
        self.U, self.V = w.reshape(problem.shape)
        self.R = (self.U @ self.V.T - problem.M) * problem.mask
        self.G = self.R / self.n

    @property
    def r(self):
        return self.R[self.p.rows, self.p.cols]

    def gradient(self):
        return np.concatenate([(self.G @ self.V).ravel(), (self.G.T @ self.U).ravel()])

    def jvp(self, z):
        dU, dV = z.reshape(self.p.shape)
        return (dU @ self.V.T + self.U @ dV.T)[self.p.rows, self.p.cols]

    def vjp(self, q):
        Q = np.zeros_like(self.G)
        Q[self.p.rows, self.p.cols] = q
        return np.concatenate([(Q @ self.V).ravel(), (Q.T @ self.U).ravel()])

    def gram(self):
        rows, cols = self.p.rows, self.p.cols
        UU, VV = self.U @ self.U.T, self.V @ self.V.T
        return self.p.same_row * VV[np.ix_(cols, cols)] + self.p.same_col * UU[np.ix_(rows, rows)]

    def hvp(self, z):
        dU, dV = z.reshape(self.p.shape)
        dG = (dU @ self.V.T + self.U @ dV.T) * self.p.mask / self.n
        return np.concatenate([(dG @ self.V + self.G @ dV).ravel(), (dG.T @ self.U + self.G.T @ dU).ravel()])

    def jacobian(self):
        J = np.zeros((self.n, *self.p.shape))
        k = np.arange(self.n)
        J[k, 0, self.p.rows] = self.V[self.p.cols]
        J[k, 1, self.p.cols] = self.U[self.p.rows]
        return J.reshape(self.n, -1)

    def hessian(self):
        J = self.jacobian()
        H, half = J.T @ (J / self.n), self.w.size // 2
        B = np.kron(self.G, np.eye(self.p.width))
        H[:half, half:] += B
        H[half:, :half] += B.T
        return H
