"""Small problems with known flows. Each is plain NumPy, and `compiled()` is the same problem in grokflow.

Jacobians are written out by hand; Hessians come from them by the complex step, Im grad F(w + i e v) / e,
which has no truncation error to speak of and no cancellation.
"""

from functools import cache

import grokflow as gf
import numpy as np
import reference.models

_STEP = 1e-30


class Loss:
    """A loss with `loss(w)` and `gradient(w)`, both of which take complex w as well."""

    def __init__(self, num_params, loss, gradient):
        self.num_params, self.loss, self.gradient = num_params, loss, gradient

    def hvp(self, w, v):
        return self.gradient(w + 1j * _STEP * v).imag / _STEP

    def hessian(self, w):
        H = np.stack([self.hvp(w, e) for e in np.eye(self.num_params)])
        return (H + H.T) / 2

    @cache  # noqa: B019  (a handful of problems per test)
    def compiled(self):
        return gf.Objective(
            loss=self.loss, gradient=self.gradient, hessian=self.hessian, num_params=self.num_params
        )


class LeastSquaresLoss(Loss):
    """F = ||r||^2 / 2 from `residual(w)` (n,) and `jacobian(w)` (n, d); `model` builds it in C++."""

    def __init__(self, num_params, residual, jacobian, model=None):
        super().__init__(num_params, self._loss, self._gradient)
        self.residual, self.jacobian, self.model = residual, jacobian, model

    def _loss(self, w):
        r = self.residual(w)
        return r @ r / 2

    def _gradient(self, w):
        return self.jacobian(w).T @ self.residual(w)

    @cache  # noqa: B019
    def compiled(self):
        return self.callbacks() if self.model is None else self.model()

    def callbacks(self):
        """Return the problem as a user would write it from Python."""
        return gf.LeastSquares(
            residual=self.residual,
            jvp=lambda w, v: self.jacobian(w) @ v,
            vjp=lambda w, u: self.jacobian(w).T @ u,
            hvp=self.hvp,
            num_params=self.num_params,
            num_residuals=self.residual(np.ones(self.num_params)).size,
            scale="sum",
        )


def model(name, *arguments, **options):
    """A model of the library as its NumPy twin."""
    twin = getattr(reference.models, name)(*arguments, **options)
    twin.compiled = lambda: getattr(gf.models, name)(*arguments, **options)
    return twin


def linear_regression(X, y):
    """r = X w - y."""
    return LeastSquaresLoss(
        X.shape[1],
        lambda w: X @ w - y,
        lambda w: X,
        model=lambda: gf.models.LinearRegression(X, y, scale="sum"),
    )


def diagonal_network(X, y):
    """r = X (u * v) - y with w = [u, v]."""
    p = X.shape[1]
    return LeastSquaresLoss(
        2 * p,
        lambda w: X @ (w[:p] * w[p:]) - y,
        lambda w: np.hstack([X * w[p:], X * w[:p]]),
        model=lambda: gf.models.DiagonalLinearNetwork(X, y, scale="sum"),
    )


def power_network(X, y, depth):
    """r = X (u^depth - v^depth) - y with w = [u, v]."""
    p = X.shape[1]

    def jacobian(w):
        slope = depth * w ** (depth - 1)
        return np.hstack([X * slope[:p], -X * slope[p:]])

    return LeastSquaresLoss(2 * p, lambda w: X @ (w[:p] ** depth - w[p:] ** depth) - y, jacobian)


def matrix_factorisation(A, width, mask=None):
    """r = (U V^T - A) at the observed entries (all of them by default) with w = [U, V] row-major."""
    m, n = A.shape
    rows, cols = np.nonzero(np.ones_like(A) if mask is None else mask)

    def split(w):
        return w[: m * width].reshape(m, width), w[m * width :].reshape(n, width)

    def residual(w):
        U, V = split(w)
        return (U @ V.T - A)[rows, cols]

    def jacobian(w):
        U, V = split(w)
        dU = np.zeros((rows.size, m, width), dtype=w.dtype)
        dV = np.zeros((rows.size, n, width), dtype=w.dtype)
        k = np.arange(rows.size)
        dU[k, rows], dV[k, cols] = V[cols], U[rows]
        return np.hstack([dU.reshape(rows.size, -1), dV.reshape(rows.size, -1)])

    def model():
        return gf.models.MatrixCompletion(rows, cols, A[rows, cols], shape=A.shape, width=width, scale="sum")

    problem = LeastSquaresLoss((m + n) * width, residual, jacobian, model)
    problem.split = split
    return problem


def symmetric_factorisation(A, width):
    """F = ||U U^T - A||^2 / 4 with w = U row-major: r = (U U^T - A) / sqrt(2)."""
    n = A.shape[0]

    def residual(w):
        U = w.reshape(n, width)
        return (U @ U.T - A).ravel() / np.sqrt(2)

    def jacobian(w):
        U = w.reshape(n, width)
        E = np.eye(n * width).reshape(-1, n, width)
        return (E @ U.T + U @ E.transpose(0, 2, 1)).reshape(n * width, -1).T / np.sqrt(2)

    return LeastSquaresLoss(n * width, residual, jacobian)


