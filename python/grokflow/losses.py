"""Losses on top of a model's outputs, for the argument `loss` of models and of :class:`grokflow.OutputModel`.

``F(w) = c sum_i l(f_i(w), y_i)`` with the outputs f of shape (n, k) and the targets y of the n samples. Each
loss gives its value, its gradient g and a factor B of its Hessian, ``S_i = B_i B_i^T``. With the
pseudo-residual ``rho = B^+ g`` and the pseudo-Jacobian ``B^T J`` a loss that has a minimiser at finite
outputs is solved like a sum of squares. One that has none (labels that are certain) is solved by products
with the whole Hessian.

By name: "squares" or "mse", "cross_entropy", "logistic" and "huber" are the losses below, as they are by
default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._validate import (
    FloatArray,
    as_array,
    as_number,
    as_positive,
    as_real,
    as_scale,
    finite,
    require_entries,
)
from grokflow.classes import one_hot_classes

__all__ = ["CrossEntropy", "Huber", "Logistic", "Loss", "Squares"]


class Loss:
    """A loss of one's own: a subclass gives `value`, `gradient` and `factor`.

    All three get the outputs f, shape (n, k), and the targets as they were given to the model.

    Attributes
    ----------
    attained : bool
        Whether the loss has a minimiser at finite outputs, where its gradient is 0. True by default; say
        False where it has none, as for labels that are certain.

    Examples
    --------
    The logarithm of cosh, which is quadratic near 0 and grows like the distance:

    >>> import numpy as np
    >>> class LogCosh(Loss):
    ...     def value(self, outputs, targets):
    ...         return np.sum(np.log(np.cosh(outputs - targets)))
    ...
    ...     def gradient(self, outputs, targets):
    ...         return np.tanh(outputs - targets)
    ...
    ...     def factor(self, outputs, targets):
    ...         r = outputs - targets
    ...         return np.sinh(r), 1.0 / np.cosh(r)[:, :, None]
    >>> rho, B = LogCosh().factor(np.ones((3, 1)), np.zeros((3, 1)))
    >>> np.allclose(B[:, 0] * rho, LogCosh().gradient(np.ones((3, 1)), np.zeros((3, 1))))
    True
    """

    attained: bool = True
    _per_output = (
        False  # whether the mean is over outputs and samples, as the loss is of each output by itself
    )

    def value(self, outputs: ArrayLike, targets: ArrayLike) -> float:
        """Return the sum of l(f_i, y_i) over the samples."""
        raise NotImplementedError(f"{type(self).__name__} gives no value(outputs, targets)")

    def gradient(self, outputs: ArrayLike, targets: ArrayLike) -> FloatArray:
        """Return the derivatives of the value by the outputs, shape (n, k)."""
        raise NotImplementedError(f"{type(self).__name__} gives no gradient(outputs, targets)")

    def factor(self, outputs: ArrayLike, targets: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Return the pseudo-residual rho, shape (n, q), and B, shape (n, k, q).

        ``B_i B_i^T`` is the Hessian of l(f_i, y_i) in f_i, and ``B_i rho_i`` its gradient.
        """
        raise NotImplementedError(f"{type(self).__name__} gives no factor(outputs, targets)")

    def _scale(self, scale: str | float, shape: Sequence[int]) -> float:
        """Return c for outputs of that shape: "mean" is over samples, or over losses of single outputs."""
        return as_scale(scale, int(np.prod(shape)) if self._per_output else shape[0], shape[0])

    def _shape(self, targets: Any) -> tuple[int, ...]:
        """Return the shape of the outputs that such targets are for."""
        return tuple(targets.shape)

    def _targets(self, name: str, y: ArrayLike, shape: tuple[int, ...]) -> Any:
        """Return a checked copy of the targets for outputs of that shape."""
        targets = np.array(y)
        if targets.shape[:1] != shape[:1]:
            raise ValueError(
                f"{name} has shape {targets.shape}; there must be {shape[0]} targets, one per sample"
            )
        return targets

    def _classes(self, targets: Any) -> Any:
        """Return the classes of the samples, as :class:`grokflow.classes.Classes` has them; None without."""
        return one_hot_classes(targets)

    def _compiled(self, targets: Any, shape: tuple[int, ...]) -> core.Loss:
        n, k = shape[0], int(np.prod(shape[1:]))
        pair = self.factor(np.zeros((n, k)), targets)
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise ValueError(f"{type(self).__name__}.factor must return two arrays, rho and B")
        of_rho, of_B = map(np.shape, pair)
        if len(of_rho) != 2 or of_rho[0] != n or of_B != (n, k, of_rho[1]):
            raise ValueError(
                f"{type(self).__name__}.factor returned shapes {of_rho} and {of_B}; for these outputs "
                f"they must be ({n}, q) and ({n}, {k}, q)"
            )
        return core.CallbackLoss(
            n,
            k,
            of_rho[1],
            bool(self.attained),
            lambda f: self.value(f, targets),
            lambda f: self.gradient(f, targets),
            lambda f: self.factor(f, targets),
        )


