"""A two-layer ReLU network in NumPy, as a user of a general ODE solver would write it."""

from __future__ import annotations

import numpy as np

from benchmarks.models import Point, Problem


class Relu(Problem):
    """f(x) = sum_j u_j max(<v_j, x> + b_j, 0) and a teacher of three neurons; w = [u, V, b].

    With one input the data are uniform in [-2, 2] and w0 has variance 4, as in the paper's Figure 3; with
    several they are Gaussian, and w0 is that of the library.
    """

    def __init__(self, name, n, inputs, width, weight_decay, t_end, seed=3):
        g = np.random.default_rng(seed)
        if inputs == 1:
            X = np.sort(g.uniform(-2, 2, n))[:, None]
            A, c, u = np.array([[1.0], [-1.0], [1.0]]), np.array([0.5, 0.3, -0.7]), np.array([1.0, 1.0, -2.0])
            w0 = 2.0 * g.standard_normal(3 * width)
        else:
            X = g.standard_normal((n, inputs))
            A, c, u = g.standard_normal((3, inputs)), g.standard_normal(3), np.array([1.0, -1.5, 1.0])
            V = g.standard_normal(width * inputs) / np.sqrt(inputs)
            w0 = np.concatenate([g.standard_normal(width), V, g.standard_normal(width)])
        self.X, self.X1, self.width = X, np.hstack([X, np.ones((n, 1))]), width
        self.y = np.maximum(X @ A.T + c, 0) @ u
        super().__init__(name, n, w0, weight_decay, t_end)

    def at(self, w):
        return ReluPoint(self, w)

    def split(self, w):
        m = self.width
        return w[:m], w[m:-m].reshape(m, -1), w[-m:]

    def model(self):
        import grokflow as gf

        return gf.models.TwoLayerNetwork(self.X, self.y, width=self.width, activation="relu")


class ReluPoint(Point):
    """Where a pre-activation is 0 its neuron counts as off."""

    def __init__(self, problem, w):
        super().__init__(problem, w)
        self.u, V, b = problem.split(w)
        Z = problem.X @ V.T + b
        self.on = Z > 0
        self.A = Z * self.on
        self.B = self.on * self.u
        self.r = self.A @ self.u - problem.y

    def inner(self, z):
        _, dV, db = self.p.split(z)
        return (self.p.X @ dV.T + db) * self.on

    def jvp(self, z):
        return self.A @ z[: self.p.width] + self.inner(z) @ self.u

    def vjp(self, q):
        E = self.B * q[:, None]
        return np.concatenate([q @ self.A, (E.T @ self.p.X).ravel(), E.sum(0)])

    def gram(self):
        return self.A @ self.A.T + (self.B @ self.B.T) * (self.p.X1 @ self.p.X1.T)

    def hvp(self, z):
        q = self.r / self.n
        E = (self.on * z[: self.p.width]) * q[:, None]
        across = np.concatenate([q @ self.inner(z), (E.T @ self.p.X).ravel(), E.sum(0)])
        return self.vjp(self.jvp(z) / self.n) + across

    def hessian(self):
        m, d = self.p.width, self.w.size
        neuron = np.arange(m)
        index = np.hstack([m + np.arange(d - 2 * m).reshape(m, -1), (d - m + neuron)[:, None]])
        J = np.empty((self.n, d))
        J[:, :m] = self.A
        J[:, index] = self.B[:, :, None] * self.p.X1[:, None, :]
        H = J.T @ (J / self.n)
        across = (self.on * (self.r / self.n)[:, None]).T @ self.p.X1
        H[index, neuron[:, None]] += across
        H[neuron[:, None], index] += across
        return H
