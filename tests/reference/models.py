"""The models, with every derivative formed as a full array."""

import math
from itertools import pairwise

import numpy as np

from reference.losses import CrossEntropy, named

GAUSS = 1 / math.sqrt(2 * math.pi)


def activation(name, z, parameter=0.0):
    """Return act(z), act'(z) and act''(z); the parameter is that of leaky_relu or smooth_relu."""
    z = np.asarray(z, dtype=float)
    if name == "tanh":
        a = np.tanh(z)
        return a, 1 - a**2, -2 * a * (1 - a**2)
    if name == "erf":
        a1 = 2 / math.sqrt(math.pi) * np.exp(-(z**2))
        return np.vectorize(math.erf)(z), a1, -2 * z * a1
    if name == "softplus":
        a1 = np.exp(-np.logaddexp(0, -z))
        return np.logaddexp(0, z), a1, a1 * np.exp(-np.logaddexp(0, z))
    if name == "gelu":
        Phi, phi = 0.5 * np.vectorize(math.erfc)(-z / math.sqrt(2)), GAUSS * np.exp(-(z**2) / 2)
        return z * Phi, Phi + z * phi, (2 - z**2) * phi
    if name == "sigmoid":
        a, other = np.exp(-np.logaddexp(0, -z)), np.exp(-np.logaddexp(0, z))
        return a, a * other, a * other * (other - a)
    if name == "quadratic":
        return z**2, 2 * z, 2 * np.ones_like(z)
    if name == "polynomial":
        p = np.polynomial.Polynomial(parameter)
        return p(z), p.deriv()(z), p.deriv(2)(z)
    if name == "identity":
        return z, np.ones_like(z), np.zeros_like(z)
    if name == "smooth_relu":
        a, a1, a2 = activation("softplus", z / parameter)
        return parameter * a, a1, a2 / parameter
    if name in ("relu", "leaky_relu", "abs"):
        below = {"relu": 0.0, "leaky_relu": parameter, "abs": -1.0}[name]
        return np.where(z > 0, z, below * z), np.where(z > 0, 1.0, below), np.zeros_like(z)
    raise ValueError(name)


def parameter_of(name, negative_slope, smoothing, coefficients):
    """Return what an activation of that name carries."""
    given = {"leaky_relu": negative_slope, "smooth_relu": smoothing, "polynomial": coefficients}.get(name)
    return 0.01 if given is None else given


def output_shape(targets, loss):
    """Return the shape of the outputs that are fitted to these targets."""
    if isinstance(named(loss), CrossEntropy) and np.ndim(targets) == 1:
        return len(targets), max(targets) + 1
    return np.shape(targets)


class Model:
    """A subclass gives `outputs`, its derivatives and `shapes`; all else follows from the definitions."""

    def __init__(self, shapes, std, targets, test, scale):
        ends = np.cumsum([math.prod(shape) for shape in shapes.values()]).tolist()
        self.blocks = {
            name: slice(end - math.prod(shape), end)
            for (name, shape), end in zip(shapes.items(), ends, strict=True)
        }
        self.num_params, self.num_residuals = ends[-1], np.size(targets)
        self.quantities = ("train_loss", "norm", "grad_norm") + ("test_loss",) * (test is not None)
        self._shapes, self._std, self._targets, self._test, self._given_scale = (
            shapes,
            std,
            np.ravel(targets),
            test,
            scale,
        )
        self._outputs = np.size(targets) // len(targets)
        self.scale = self._factor(self.num_residuals)

    def _factor(self, n):
        known = {"mean": 1 / n, "sum": 1.0, "samples": self._outputs / n}
        return known.get(self._given_scale, self._given_scale)

    def unflatten(self, w):
        return {name: w[block].reshape(self._shapes[name]) for name, block in self.blocks.items()}

    def initial_weights(self, std=None, seed=0):
        std = std if isinstance(std, dict) else {} if std is None else {"*": std}
        factors = np.ones(self.num_params)
        for name, block in self.blocks.items():
            factors[block] = std.get(name, std.get("*", self._std[name]))
        if not isinstance(seed, np.random.Generator):
            seed = np.random.SeedSequence(seed, spawn_key=(int.from_bytes(b"grok", "big"),))
        return factors * np.random.default_rng(seed).standard_normal(self.num_params)

    def residual(self, w):
        return self.outputs(w) - self._targets

    def loss(self, w):
        return self.scale / 2 * np.sum(self.residual(w) ** 2)

    def test_loss(self, w):
        targets = np.ravel(self._test[-1])
        return self._factor(len(targets)) / 2 * np.sum((self.test_outputs(w) - targets) ** 2)

    def gradient(self, w):
        return self.scale * self.jacobian(w).T @ self.residual(w)

    def jvp(self, w, v):
        return self.jacobian(w) @ v

    def vjp(self, w, u):
        return self.jacobian(w).T @ u

    def gram(self, w):
        return self.jacobian(w) @ self.jacobian(w).T

    def hessian(self, w):
        J, second = self.jacobian(w), self.second_derivative(w)
        return self.scale * (J.T @ J + np.einsum("i,ijk->jk", self.residual(w), second))

    def hvp(self, w, v):
        return self.hessian(w) @ v

    def quantity(self, name, w):
        return {
            "train_loss": self.loss,
            "test_loss": self.test_loss,
            "norm": np.linalg.norm,
            "grad_norm": lambda w: np.linalg.norm(self.gradient(w)),
        }[name](w)


