"""A limit of wall-clock time for all runs that a thread makes, beside the `max_time` of each."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_deadline: ContextVar[float] = ContextVar("deadline", default=math.inf)


def seconds_left() -> float:
    """Return the time that is left to a run which begins now; infinite without a limit, negative if over."""
    return _deadline.get() - time.monotonic()


@contextmanager
def ends_in(seconds: float) -> Iterator[None]:
    """Limit the runs that are made in the block, by this thread, to `seconds` for all together."""
    token = _deadline.set(min(_deadline.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _deadline.reset(token)
