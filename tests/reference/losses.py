"""Losses on outputs (n, k), with the factor of their Hessian from its eigenvectors."""

import numpy as np


class Loss:
    attained = True

    def value(self, outputs, targets):
        raise NotImplementedError

    def gradient(self, outputs, targets):
        raise NotImplementedError

    def hessians(self, outputs, targets):
        """Return the n matrices (k, k)."""
        raise NotImplementedError

    def upper(self, outputs, targets):
        """Return what `factor` is of: the Hessians, or bounds that have the gradient in their range."""
        return self.hessians(outputs, targets)

    def factor(self, outputs, targets):
        g = self.gradient(outputs, targets)
        values, vectors = np.linalg.eigh(self.upper(outputs, targets))
        q = max(1, self.rank(g.shape[1]))
        B = vectors[:, :, -q:] * np.sqrt(np.maximum(values[:, None, -q:], 0.0))
        return np.stack([np.linalg.lstsq(b, x, rcond=None)[0] for b, x in zip(B, g, strict=True)]), B

    def rank(self, k):
        return k

    def terms(self, shape):
        """Return how many losses the mean is over."""
        return int(np.prod(shape))


class Squares(Loss):
    def value(self, outputs, targets):
        return 0.5 * np.sum((outputs - targets) ** 2)

    def gradient(self, outputs, targets):
        return outputs - targets

    def hessians(self, outputs, targets):
        return np.stack([np.eye(outputs.shape[1])] * len(outputs))


class Huber(Loss):
    def __init__(self, delta=1.0):
        self.delta = delta

    def value(self, outputs, targets):
        r = np.abs(outputs - targets)
        return np.sum(np.where(r <= self.delta, r**2 / 2, self.delta * (r - self.delta / 2)))

    def gradient(self, outputs, targets):
        return np.clip(outputs - targets, -self.delta, self.delta)

    def hessians(self, outputs, targets):
        return np.stack([np.diag(row) for row in (np.abs(outputs - targets) <= self.delta) * 1.0])

    def upper(self, outputs, targets):
        weights = self.gradient(outputs, targets) / (outputs - targets)
        return np.stack([np.diag(row) for row in weights])


class Logistic(Loss):
    attained = False

    def value(self, outputs, targets):
        return np.sum(np.logaddexp(0.0, -self.signs(targets) * outputs))

    def gradient(self, outputs, targets):
        y = self.signs(targets)
        return -y * np.exp(-np.logaddexp(0.0, y * outputs))

    def hessians(self, outputs, targets):
        s = np.exp(-np.logaddexp(0.0, outputs) - np.logaddexp(0.0, -outputs))
        return np.stack([np.diag(row) for row in s])

    def signs(self, targets):
        return np.where(np.asarray(targets) == 1, 1.0, -1.0)


class CrossEntropy(Loss):
    def __init__(self, label_smoothing=0.0):
        self.label_smoothing = label_smoothing

    def probabilities(self, targets, k):
        q = np.eye(k)[targets] if np.ndim(targets) == 1 else np.asarray(targets, dtype=float)
        return (1 - self.label_smoothing) * q + self.label_smoothing / k

    def log_softmax(self, outputs):
        return outputs - np.logaddexp.reduce(outputs, axis=1, keepdims=True)

    def value(self, outputs, targets):
        return -np.sum(self.probabilities(targets, outputs.shape[1]) * self.log_softmax(outputs))

    def gradient(self, outputs, targets):
        return np.exp(self.log_softmax(outputs)) - self.probabilities(targets, outputs.shape[1])

    def hessians(self, outputs, targets):
        p = np.exp(self.log_softmax(outputs))
        return np.stack([np.diag(row) - np.outer(row, row) for row in p])

    def rank(self, k):
        return k - 1

    def terms(self, shape):
        return shape[0]


NAMES = {
    "squares": Squares,
    "mse": Squares,
    "huber": Huber,
    "logistic": Logistic,
    "cross_entropy": CrossEntropy,
}


def named(loss):
    """Return the twin of a loss of grokflow, or of its name."""
    if isinstance(loss, str):
        return NAMES[loss]()
    return globals()[type(loss).__name__](**vars(loss))