def linear_layers(X, Y, widths):
    """r = W_L ... W_2 W_1 X - Y, w = [W_1, W_2, ...] row-major, X (p, samples), Y (q, samples)."""
    sizes = [X.shape[0], *widths, Y.shape[0]]
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    ends = np.cumsum([a * b for a, b in shapes])

    def split(w):
        return [part.reshape(s) for part, s in zip(np.split(w, ends[:-1]), shapes, strict=True)]

    def residual(w):
        out = X
        for W in split(w):
            out = W @ out
        return (out - Y).ravel()

    def jacobian(w):
        layers = split(w)
        blocks = []
        for i, W in enumerate(layers):
            after = np.eye(Y.shape[0])
            for V in layers[:i:-1]:
                after = after @ V
            before = X
            for V in layers[:i]:
                before = V @ before
            # d(after W before)[a, s] / dW[j, k] = after[a, j] before[k, s]
            blocks.append(np.einsum("aj,ks->asjk", after, before).reshape(-1, W.size))
        return np.hstack(blocks)

    problem = LeastSquaresLoss(int(ends[-1]), residual, jacobian)
    problem.split = split
    return problem


def signed_square_network(X, y, width):
    """r = s(X W^T) a - y with s(z) = z |z|, w = [a, W] row-major, W (width, p)."""
    p = X.shape[1]

    def size(z):  # |z|, analytic off the kink
        return np.sqrt(z * z)

    def residual(w):
        a, Z = w[:width], X @ w[width:].reshape(width, p).T
        return (Z * size(Z)) @ a - y

    def jacobian(w):
        a, Z = w[:width], X @ w[width:].reshape(width, p).T
        dW = (2 * size(Z) * a)[:, :, None] * X[:, None, :]
        return np.hstack([Z * size(Z), dW.reshape(len(X), -1)])

    return LeastSquaresLoss(width * (p + 1), residual, jacobian)


def attention_scores(X, S, width):
    """r = X Q K^T X^T - S with w = [Q, K] row-major, Q and K (p, width)."""
    n, p = X.shape

    def split(w):
        return w.reshape(2, p, width)

    def residual(w):
        Q, K = split(w)
        return (X @ Q @ K.T @ X.T - S).ravel()

    def jacobian(w):
        Q, K = split(w)
        dQ = np.einsum("ai,bj->abij", X, X @ K)
        dK = np.einsum("bi,aj->abij", X, X @ Q)
        return np.hstack([dQ.reshape(n * n, -1), dK.reshape(n * n, -1)])

    problem = LeastSquaresLoss(2 * p * width, residual, jacobian)
    problem.split = split
    return problem


def radial_well(d):
    """F = (||w||^2 - 1)^2 / 4; d = 1 is the double well."""
    return LeastSquaresLoss(
        d, lambda w: np.array([w @ w - 1]) / np.sqrt(2), lambda w: np.sqrt(2) * w[None, :]
    )


def monomial(k):
    """F = w^(2 k) / (2 k), flat at its minimum."""
    return LeastSquaresLoss(1, lambda w: w**k / np.sqrt(k), lambda w: np.sqrt(k) * w[:, None] ** (k - 1))


def rayleigh(A):
    """F = -w^T A w / (2 w^T w)."""

    def gradient(w):
        return -(A @ w - (w @ A @ w) / (w @ w) * w) / (w @ w)

    return Loss(len(A), lambda w: -(w @ A @ w) / (2 * (w @ w)), gradient)


def logistic_regression(X, signs):
    """F = sum_i log(1 + exp(-s_i <x_i, w>))."""
    Z = X * np.asarray(signs)[:, None]
    return Loss(
        X.shape[1],
        lambda w: np.sum(np.log1p(np.exp(-Z @ w))),
        lambda w: -Z.T @ (1 / (1 + np.exp(Z @ w))),
    )


def exponential():
    """F = exp(-w): no minimum, w runs away like log t."""
    return Loss(1, lambda w: np.exp(-w[0]), lambda w: -np.exp(-w))


def softmax_regression(X, labels, classes):
    """Cross-entropy of linear scores X W^T, w = W (classes, p) row-major, mean over samples."""
    n, p = X.shape
    target = np.eye(classes)[labels]

    def probabilities(w):
        scores = np.exp(X @ w.reshape(classes, p).T)
        return scores / scores.sum(axis=1, keepdims=True)

    return Loss(
        classes * p,
        lambda w: -np.sum(target * np.log(probabilities(w))) / n,
        lambda w: ((probabilities(w) - target).T @ X / n).ravel(),
    )
