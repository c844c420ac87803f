"""Weight decay that changes over time: ``gradient_flow(..., weight_decay=gf.schedules.OffAfter(1e-3, 1e4))``.

A schedule is a rate, of all weights or by block, times a factor of time that is smooth but for breaks. Steps
end at the breaks, where the method begins anew. Slow time is the integral ``s(t)`` of the largest rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np

from grokflow._validate import FloatArray, as_number, as_positive

Rate: TypeAlias = float | Mapping[str, float]

NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)  # of an integral over [-1, 1]
EXACT = 1e-12  # relative error of an integral
DEEPEST = 60  # halvings of its span


@dataclass(frozen=True)
class Schedule:
    """What all schedules are; a subclass gives :meth:`factor`, its breaks, and an integral if it knows one.

    Attributes
    ----------
    rate : float, or mapping of str to float
        Where the factor is 1, as `weight_decay` of :func:`gradient_flow`.
    """

    rate: Rate

    @property
    def breaks(self) -> tuple[float, ...]:
        """The times at which the factor jumps or bends."""
        return ()

    def factor(self, t: float) -> float:
        """Return the factor of the rates at time `t`."""
        raise NotImplementedError(f"{type(self).__name__} gives no factor(t)")

    def __call__(self, t: float) -> float:
        """Return the largest rate at time `t`.

        Raises
        ------
        ValueError
            It is negative or not finite.
        """
        return self._largest * self._factor(t)

    def slow_time(self, t: float, t0: float = 0.0) -> float:
        """Return the integral of the largest rate from `t0` to `t`."""
        ends = [t0, *(time for time in self.breaks if t0 < time < t), t]
        return self._largest * sum(map(self._integral, ends, ends[1:]))

    @property
    def _largest(self) -> float:
        return float(max(self.rate.values()) if isinstance(self.rate, Mapping) else self.rate)

    def _factor(self, t: float) -> float:
        """The factor, checked."""
        value = as_real(self.factor(t), t)
        if not 0.0 <= value < math.inf:
            raise ValueError(
                f"weight_decay has the factor {value:g} at t = {t:g}; it must be finite and not negative"
            )
        return value

    def _integral(self, a: float, b: float, depth: int = 0) -> float:
        """Of the factor over a span without breaks, by halves until they agree with the whole."""
        middle = 0.5 * (a + b)
        left, right, whole = (self._panel(*span) for span in ((a, middle), (middle, b), (a, b)))
        if depth == DEEPEST or abs(left + right - whole) <= EXACT * abs(whole):
            return left + right
        return self._integral(a, middle, depth + 1) + self._integral(middle, b, depth + 1)

    def _panel(self, a: float, b: float) -> float:
        half = 0.5 * (b - a)
        total: float = half * sum(
            weight * self._factor(a + half * (1.0 + node))
            for node, weight in zip(NODES.tolist(), WEIGHTS.tolist(), strict=True)
        )
        return total

    def _observables(self, t0: float) -> dict[str, Callable[[float, FloatArray], float]]:
        """What can be observed of it along a flow from `t0`."""
        return {"weight_decay": lambda t, w: self(t), "slow_time": lambda t, w: self.slow_time(t, t0)}

    def _settings(self) -> dict[str, Any]:
        """Return the schedule as JSON types; None stands for a function."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"schedule": type(self).__name__} | {
            name: None if callable(value) else list(value) if isinstance(value, tuple) else told(value)
            for name, value in own.items()
        }


@dataclass(frozen=True)
class Constant(Schedule):
    """The same rate at all times."""

    def factor(self, t: float) -> float:
        """Return 1."""
        return 1.0


@dataclass(frozen=True)
class OffAfter(Schedule):
    """The rate up to a time, and none from there on.

    Attributes
    ----------
    t_off : float
        That time.
    """

    t_off: float

    def __post_init__(self) -> None:
        as_number("t_off", self.t_off)

    @property
    def breaks(self) -> tuple[float, ...]:
        """That time."""
        return (self.t_off,)

    def factor(self, t: float) -> float:
        """Return 1 before, and 0 after."""
        return 1.0 if t < self.t_off else 0.0


@dataclass(frozen=True)
class OnAfter(Schedule):
    """No decay up to a time, and the rate from there on.

    Attributes
    ----------
    t_on : float
        That time.
    """

    t_on: float

    def __post_init__(self) -> None:
        as_number("t_on", self.t_on)

    @property
    def breaks(self) -> tuple[float, ...]:
        """That time."""
        return (self.t_on,)

    def factor(self, t: float) -> float:
        """Return 0 before, and 1 after."""
        return 1.0 if t >= self.t_on else 0.0


@dataclass(frozen=True)
class Exponential(Schedule):
    """The rate times ``exp(-t / tau)``.

    Attributes
    ----------
    tau : float
        The time in which it falls by e.
    """

    tau: float

    def __post_init__(self) -> None:
        as_positive("tau", self.tau)

    def factor(self, t: float) -> float:
        """Return ``exp(-t / tau)``."""
        return math.exp(-t / self.tau)


@dataclass(frozen=True)
class Cyclic(Schedule):
    """The rate times a cosine that swings between `least` and 1, and begins at 1.

    Attributes
    ----------
    period : float
        The time of one swing.
    least : float
        The smallest factor.
    """

    period: float
    least: float = 0.0

    def __post_init__(self) -> None:
        as_positive("period", self.period)
        if not 0.0 <= as_number("least", self.least) <= 1.0:
            raise ValueError(f"least is {self.least}; it must lie between 0 and 1")

    def factor(self, t: float) -> float:
        """Return ``least + (1 - least) cos^2(pi t / period)``."""
        return self.least + (1.0 - self.least) * math.cos(math.pi * t / self.period) ** 2


@dataclass(frozen=True)
class Function(Schedule):
    """The rate times a function of time.

    Attributes
    ----------
    of_time : callable
        ``of_time(t)`` returns the factor: a finite number that is not negative.
    at : sequence of float
        The times at which it jumps or bends. Steps end there; without them they become as short as it takes.
    """

    of_time: Callable[[float], float]
    at: Sequence[float] = ()

    def __post_init__(self) -> None:
        if not callable(self.of_time):
            raise TypeError(f"of_time is {self.of_time!r}; it must be a function of time")
        object.__setattr__(
            self, "at", tuple(sorted({as_number(f"at[{i}]", time) for i, time in enumerate(self.at)}))
        )

    @property
    def breaks(self) -> tuple[float, ...]:
        """The times `at`."""
        return tuple(self.at)

    def factor(self, t: float) -> float:
        """Return what the function does."""
        return self.of_time(t)


def as_real(value: object, t: float) -> float:
    """Return what a schedule says as a number."""
    try:
        return math.ldexp(value, 0)  # type: ignore[arg-type]  # float() of a number, not of a text
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"weight_decay returned {value!r} at t = {t:g}; it must return a number") from None


def told(rate: Any) -> Any:
    """Return rates as JSON types."""
    return dict(rate) if isinstance(rate, Mapping) else float(rate)


def as_schedule(weight_decay: object) -> Schedule | None:
    """Return a schedule, also of a plain function ``lam(t)``; None for rates that do not change."""
    if isinstance(weight_decay, Schedule):
        return weight_decay
    return Function(1.0, weight_decay) if callable(weight_decay) else None
