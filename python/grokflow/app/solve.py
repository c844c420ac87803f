"""One run under the eyes of the command line: progress on a terminal, and signals that lose nothing."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from rich.console import Console

import grokflow as gf


class Interrupted(Exception):
    """A run that a signal has ended, with what it had found until then."""

    def __init__(self, solution: gf.Solution, signal_number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(signal_number).name} at t = {solution.t_final:.6g}")
        self.solution = solution
        self.exit_code = 128 + signal_number


def solve(console: Console, problem: gf.Problem, w0: Any, t_end: float, **options: Any) -> gf.Solution:
    """Call `gradient_flow` on (0, t_end), with a progress bar if ``console`` is a terminal.

    Raises
    ------
    Interrupted
        SIGINT (Ctrl-C) or SIGTERM has come; the exception holds the trajectory so far.
    """
    with terminated_like_interrupted() as last_signal:
        try:
            return gf.gradient_flow(problem, w0, (0.0, t_end), progress=console.is_terminal, **options)
        except KeyboardInterrupt as interrupt:
            partial = getattr(interrupt, "solution", None)
            if partial is None:
                raise
            raise Interrupted(partial, last_signal()) from None


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