class Regression(Model):
    """Below a loss; the residuals are those of squares."""

    def __init__(self, shapes, std, targets, test, scale, loss):
        super().__init__(shapes, std, targets, test, scale)
        self.criterion, self.labels = named(loss), targets
        self.shape = output_shape(targets, loss)
        self.num_residuals = math.prod(self.shape)
        self.scale = self._factor(self.criterion.terms(self.shape))

    def fit(self, outputs, targets):
        """Return outputs and targets with a row for each sample."""
        is_class = isinstance(self.criterion, CrossEntropy) and np.ndim(targets) == 1
        f = outputs.reshape(-1, *self.shape[1:] or (1,))
        return f, np.asarray(targets) if is_class else np.reshape(targets, f.shape)

    def loss(self, w):
        return self.scale * self.criterion.value(*self.fit(self.outputs(w), self.labels))

    def test_loss(self, w):
        f, targets = self.fit(self.test_outputs(w), self._test[-1])
        return self._factor(self.criterion.terms(f.shape)) * self.criterion.value(f, targets)

    def gradient(self, w):
        g = self.criterion.gradient(*self.fit(self.outputs(w), self.labels))
        return self.scale * self.jacobian(w).T @ g.ravel()

    def hessian(self, w):
        f, targets = self.fit(self.outputs(w), self.labels)
        J, g = self.jacobian(w), self.criterion.gradient(f, targets).ravel()
        by_sample = J.reshape(*f.shape, -1)
        gauss_newton = np.einsum("iad,iab,ibe->de", by_sample, self.criterion.hessians(f, targets), by_sample)
        return self.scale * (gauss_newton + np.einsum("i,ijk->jk", g, self.second_derivative(w)))

    def outputs(self, w):
        return np.ravel(self.predict(w))

    def test_outputs(self, w):
        return np.ravel(self.predict(w, self._test[0]))


class LinearRegression(Regression):
    def __init__(self, X, y, *, loss="squares", test=None, scale="mean"):
        self.X = np.asarray(X, dtype=float)
        super().__init__({"w": (self.X.shape[1],)}, {"w": 1.0}, y, test, scale, loss)

    def predict(self, w, X=None):
        return (self.X if X is None else X) @ w

    def jacobian(self, w):
        return self.X

    def second_derivative(self, w):
        return np.zeros((self.num_residuals, self.num_params, self.num_params))


class DiagonalLinearNetwork(Regression):
    def __init__(self, X, y, *, loss="squares", test=None, scale="mean"):
        self.X = np.asarray(X, dtype=float)
        self.D = self.X.shape[1]
        std = math.sqrt(0.1)
        super().__init__({"u": (self.D,), "v": (self.D,)}, {"u": std, "v": std}, y, test, scale, loss)
        self.quantities += ("coefficients",)

    def predict(self, w, X=None):
        return (self.X if X is None else X) @ (w[: self.D] * w[self.D :])

    def jacobian(self, w):
        return np.hstack([self.X * w[self.D :], self.X * w[: self.D]])

    def second_derivative(self, w):
        diagonals = [np.diag(x) for x in self.X]
        zero = np.zeros((self.D, self.D))
        return np.array([np.block([[zero, x], [x, zero]]) for x in diagonals])

    def quantity(self, name, w):
        return w[: self.D] * w[self.D :] if name == "coefficients" else super().quantity(name, w)


