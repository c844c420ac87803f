"""The models of theory: every derivative from a formula for W or b and the product rule."""

import itertools
import math

import numpy as np

from reference.models import (
    MLP,
    LinearRegression,
    Model,
    Regression,
    TwoLayerNetwork,
    activation,
    parameter_of,
)


class DeepDiagonalNetwork(Regression):
    def __init__(self, X, y, *, depth, form="difference", loss="squares", test=None, scale="mean"):
        self.X, self.depth, self.difference = np.asarray(X, dtype=float), depth, form == "difference"
        self.D = self.X.shape[1]
        names = ["u", "v"] if self.difference else [f"u{l}" for l in range(1, depth + 1)]
        std = dict.fromkeys(names, math.sqrt(0.1))
        super().__init__(dict.fromkeys(names, (self.D,)), std, y, test, scale, loss)
        self.quantities += ("coefficients",)

    def coefficients(self, w):
        rows = w.reshape(-1, self.D)
        return rows[0] ** self.depth - rows[1] ** self.depth if self.difference else rows.prod(axis=0)

    def predict(self, w, X=None):
        return (self.X if X is None else X) @ self.coefficients(w)

    def slopes(self, w):
        """Return the derivative of each coefficient by its entry of each block, shape (blocks, D)."""
        rows = w.reshape(-1, self.D)
        if self.difference:
            return self.depth * np.array([[1.0], [-1.0]]) * rows ** (self.depth - 1)
        return np.array([np.delete(rows, l, axis=0).prod(axis=0) for l in range(self.depth)])

    def jacobian(self, w):
        return np.hstack([self.X * slope for slope in self.slopes(w)])

    def second_derivative(self, w):
        rows, blocks = w.reshape(-1, self.D), w.size // self.D
        bend = np.zeros((blocks, blocks, self.D))
        if self.difference:
            for l, sign in enumerate((1.0, -1.0)):
                bend[l, l] = sign * self.depth * (self.depth - 1) * rows[l] ** (self.depth - 2)
        else:
            for l, m in itertools.permutations(range(self.depth), 2):
                bend[l, m] = np.delete(rows, [l, m], axis=0).prod(axis=0)
        second = np.zeros((len(self.X), w.size, w.size))
        for l, m in itertools.product(range(blocks), repeat=2):
            for k in range(self.D):
                second[:, l * self.D + k, m * self.D + k] = self.X[:, k] * bend[l, m, k]
        return second

    def quantity(self, name, w):
        return self.coefficients(w) if name == "coefficients" else super().quantity(name, w)


class Factorisation(Model):
    """A subclass gives `matrix(w)`, a polynomial in w, and its second derivative."""

    def fit(self, shapes, std, measured, y, test, scale):
        self.measured = np.asarray(measured, dtype=float)
        super().__init__(shapes, std, y, test, scale)
        self.quantities += ("singular_values",)

    def predict(self, w):
        return self.matrix(w)

    def outputs(self, w):
        return np.sum(self.measured * self.matrix(w), axis=(1, 2))

    def test_outputs(self, w):
        return np.sum(np.asarray(self.of_test) * self.matrix(w), axis=(1, 2))

    def jacobian(self, w):
        """By complex steps, which are exact for polynomials but for round-off."""
        h = 1e-100
        columns = [np.imag(self.matrix(w + 1j * h * e)) / h for e in np.eye(w.size)]
        return np.array([np.sum(self.measured * column, axis=(1, 2)) for column in columns]).T

    def quantity(self, name, w):
        if name == "singular_values":
            return np.linalg.svd(self.matrix(w), compute_uv=False)
        return self.balance(w) if name == "balance" else super().quantity(name, w)


