"""What tells one problem from another: sizes, and loss and gradient at the start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from grokflow.problems import Problem

SIZES = ("num_params", "num_residuals")
VALUES = ("loss", "gradient")
SAME = 1e-8  # relative: the same functions on another machine


def fingerprint(problem: Problem, start: Any) -> dict[str, Any]:
    """Return what is compared, at the weights `start`."""
    values = (problem.num_params, problem.num_residuals, problem.loss(start), problem.gradient(start))
    return dict(zip(SIZES + VALUES, values, strict=True))


def require_same(problem: Problem, start: Any, expected: Mapping[str, Any]) -> None:
    """Raise ValueError, with what differs, unless the problem is the one with that fingerprint."""
    for size in SIZES:
        ours = getattr(problem, size)
        if ours != expected[size]:
            raise ValueError(f"the checkpoint is of another problem: {size} is {ours}, not {expected[size]}")
    found = fingerprint(problem, start)
    for name in VALUES:
        theirs = np.asarray(expected[name])
        difference = float(np.max(np.abs(np.asarray(found[name]) - theirs)))
        if not difference <= SAME * float(np.max(np.abs(theirs))):
            raise ValueError(
                f"the checkpoint is of another problem: the {name} at the start differs by {difference:.3g}"
            )
