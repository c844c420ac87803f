"""What is read off a recorded curve: where it crosses a level, and its values between the points."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grokflow._validate import FloatArray

TINY = float(np.finfo(np.float64).tiny)  # stands for 0 under a logarithm


def value_at(t: FloatArray, values: FloatArray, time: float) -> float:
    """Return the value at a time, on straight lines in log-log axes; nan at nan."""
    if math.isnan(time):
        return math.nan
    value = np.exp(np.interp(_log(time), _log(t), _log(values)))
    return float(value) if value > 2.0 * TINY else 0.0


def first_crossing(t: FloatArray, values: FloatArray, level: FloatArray | float, log_t: bool = True) -> float:
    """Return the first time with ``values <= level``; nan if there is none.

    Between the points log values are straight lines over log t, or over t.
    """
    gap = _log(values) - _log(level)
    below = np.flatnonzero(gap <= 0.0)
    return _crossing(t, values, gap, int(below[0]), log_t) if below.size else math.nan


def stays_below(t: FloatArray, values: FloatArray, level: float) -> float:
    """Return the first time from which on ``values < level``, in log-log axes; nan if there is none."""
    above = np.flatnonzero(~(values < level))
    first = int(above[-1]) + 1 if above.size else 0
    return _crossing(t, values, _log(values) - _log(level), first) if first < len(t) else math.nan


def nearest(grid: FloatArray, times: FloatArray) -> NDArray[np.intp]:
    """Return the indices of the entries of a sorted grid that are closest to `times`."""
    right = np.clip(np.searchsorted(grid, times), 0, len(grid) - 1)
    left = np.maximum(right - 1, 0)
    return np.where(times - grid[left] < grid[right] - times, left, right)


def _crossing(t: FloatArray, values: FloatArray, gap: FloatArray, i: int, log_t: bool = True) -> float:
    """Return where the line from point i - 1 to point i falls through ``gap = 0``; t[0] for i = 0."""
    if i == 0 or values[i] <= 0.0:  # no line in a log axis leads to 0
        return float(t[i])
    part = gap[i - 1] / (gap[i - 1] - gap[i])
    if log_t and t[i - 1] > 0.0:
        return float(t[i - 1] * (t[i] / t[i - 1]) ** part)
    return float(t[i - 1] + part * (t[i] - t[i - 1]))


def _log(x: Any) -> FloatArray:
    return np.log(np.clip(np.asarray(x, dtype=np.float64), TINY, 1.0 / TINY))
