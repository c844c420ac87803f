"""The order of a Taylor remainder, which tells a right derivative from a wrong one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from grokflow._validate import FloatArray

STEPS = np.logspace(-12, 0, 37)


class Remainder(NamedTuple):
    """The remainder ``e(h) = ||f(w + h v) - f(w) - h Df(w) v||``.

    Attributes
    ----------
    slope : float
        Of log e against log h where e has just risen above round-off: 2 for the right Df, 1 for a wrong
        one. It is inf where e stays at round-off, as for a linear f.
    relative : float
        The smallest ``e(h) / (h ||Df(w) v||)``: the relative error of Df that could go unseen.
    """

    slope: float
    relative: float

    @property
    def is_right(self) -> bool:
        """Whether Df is the derivative of f, as far as f's round-off lets it be seen."""
        return self.slope > 1.75 or self.relative < 1e-7


def remainder(f: Callable[[FloatArray], Any], derivative: Any, w: FloatArray, v: FloatArray) -> Remainder:
    """Measure the remainder of `f` about `w` along `v`, where `derivative` is Df(w) v.

    A fit over all h would mix noise (small h), the linear error of a wrong derivative (middle) and the
    curvature of f (large h). The first 1.5 decades above the noise show the lowest order that is present.
    """
    f0 = np.atleast_1d(np.array(f(w)))
    tangent = np.atleast_1d(derivative)
    e = np.array([np.linalg.norm(f(w + h * v) - f0 - h * tangent) for h in STEPS])
    h, e = STEPS[np.isfinite(e)], e[np.isfinite(e)]
    if not e.size:
        return Remainder(0.0, np.inf)
    size = max(float(np.linalg.norm(tangent)), np.finfo(float).tiny)
    relative = float(np.min(e / (h * size)))
    visible = e > 50.0 * max(noise(f, w, v), 1e-16 * float(np.linalg.norm(f0)))
    hidden = np.flatnonzero(~visible)
    start = int(hidden[-1]) + 1 if hidden.size else 0
    h, e = h[start : start + 6], e[start : start + 6]
    if h.size < 4:
        return Remainder(np.inf, relative)
    slope, _ = np.polyfit(np.log(h), np.log(e), 1)
    return Remainder(float(slope), relative)


def noise(f: Callable[[FloatArray], Any], w: FloatArray, v: FloatArray) -> float:
    """Return the standard deviation of the round-off in `f`, or a bound, by fourth differences along `v`.

    They annihilate the smooth part of f (More and Wild, Estimating Computational Noise, SIAM J. Sci. Comput.
    33, 2011), and see single precision inside f, which would otherwise pass for a wrong derivative.
    """
    values = np.array([np.atleast_1d(f(w + 1e-5 * k * v)) for k in range(9)])
    fourth = np.diff(values, 4, axis=0)
    deviation = float(np.sqrt(np.mean(np.sum(fourth**2, axis=1)) / 70.0))
    return deviation if np.isfinite(deviation) else 0.0
