"""Problems from functions of one's own, in plain NumPy: matrices are formed, products follow."""

import numpy as np

from reference.observe import named


class LeastSquares:
    def __init__(self, *, residual, jvp=None, vjp=None, num_params, num_residuals, jacobian=None, gram=None,
                 hvp=None, scale="mean", parameters=None):  # fmt: skip
        self.num_params, self.num_residuals = num_params, num_residuals
        self.scale = {"mean": 1.0 / num_residuals, "sum": 1.0}[scale] if isinstance(scale, str) else scale
        self._residual = residual
        self._jvp, self._vjp, self._jacobian, self._gram, self._hvp = jvp, vjp, jacobian, gram, hvp
        self._parameters = parameters or {"w": num_params}

    def residual(self, w):
        return np.array(self._residual(w), dtype=float)

    def jacobian(self, w):
        if self._jacobian:
            return np.array(self._jacobian(w), dtype=float)
        return np.array([self.vjp(w, e) for e in np.eye(self.num_residuals)])

    def jvp(self, w, v):
        return np.array(self._jvp(w, v), dtype=float) if self._jvp else self.jacobian(w) @ v

    def vjp(self, w, u):
        return np.array(self._vjp(w, u), dtype=float) if self._vjp else self.jacobian(w).T @ u

    def gram(self, w):
        if self._gram:
            return np.array(self._gram(w), dtype=float)
        return np.array([self.jvp(w, self.vjp(w, e)) for e in np.eye(self.num_residuals)])

    def loss(self, w):
        return 0.5 * self.scale * np.sum(self.residual(w) ** 2)

    def gradient(self, w):
        return self.scale * self.vjp(w, self.residual(w))

    def hvp(self, w, v):
        return np.array(self._hvp(w, v), dtype=float)

    def hessian(self, w):
        return np.array([self.hvp(w, e) for e in np.eye(self.num_params)])

    def quantity(self, name, w):
        return named(self, name)(0.0, w)

    def unflatten(self, w):
        return _unflatten(self._parameters, w)


class Objective:
    def __init__(self, *, loss, gradient, num_params, hvp=None, hessian=None, parameters=None):
        self.num_params, self.num_residuals, self.scale = num_params, 0, 1.0
        self._loss, self._gradient = loss, gradient
        self._hvp, self._hessian = hvp, hessian
        self._parameters = parameters or {"w": num_params}

    def loss(self, w):
        return float(self._loss(w))

    def gradient(self, w):
        return np.array(self._gradient(w), dtype=float)

    def hvp(self, w, v):
        return np.array(self._hvp(w, v), dtype=float)

    def hessian(self, w):
        if self._hessian:
            return np.array(self._hessian(w), dtype=float)
        return np.array([self.hvp(w, e) for e in np.eye(self.num_params)])

    def quantity(self, name, w):
        return named(self, name)(0.0, w)

    def unflatten(self, w):
        return _unflatten(self._parameters, w)


def _unflatten(parameters, w):
    parts, begin = {}, 0
    for name, shape in parameters.items():
        size = int(np.prod(shape))
        parts[name] = w[begin : begin + size].reshape(shape)
        begin += size
    return parts
