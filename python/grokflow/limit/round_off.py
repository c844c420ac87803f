"""Whether round-off has chosen where a flow has landed: which saddles it has passed, and weights beside it.

Close to a saddle what tells the ways out from each other may sink below the last digit of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from grokflow._validate import FloatArray

ESCAPE = 1e3  # growth of ||grad F|| out of a saddle, by which errors grow too
ROUND_OFF = 1e-13  # of the gradient, over the largest so far
DIGITS = 64.0 * np.finfo(float).eps
STOPS = 9  # at a saddle, for other digits: what they are to show shrinks there before it grows
PACE = 2.0  # ratio of gradients out of a saddle that differ by last digits, beyond which these decide


class Saddle(NamedTuple):
    """When the flow was closest to a saddle, and when it had left it, with ``||grad F||`` there."""

    closest: float
    left: float
    slope: float


def saddles(times: Iterable[float], slopes: Iterable[float]) -> list[Saddle]:
    """Return the saddles that a flow has left, from ``||grad F||`` along it."""
    found: list[Saddle] = []
    least, closest, most, steepest, leaving = math.inf, 0.0, 0.0, 0.0, False
    for t, slope in zip(map(float, times), map(float, slopes), strict=False):
        steepest = max(steepest, slope)
        seen = max(slope, ROUND_OFF * steepest)
        if leaving:
            most = max(most, seen)
            leaving, least = seen * ESCAPE > most, math.inf
        elif seen > ESCAPE * least:
            found.append(Saddle(closest, t, slope))
            most, leaving = seen, True
        if not leaving and seen < least:
            least, closest = seen, t
    return found


def with_other_digits(w: FloatArray, atol: float) -> FloatArray:
    """Return `w` with other last digits, by more than the round-off of a few steps; what is zero stays.

    Digits below `atol` are not known either.
    """
    unknown = np.where(w == 0.0, 0.0, np.maximum(DIGITS * np.abs(w), atol))
    return w + unknown * np.random.default_rng(0).uniform(-1.0, 1.0, w.size)


def ratio(slopes: tuple[float, float]) -> float:
    """Return the larger over the smaller; 1 for two zeros."""
    return max(slopes) / min(slopes) if min(slopes) > 0.0 else 1.0 + max(slopes)