class MatrixCompletion(Model):
    def __init__(self, rows, cols, values, *, shape, width, test=None, scale="mean"):
        self.rows, self.cols = np.asarray(rows), np.asarray(cols)
        self.N, self.M, self.width = *shape, width
        shapes = {"U": (self.N, width), "V": (self.M, width)}
        super().__init__(shapes, {"U": 1.0, "V": 1.0}, values, test, scale)
        self.quantities += ("singular_values",)

    def predict(self, w):
        parts = self.unflatten(w)
        return parts["U"] @ parts["V"].T

    def outputs(self, w):
        return self.predict(w)[self.rows, self.cols]

    def test_outputs(self, w):
        return self.predict(w)[np.asarray(self._test[0]), np.asarray(self._test[1])]

    def jacobian(self, w):
        parts = self.unflatten(w)
        J = np.zeros((self.num_residuals, self.num_params))
        for e, (i, j) in enumerate(zip(self.rows, self.cols, strict=True)):
            row = self.unflatten(J[e])
            row["U"][i], row["V"][j] = parts["V"][j], parts["U"][i]
        return J

    def second_derivative(self, w):
        second = np.zeros((self.num_residuals, self.num_params, self.num_params))
        index = self.unflatten(np.arange(self.num_params))
        for e, (i, j) in enumerate(zip(self.rows, self.cols, strict=True)):
            second[e, index["U"][i], index["V"][j]] = second[e, index["V"][j], index["U"][i]] = 1.0
        return second

    def quantity(self, name, w):
        if name != "singular_values":
            return Model.quantity(self, name, w)
        return np.linalg.svd(self.predict(w), compute_uv=False)[: min(self.N, self.M, self.width)]


class MatrixSensing(Model):
    def __init__(self, A, y, *, width, test=None, scale="mean"):
        self.A = np.asarray(A, dtype=float)
        self.N, self.M = self.A.shape[1:]
        self.width = width
        shapes = {"U": (self.N, width), "V": (self.M, width)}
        super().__init__(shapes, {"U": 1.0, "V": 1.0}, y, test, scale)
        self.quantities += ("singular_values",)

    def predict(self, w):
        parts = self.unflatten(w)
        return parts["U"] @ parts["V"].T

    def outputs(self, w):
        return np.sum(self.A * self.predict(w), axis=(1, 2))

    def test_outputs(self, w):
        return np.sum(np.asarray(self._test[0]) * self.predict(w), axis=(1, 2))

    def jacobian(self, w):
        parts = self.unflatten(w)
        return np.array([np.append(A @ parts["V"], A.T @ parts["U"]) for A in self.A])

    def second_derivative(self, w):
        second = np.zeros((self.num_residuals, self.num_params, self.num_params))
        index = self.unflatten(np.arange(self.num_params))
        for k in range(self.width):
            U, V = index["U"][:, k], index["V"][:, k]
            for i, A in enumerate(self.A):
                second[np.ix_([i], U, V)] = A
                second[np.ix_([i], V, U)] = A.T
        return second

    def quantity(self, name, w):
        return MatrixCompletion.quantity(self, name, w)


class TwoLayerNetwork(Regression):
    def __init__(self, X, y, *, width, activation="tanh", negative_slope=None, smoothing=None,
                 coefficients=None, output_bias=False, output_scale=1.0, bias=True, loss="squares",
                 test=None, scale="mean"):  # fmt: skip
        self.X, self.s = np.asarray(X, dtype=float), self.factor_of(output_scale, width)
        self.activation = activation, parameter_of(activation, negative_slope, smoothing, coefficients)
        y = np.reshape(y, -1) if np.size(y) == len(y) else y  # a column is one output
        p, self.output_shape = self.X.shape[1], output_shape(y, loss)[1:]
        shapes = {"u": (width, *self.output_shape), "V": (width, p)} | ({"b": (width,)} if bias else {})
        shapes |= {"a": self.output_shape or (1,)} if output_bias else {}
        std = {"u": 1.0, "V": 1 / math.sqrt(p), "b": 1.0, "a": 0.0}
        super().__init__(shapes, std, y, test, scale, loss)

    @staticmethod
    def factor_of(scale, width):
        return {"mean-field": 1.0 / width, "ntk": width**-0.5}.get(scale, scale)

    @property
    def slopes(self):
        """The slopes below and above 0 of an activation with a kink there, else None."""
        below = {"relu": 0.0, "leaky_relu": self.activation[1], "abs": -1.0}.get(self.activation[0], 1.0)
        return None if below == 1.0 else (below, 1.0)

    def _layers(self, w, X):
        parts = self.unflatten(w)
        return parts, activation(
            self.activation[0], X @ parts["V"].T + parts.get("b", 0.0), self.activation[1]
        )

    def predict(self, w, X=None):
        parts, (a, _, _) = self._layers(w, self.X if X is None else np.asarray(X, dtype=float))
        return self.s * a @ parts["u"] + parts.get("a", 0.0)

    def jacobian(self, w):
        parts, (a, a1, _) = self._layers(w, self.X)
        u = parts["u"].reshape(len(parts["u"]), -1)
        n, k = len(self.X), u.shape[1]
        J = np.zeros((n, k, self.num_params))
        inner = self.s * u.T * a1[:, None, :]
        J[:, :, self.blocks["u"]] = self.s * np.einsum("nj,ko->nkjo", a, np.eye(k)).reshape(n, k, -1)
        J[:, :, self.blocks["V"]] = np.einsum("nkj,np->nkjp", inner, self.X).reshape(n, k, -1)
        if "b" in self.blocks:
            J[:, :, self.blocks["b"]] = inner
        if "a" in self.blocks:
            J[:, :, self.blocks["a"]] = np.eye(k)
        return J.reshape(n * k, -1)

    def second_derivative(self, w):
        parts, (_, a1, a2) = self._layers(w, self.X)
        index = self.unflatten(np.arange(self.num_params))
        u = parts["u"].reshape(len(parts["u"]), -1)
        n, k = len(self.X), u.shape[1]
        second = np.zeros((n, k, self.num_params, self.num_params))
        bias = "b" in self.blocks
        for i, x in enumerate(np.hstack([self.X, np.ones((n, int(bias)))])):
            for j, o in np.ndindex(*u.shape):
                inner = np.append(index["V"][j], index["b"][j] if bias else []).astype(int)
                outer = index["u"].reshape(u.shape)[j, o]
                second[i, o, outer, inner] = second[i, o, inner, outer] = self.s * a1[i, j] * x
                second[np.ix_([i], [o], inner, inner)] = self.s * u[j, o] * a2[i, j] * np.outer(x, x)
        return second.reshape(n * k, self.num_params, self.num_params)


