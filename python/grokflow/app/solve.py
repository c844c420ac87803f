"""Computations under the eyes of the command line: progress on a terminal, and signals that lose nothing."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from rich.console import Console

import grokflow as gf

Result = TypeVar("Result")


class Interrupted(Exception):
    """A computation that a signal has ended, with the runs until then: the last one was on its way."""

    def __init__(self, solutions: list[gf.Solution], signal_number: int) -> None:
        last = solutions[-1]
        time = "s" if "s_span" in last.settings else "t"
        sent = signal.Signals(signal_number).name
        super().__init__(f"interrupted by {sent} at {time} = {last.t_final:.6g}")
        self.solutions = solutions
        self.exit_code = 128 + signal_number


def solve(console: Console, compute: Callable[[bool], Result]) -> Result:
    """Return ``compute(progress)``, with a progress bar if ``console`` is a terminal.

    Raises
    ------
    Interrupted
        SIGINT (Ctrl-C) or SIGTERM has come; the exception holds what had been found until then.
    """
    with terminated_like_interrupted() as last_signal:
        try:
            return compute(console.is_terminal)
        except KeyboardInterrupt as interrupt:
            found = found_until(interrupt)
            if not found:
                raise
            raise Interrupted(found, last_signal()) from None


def found_until(interrupt: KeyboardInterrupt) -> list[gf.Solution]:
    """Return the runs that `gradient_flow` or `two_phase` have hung on an exception."""
    found: list[gf.Solution] = list(getattr(interrupt, "flows", {}).values())
    landing = getattr(interrupt, "landing", None)
    if landing is not None:
        found.append(landing.path)
    if hasattr(interrupt, "solution"):
        found.append(interrupt.solution)
    return found


@contextmanager
def terminated_like_interrupted() -> Iterator[Callable[[], int]]:
    """Turn SIGTERM into KeyboardInterrupt, and yield a function that tells which of the two came last."""
    last = signal.SIGINT

    def on_terminate(number: int, frame: FrameType | None) -> None:
        nonlocal last
        last = signal.SIGTERM
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, on_terminate)
    try:
        yield lambda: last
    finally:
        signal.signal(signal.SIGTERM, before)