class Chain(Factorisation):
    def of_chain(self, shape, widths, *known):
        sizes = [shape[1], *widths, shape[0]]
        shapes = {f"A{l}": (out, into) for l, (into, out) in enumerate(itertools.pairwise(sizes), 1)}
        self.fit(shapes, {name: into**-0.5 for name, (_, into) in shapes.items()}, *known)
        self.quantities += ("balance",)

    def matrix(self, w):
        product, *factors = self.unflatten(w).values()
        for factor in factors:
            product = factor @ product
        return product

    def second_derivative(self, w):
        parts, index = list(self.unflatten(w).values()), list(self.unflatten(np.arange(w.size)).values())
        second = np.zeros((len(self.measured), w.size, w.size))
        for l, m in itertools.combinations(range(len(parts)), 2):
            before, between, after = (
                np.linalg.multi_dot([*parts[a:b][::-1], np.eye(size), np.eye(size)])
                for a, b, size in (
                    (0, l, parts[0].shape[1]),
                    (l + 1, m, parts[l].shape[0]),
                    (m + 1, len(parts), parts[m].shape[0]),
                )
            )
            # d^2 W / dA_m[a, b] dA_l[c, e] = after[:, a] between[b, c] before[e, :]
            block = np.einsum("nij,ia,bc,ej->nabce", self.measured, after, between, before)
            for (a, b), i in np.ndenumerate(index[m]):
                for (c, e), j in np.ndenumerate(index[l]):
                    second[:, i, j] = second[:, j, i] = block[:, a, b, c, e]
        return second

    def balance(self, w):
        factors = list(self.unflatten(w).values())
        return max(np.linalg.norm(b.T @ b - a @ a.T) for a, b in itertools.pairwise(factors))


class Symmetric(Factorisation):
    def of_difference(self, size, width, negative, *known):
        shapes = {"U": (size, width)} | ({"V": (size, negative)} if negative else {})
        self.fit(shapes, dict.fromkeys(shapes, size**-0.5), *known)

    def matrix(self, w):
        U, *rest = self.unflatten(w).values()
        return U @ U.T - sum((V @ V.T for V in rest), np.zeros((len(U), len(U))))

    def second_derivative(self, w):
        second = np.zeros((len(self.measured), w.size, w.size))
        both = self.measured + self.measured.transpose(0, 2, 1)
        for sign, index in zip((1.0, -1.0), self.unflatten(np.arange(w.size)).values(), strict=False):
            for column in index.T:
                second[:, column[:, None], column] = sign * both
        return second


def units(rows, cols, shape):
    """Return a matrix with a single one for each entry."""
    out = np.zeros((len(rows), *shape))
    out[np.arange(len(rows)), rows, cols] = 1.0
    return out


class DeepMatrixCompletion(Chain):
    def __init__(self, rows, cols, values, *, shape, widths, test=None, scale="mean"):
        self.of_test = None if test is None else units(*test[:2], shape)
        self.of_chain(shape, widths, units(rows, cols, shape), values, test, scale)


class DeepMatrixSensing(Chain):
    def __init__(self, A, y, *, widths, test=None, scale="mean"):
        self.of_test = None if test is None else test[0]
        self.of_chain(np.shape(A)[1:], widths, A, y, test, scale)


class SymmetricCompletion(Symmetric):
    def __init__(self, rows, cols, values, *, size, width, negative=0, test=None, scale="mean"):
        self.of_test = None if test is None else units(*test[:2], (size, size))
        self.of_difference(size, width, negative, units(rows, cols, (size, size)), values, test, scale)


class SymmetricSensing(Symmetric):
    def __init__(self, A, y, *, width, negative=0, test=None, scale="mean"):
        self.of_test = None if test is None else test[0]
        self.of_difference(np.shape(A)[1], width, negative, A, y, test, scale)


class DeepLinearNetwork(MLP):
    def __init__(self, X, y, widths, *, loss="squares", test=None, scale="mean"):
        super().__init__(X, y, widths, activation="identity", bias=False, loss=loss, test=test, scale=scale)


class RandomFeatures(LinearRegression):
    def __init__(self, X, y, *, width, seed=0, activation="relu", negative_slope=None, smoothing=None,
                 coefficients=None, output_scale="ntk", loss="squares", test=None,
                 scale="mean"):  # fmt: skip
        parameter = parameter_of(activation, negative_slope, smoothing, coefficients)
        self.act, self.parameter = activation, parameter
        stream = np.random.SeedSequence(seed, spawn_key=(int.from_bytes(b"grok", "big"),))
        rng, p = np.random.default_rng(stream), np.shape(X)[1]
        self.V, self.b = rng.standard_normal((width, p)) / np.sqrt(p), rng.standard_normal(width)
        self.factor = TwoLayerNetwork.factor_of(output_scale, width)
        test = test and (self.features(test[0]), test[1])
        super().__init__(self.features(X), y, loss=loss, test=test, scale=scale)

    def features(self, X):
        return self.factor * activation(self.act, X @ self.V.T + self.b, self.parameter)[0]

    def predict(self, w, X=None):
        return (self.X if X is None else X if np.shape(X)[1] == len(w) else self.features(X)) @ w


