"""The two-layer tanh network, scaled so that its sharpness does not grow with the width."""

from __future__ import annotations

import numpy as np

from benchmarks.models import Point, Problem


class Tanh(Problem):
    """f(x) = sum_j u_j tanh(<v_j, x> + b_j) / sqrt(width) + a, with a small teacher; w = [u, V, b, a]."""

    def __init__(self, name, n, inputs, width, weight_decay, t_end, seed=4):
        g = np.random.default_rng(seed)
        self.X = g.standard_normal((n, inputs))
        g.standard_normal((400, inputs))  # the test inputs come before the teacher in the stream of this seed
        A = g.standard_normal((3, inputs)) / np.sqrt(inputs) * 1.5
        self.y = np.tanh(self.X @ A.T + g.standard_normal(3)) @ np.array([1.0, -1.5, 1.0])
        g = np.random.default_rng(1000 + width)
        V, b = g.standard_normal((width, inputs)) / np.sqrt(inputs), g.standard_normal(width)
        w0 = np.concatenate([g.standard_normal(width), V.ravel(), b, [0.0]])
        self.width, self.s = width, 1 / np.sqrt(width)
        self.XX = self.X @ self.X.T + 1.0
        super().__init__(name, n, w0, weight_decay, t_end)

    def at(self, w):
        return TanhPoint(self, w)

    def split(self, w):
        m = self.width
        return w[:m], w[m : -m - 1].reshape(m, -1), w[-m - 1 : -1], w[-1]

    def model(self):
        import grokflow as gf

        return gf.models.TwoLayerNetwork(
            self.X, self.y, width=self.width, activation="tanh", output_bias=True, output_scale=self.s
        )


class TanhPoint(Point):
    def __init__(self, problem, w):
        super().__init__(problem, w)
        self.u, V, b, a = problem.split(w)
        Z = problem.X @ V.T
        Z += b
        self.A = np.tanh(Z, out=Z)
        self.r = problem.s * (self.A @ self.u) + a - problem.y
        self._B = None

    @property
    def B(self):
        """Sensitivity of the outputs to the inner activities, s u_j tanh'(z_ij)."""
        if self._B is None:
            self._B = np.square(self.A)
            np.subtract(1.0, self._B, out=self._B)
            self._B *= self.p.s * self.u
        return self._B

    def jvp(self, z):
        du, dV, db, da = self.p.split(z)
        dZ = self.p.X @ dV.T
        dZ += db
        return self.p.s * (self.A @ du) + np.einsum("ij,ij->i", self.B, dZ) + da

    def vjp(self, q):
        E = self.B * q[:, None]
        return np.concatenate([self.p.s * (q @ self.A), (E.T @ self.p.X).ravel(), E.sum(0), [q.sum()]])

    def gram(self):
        return self.p.XX * (self.B @ self.B.T) + self.p.s**2 * (self.A @ self.A.T) + 1.0

    def hvp(self, z):
        s, A, B, q = self.p.s, self.A, self.B, self.r / self.n
        du, dV, db, da = self.p.split(z)
        dZ = self.p.X @ dV.T
        dZ += db
        dq = (s * (A @ du) + np.einsum("ij,ij->i", B, dZ) + da) / self.n
        curved = -2.0 * q[:, None] * A * B  # q times the derivative of B by z
        slope = (s * q)[:, None] * (1.0 - A * A)
        E = B * dq[:, None] + curved * dZ + slope * du
        outer = s * (dq @ A) + np.einsum("ij,ij->j", slope, dZ)
        return np.concatenate([outer, (E.T @ self.p.X).ravel(), E.sum(0), [dq.sum()]])

    def inner(self):
        """The inputs with a 1 appended, and where (v_j, b_j), which multiply them, lie in w."""
        m, d = self.p.width, self.w.size
        at_V = m + np.arange(m * self.p.X.shape[1]).reshape(m, -1)
        at_b = np.arange(d - 1 - m, d - 1)[:, None]
        return np.hstack([self.p.X, np.ones((self.n, 1))]), np.hstack([at_V, at_b])

    def jacobian(self):
        X1, index = self.inner()
        J = np.ones((self.n, self.w.size))
        J[:, : self.p.width] = self.p.s * self.A
        J[:, index] = self.B[:, :, None] * X1[:, None, :]
        return J

    def hessian(self):
        q, J, neuron = self.r / self.n, self.jacobian(), np.arange(self.p.width)
        X1, index = self.inner()
        H = J.T @ (J / self.n)
        curved = -2.0 * q[:, None] * self.A * self.B
        H[index[:, :, None], index[:, None, :]] += np.einsum("ij,ip,iq->jpq", curved, X1, X1, optimize=True)
        cross = ((self.p.s * q)[:, None] * (1.0 - self.A * self.A)).T @ X1
        H[index, neuron[:, None]] += cross
        H[neuron[:, None], index] += cross
        return H
