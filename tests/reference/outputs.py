"""A model given by its outputs, with a loss on top: J, S and B are formed."""

import numpy as np

from reference.callbacks import _unflatten
from reference.losses import named
from reference.observe import named as observable


class OutputModel:
    def __init__(self, *, outputs, jvp, vjp, num_params, shape, targets, loss="squares", gram=None, hvp=None,
                 linearize=None, test=None, scale="mean", parameters=None):  # fmt: skip
        self.num_params, self.shape, self.targets, self.criterion = num_params, shape, targets, named(loss)
        count = self.criterion.terms(shape)
        self.scale = {"mean": 1.0 / count, "sum": 1.0}[scale] if isinstance(scale, str) else scale
        self._outputs, self._jvp, self._vjp, self._hvp = outputs, jvp, vjp, hvp
        self._test, self._given_scale = test, scale
        self.test_targets = None if test is None else test[1]
        self._parameters = parameters or {"w": num_params}

    def outputs(self, w):
        return np.array(self._outputs(w), dtype=float)

    def test_outputs(self, w):
        return np.array(self._test[0](w), dtype=float)

    def output_jacobian(self, w):
        """Return df/dw, shape (n, k, d)."""
        columns = [np.reshape(self._jvp(w, e), (self.shape[0], -1)) for e in np.eye(self.num_params)]
        return np.stack(columns, axis=-1)

    def factor(self, w):
        return self.criterion.factor(self.outputs(w).reshape(self.shape[0], -1), self.targets)

    def residual(self, w):
        return self.factor(w)[0].ravel()

    def jacobian(self, w):
        J, B = self.output_jacobian(w), self.factor(w)[1]
        return np.einsum("ikq,ikd->iqd", B, J).reshape(-1, self.num_params)

    def jvp(self, w, v):
        return self.jacobian(w) @ v

    def vjp(self, w, u):
        return self.jacobian(w).T @ u

    def gram(self, w):
        return self.jacobian(w) @ self.jacobian(w).T

    def loss(self, w):
        return self.scale * self.criterion.value(self.outputs(w).reshape(self.shape[0], -1), self.targets)

    def gradient(self, w):
        g = self.criterion.gradient(self.outputs(w).reshape(self.shape[0], -1), self.targets)
        return self.scale * np.einsum("ikd,ik->d", self.output_jacobian(w), g)

    def hvp(self, w, v):
        """Return a central difference of the gradient."""
        h = 1e-5
        return (self.gradient(w + h * v) - self.gradient(w - h * v)) / (2 * h)

    def hessian(self, w):
        return np.array([self.hvp(w, e) for e in np.eye(self.num_params)])

    def test_loss(self, w):
        f = self.test_outputs(w)
        count = self.criterion.terms(f.shape)
        scale = {"mean": 1.0 / count, "sum": 1.0, "samples": 1.0 / len(f)}.get(
            self._given_scale, self._given_scale
        )
        return scale * self.criterion.value(f.reshape(len(f), -1), self._test[1])

    def quantity(self, name, w):
        return self.test_loss(w) if name == "test_loss" else observable(self, name)(0.0, w)

    def unflatten(self, w):
        return _unflatten(self._parameters, w)