class MLP(Regression):
    def __init__(self, X, y, widths, *, activation="tanh", negative_slope=None, smoothing=None,
                 coefficients=None, bias=True, loss="squares", test=None, scale="mean"):  # fmt: skip
        parameter = parameter_of(activation, negative_slope, smoothing, coefficients)
        self.X, self.activation = np.asarray(X, dtype=float), (activation, parameter)
        self.output_shape = output_shape(y, loss)[1:]
        sizes = [self.X.shape[1], *widths, math.prod(self.output_shape)]
        shapes, std = {}, {}
        for l in range(1, len(sizes)):
            shapes[f"W{l}"] = (sizes[l], sizes[l - 1])
            if bias if isinstance(bias, bool) else bias[l - 1]:
                shapes[f"b{l}"] = (sizes[l],)
            std[f"W{l}"] = std[f"b{l}"] = 1 / math.sqrt(sizes[l - 1])
        self.depth = len(sizes) - 1
        super().__init__(shapes, std, y, test, scale, loss)
        self.is_linear = activation == "identity" and len(shapes) == self.depth
        if self.is_linear:
            self.quantities += ("balance",)

    def quantity(self, name, w):
        if name != "balance":
            return super().quantity(name, w)
        layers = list(self.unflatten(w).values())
        return max(np.linalg.norm(b.T @ b - a @ a.T) for a, b in pairwise(layers))

    def _act(self, z):
        return activation(self.activation[0], z, self.activation[1])

    def predict(self, w, X=None):
        a, parts = self.X if X is None else np.asarray(X, dtype=float), self.unflatten(w)
        for l in range(1, self.depth + 1):
            z = a @ parts[f"W{l}"].T + parts.get(f"b{l}", 0.0)
            a = self._act(z)[0]
        return z.reshape(-1, *self.output_shape)

    def _derivatives(self, w):
        """Return the first and second derivatives by w of each output of each sample, layer by layer."""
        d, parts, index = self.num_params, self.unflatten(w), self.unflatten(np.arange(self.num_params))
        a, first = self.X, np.zeros((*self.X.shape, d))
        second = np.zeros((*self.X.shape, d, d))
        for l in range(1, self.depth + 1):
            W = parts[f"W{l}"]
            z = a @ W.T + parts.get(f"b{l}", 0.0)
            z_first = np.einsum("oi,nid->nod", W, first)
            z_second = np.einsum("oi,nide->node", W, second)
            for o, row in enumerate(index[f"W{l}"]):  # the product rule for sum_i W_oi a_i
                z_first[:, o, row] += a
                z_second[:, o, row, :] += first
                z_second[:, o, :, row] += first.transpose(1, 0, 2)
                if f"b{l}" in parts:
                    z_first[:, o, index[f"b{l}"][o]] += 1
            a, slope, bend = self._act(z)
            first = slope[:, :, None] * z_first
            second = slope[:, :, None, None] * z_second + np.einsum(
                "no,nod,noe->node", bend, z_first, z_first
            )
        return z_first.reshape(-1, d), z_second.reshape(-1, d, d)

    def jacobian(self, w):
        return self._derivatives(w)[0]

    def second_derivative(self, w):
        return self._derivatives(w)[1]