class Trained(Model):
    """The problem at some of its weights, by the chain rule with dense derivatives."""

    def __init__(self, problem, w, *, train=(), adapt=None):
        self.of, self.start, adapt = problem, np.array(w, dtype=float), adapt or {}
        shapes, std, self.adapted, self.kept = {}, {}, [], []
        for name, block in problem.blocks.items():
            shape = problem._shapes[name]
            if name in train:
                shapes[name], std[name] = shape, 0.0
                self.kept.append(name)
            if name in adapt:
                shapes |= {f"{name}.A": (shape[0], adapt[name]), f"{name}.B": (shape[1], adapt[name])}
                std |= {f"{name}.A": adapt[name] ** -0.5, f"{name}.B": 0.0}
                self.adapted.append((name, block))
        super().__init__(shapes, std, problem._targets, problem._test, problem._given_scale)
        self.origin = np.concatenate(
            [
                self.start[problem.blocks[name]] if name in self.kept else np.zeros(math.prod(shape))
                for name, shape in shapes.items()
            ]
        )
        self.scale = problem.scale
        own = [name for name in problem.quantities if name not in self.quantities]
        self.quantities += tuple(own)

    @property
    def slopes(self):
        """Those of an activation with a kink, if the flow may meet it."""
        return {"V", "b"} & set(self.kept) and getattr(self.of, "slopes", None)

    @property
    def trained(self):
        """Where its blocks lie in the weights of the problem, if it has no adapters."""
        return np.concatenate([np.arange(self.start.size)[self.of.blocks[name]] for name in self.kept])

    def initial_weights(self, std=None, seed=0):
        return self.origin + super().initial_weights(std, seed)

    def embed(self, w):
        whole, parts = self.start + 0 * w[0], self.unflatten(w)
        for name in self.kept:
            whole[self.of.blocks[name]] = parts[name].ravel()
        for name, block in self.adapted:
            whole[block] = whole[block] + (parts[f"{name}.A"] @ parts[f"{name}.B"].T).ravel()
        return whole

    def predict(self, w, *arguments):
        return self.of.predict(self.embed(w), *arguments)

    def outputs(self, w):
        return self.of.outputs(self.embed(w))

    def test_loss(self, w):
        return self.of.test_loss(self.embed(w))

    def map_jacobian(self, w):
        h = 1e-100
        return np.array([np.imag(self.embed(w + 1j * h * e)) / h for e in np.eye(w.size)]).T

    def jacobian(self, w):
        return self.of.jacobian(self.embed(w)) @ self.map_jacobian(w)

    def second_derivative(self, w):
        G, whole, units = self.map_jacobian(w), self.embed(w), np.eye(w.size)
        bends = np.array([(self.map_jacobian(w + e) - self.map_jacobian(w - e)) / 2 for e in units])
        second = np.einsum("iab,ac,bd->icd", self.of.second_derivative(whole), G, G)
        return second + np.einsum("ia,dac->icd", self.of.jacobian(whole), bends)

    def quantity(self, name, w):
        own = ("train_loss", "norm", "grad_norm")
        return super().quantity(name, w) if name in own else self.of.quantity(name, self.embed(w))


class Centred(Regression):
    def __init__(self, problem, w0, *, alpha=1.0):
        self.of, self.start, self.alpha = problem, np.array(w0, dtype=float), alpha
        of_samples = problem.labels, problem._test, problem._given_scale, problem.criterion
        super().__init__(problem._shapes, problem._std, *of_samples)

    def predict(self, w, X=None):
        return self.alpha * (self.of.predict(w, X) - self.of.predict(self.start, X))

    def jacobian(self, w):
        return self.alpha * self.of.jacobian(w)

    def second_derivative(self, w):
        return self.alpha * self.of.second_derivative(w)