class _Compiled(Loss):
    """A loss of the library, evaluated in C++."""

    def value(self, outputs: ArrayLike, targets: ArrayLike) -> float:
        f, loss = self._at(outputs, targets)
        return loss.value(f.reshape(-1))

    def gradient(self, outputs: ArrayLike, targets: ArrayLike) -> FloatArray:
        f, loss = self._at(outputs, targets)
        return loss.gradient(f.reshape(-1)).reshape(f.shape)

    def factor(self, outputs: ArrayLike, targets: ArrayLike) -> tuple[FloatArray, FloatArray]:
        f, loss = self._at(outputs, targets)
        n, k = f.shape
        rho, B = loss.factor(f.reshape(-1))
        q = rho.size // n
        units = (np.tile(unit, n) for unit in np.eye(q))
        return rho.reshape(n, q), np.stack([loss.apply(B, u).reshape(n, k) for u in units], axis=-1)

    def _at(self, outputs: ArrayLike, targets: ArrayLike) -> tuple[FloatArray, core.Loss]:
        f = as_array("outputs", outputs, 2)
        return f, self._compiled(self._targets("targets", targets, f.shape), f.shape)


@dataclass(frozen=True)
class Squares(_Compiled):
    """``(f - y)^2 / 2``, summed over the outputs. The mean is over samples and outputs."""

    _per_output = True

    def _targets(self, name: str, y: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
        return _like_outputs(name, y, shape)

    def _compiled(self, targets: FloatArray, shape: tuple[int, ...]) -> core.Loss:
        return core.squares(targets.reshape(-1))


@dataclass(frozen=True)
class Huber(_Compiled):
    """``(f - y)^2 / 2`` up to the distance `delta`, and linear beyond; summed over the outputs.

    Beyond `delta` the Hessian is 0 and the gradient is not: there `factor` takes the weight ``g / (f - y)``
    of iteratively reweighted least squares for the Hessian, which is its upper bound. The mean is over
    samples and outputs.

    Parameters
    ----------
    delta : float, default 1.0
        A positive number.
    """

    delta: float = 1.0
    _per_output = True

    def __post_init__(self) -> None:
        as_positive("delta", self.delta)

    def _targets(self, name: str, y: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
        return _like_outputs(name, y, shape)

    def _compiled(self, targets: FloatArray, shape: tuple[int, ...]) -> core.Loss:
        return core.huber(targets.reshape(-1), float(self.delta))


@dataclass(frozen=True)
class Logistic(_Compiled):
    """``log(1 + exp(-y f))`` for labels y that are 1 or -1, or else 1 or 0; summed over the outputs.

    It has no minimiser at finite outputs. The mean is over samples and outputs.
    """

    attained = False
    _per_output = True

    def _targets(self, name: str, y: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
        labels = _like_outputs(name, y, shape)
        negative = 0.0 if (labels == 0.0).any() else -1.0
        bad = (labels != 1.0) & (labels != negative)
        if bad.any():
            index, value = _first(bad, labels)
            others = (
                "the others are 1 or 0"
                if negative == 0.0 and value == -1.0
                else "a label is 1 or -1, or 1 or 0"
            )
            raise ValueError(f"{name}[{index}] is {value:g}; {others}")
        return labels

    def _classes(self, targets: FloatArray) -> Any:
        single = targets.size == len(targets)
        return np.where(targets.reshape(-1) == 1.0, 1, -1) if single else None

    def _compiled(self, targets: FloatArray, shape: tuple[int, ...]) -> core.Loss:
        return core.logistic(np.where(targets.reshape(-1) == 1.0, 1.0, -1.0))


@dataclass(frozen=True)
class CrossEntropy(_Compiled):
    """``-sum_j q_j log p_j`` with p the softmax of the outputs. The mean is over samples.

    Targets are classes, integers of shape (n,) or (n, 1), or probabilities q, shape (n, k). There is a
    minimiser at finite outputs if no probability is 0: where classes are certain, `label_smoothing` makes it
    so.

    Parameters
    ----------
    label_smoothing : float, default 0.0
        The share s, 0 <= s < 1, of the targets that is spread over all classes: ``(1 - s) q + s / k``.
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        share = as_number("label_smoothing", self.label_smoothing)
        if not 0.0 <= share < 1.0:
            raise ValueError(f"label_smoothing is {share:g}; it must lie in 0 <= s < 1")

    def _shape(self, targets: Any) -> tuple[int, ...]:
        classes = _column(targets)
        return (len(classes), int(classes.max(initial=0)) + 1) if classes.ndim == 1 else targets.shape

    def _targets(self, name: str, y: ArrayLike, shape: tuple[int, ...]) -> Any:
        n, k = shape[0], int(np.prod(shape[1:]))
        if k < 2:
            raise ValueError(
                "loss 'cross_entropy' is of the outputs of several classes, and there is a single output; "
                "take loss='logistic'"
            )
        targets = _column(as_real(name, y))
        if targets.ndim == 1:
            return as_classes(name, targets, n, k)
        if targets.shape != (n, k):
            raise ValueError(
                f"{name} has shape {targets.shape}; it must be ({n},), a class for each sample, or "
                f"({n}, {k}), probabilities"
            )
        q = finite(name, targets)
        if (q < 0.0).any():
            index, value = _first(q < 0.0, q)
            raise ValueError(f"{name}[{index}] is {value:g}; a probability must not be negative")
        sums = q.sum(axis=1)
        off = np.abs(sums - 1.0) > 1e-6  # what single precision may leave
        if off.any():
            i = int(np.argmax(off))
            raise ValueError(f"{name}[{i}] sums to {sums[i]:g}; the probabilities of a sample must sum to 1")
        return q.copy()

    def _classes(self, targets: Any) -> Any:
        return targets if targets.ndim == 1 else targets.argmax(axis=1)

    def _compiled(self, targets: Any, shape: tuple[int, ...]) -> core.Loss:
        k = int(np.prod(shape[1:]))
        q = one_hot(targets, k) if targets.ndim == 1 else targets / targets.sum(axis=1, keepdims=True)
        if self.label_smoothing > 0.0:
            q = (1.0 - self.label_smoothing) * q + self.label_smoothing / k
        return core.cross_entropy(q.reshape(-1), k)


NAMES: dict[str, type[Loss]] = {
    "squares": Squares,
    "mse": Squares,
    "cross_entropy": CrossEntropy,
    "logistic": Logistic,
    "huber": Huber,
}


def as_loss(loss: object) -> Loss:
    """Return the loss of that name, or `loss` if it is one."""
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str) and loss in NAMES:
        return NAMES[loss]()
    names = ", ".join(map(repr, NAMES))
    message = (
        f"loss is {loss!r}; choose from {names}, or give a grokflow.losses.Loss, such as Huber(delta=2.0)"
    )
    raise ValueError(message) if isinstance(loss, str) else TypeError(message)


def as_classes(name: str, classes: ArrayLike, samples: int, outputs: int | None = None) -> Any:
    """Return a copy of `classes`, integers of shape (samples,) in 0 <= class < outputs."""
    labels = as_real(name, classes)
    require_entries(name, labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"{name} is dtype {labels.dtype}; classes must be integers, or give probabilities (n, k)"
        )
    if labels.shape != (samples,):
        raise ValueError(f"{name} has shape {labels.shape}; it must be ({samples},), a class for each sample")
    bad = labels < 0 if outputs is None else (labels < 0) | (labels >= outputs)
    if bad.any():
        i = int(np.argmax(bad))
        known = (
            "" if outputs is None else f"; there are {outputs} outputs, for the classes 0 to {outputs - 1}"
        )
        raise ValueError(f"{name}[{i}] is class {labels[i]}{known or '; a class must not be negative'}")
    return labels.astype(np.int64)


def one_hot(classes: Any, outputs: int) -> FloatArray:
    """Return the probabilities of classes that are certain, shape (n, outputs)."""
    q = np.zeros((len(classes), outputs))
    q[np.arange(len(classes)), classes] = 1.0
    return q


def _column(targets: Any) -> Any:
    """Return classes that are a column as a vector."""
    return targets[:, 0] if targets.ndim == 2 and targets.shape[1] == 1 else targets


def _like_outputs(name: str, y: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    """Return a copy of one finite target for each output."""
    targets = as_real(name, y)
    if targets.shape != shape and not (targets.size == shape[0] and np.prod(shape) == shape[0]):
        raise ValueError(f"{name} has shape {targets.shape}; the outputs have {shape}")
    return np.array(finite(name, targets.reshape(shape)))


def _first(bad: Any, values: FloatArray) -> tuple[str, float]:
    """Return the index and the value of the first entry where `bad` is true."""
    index = np.unravel_index(int(np.argmax(bad)), bad.shape)
    return ", ".join(str(int(i)) for i in index), float(values[index])
