"""Classification by name: the share of samples on the right side, and the smallest margin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from grokflow._validate import FloatArray


@dataclass(frozen=True)
class Classes:
    """The classes of samples: which of several outputs is to be the largest, or the sign of a single one.

    Attributes
    ----------
    train, test : ndarray of int, shape (n,)
        0, 1, ..., one for each output; of a single output 1 or -1. `test` is None without test data.
    degree : int
        That of the outputs as a positively homogeneous function of the weights; 0: they are none.
    """

    train: NDArray[np.int64]
    test: NDArray[np.int64] | None = None
    degree: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """What can be observed."""
        return ("train_accuracy", *(("test_accuracy",) if self.test is not None else ()), "margin")

    def value(self, name: str, outputs: FloatArray, w: FloatArray) -> float:
        """Return the quantity `name` of outputs at `w`: of the test samples for "test_accuracy"."""
        found = margins(
            outputs, self.test if name == "test_accuracy" and self.test is not None else self.train
        )
        if name != "margin":
            return float(np.mean(found > 0.0))
        with np.errstate(all="ignore"):  # nan at w = 0, which has no direction
            return float(found.min() / np.linalg.norm(w) ** self.degree)


def margins(outputs: ArrayLike, classes: NDArray[np.int64]) -> FloatArray:
    """Return by how much the output of each sample's class exceeds the largest other, or ``y f`` of one."""
    f = np.asarray(outputs, dtype=np.float64).reshape(len(classes), -1)
    if f.shape[1] == 1:
        return classes * f[:, 0]
    rows = np.arange(len(classes))
    others = f.copy()
    others[rows, classes] = -np.inf
    found: FloatArray = f[rows, classes] - others.max(axis=1)
    return found


def one_hot_classes(targets: Any) -> NDArray[np.int64] | None:
    """Return the classes that rows of one-hot codes, (n, k) with k > 1, stand for; None if they are none."""
    if targets.ndim != 2 or targets.shape[1] < 2:
        return None
    coded = ((targets == 0.0) | (targets == 1.0)).all() and (targets.sum(axis=1) == 1.0).all()
    return targets.argmax(axis=1) if coded else None
