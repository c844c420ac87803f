"""One run under the eyes of the command line: a progress bar, and signals that lose nothing."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import grokflow as gf

REDRAW = 0.05  # seconds


class Interrupted(Exception):
    """A run that a signal has ended, with what it had found until then."""

    def __init__(self, solution: gf.Solution, signal_number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(signal_number).name} at t = {solution.t_final:.6g}")
        self.solution = solution
        self.exit_code = 128 + signal_number


def solve(
    name: str, console: Console, problem: gf.Problem, w0: Any, t_end: float, **options: Any
) -> gf.Solution:
    """Call `gradient_flow` on (0, t_end), with a progress bar called ``name`` if ``console`` is a terminal.

    Raises
    ------
    Interrupted
        SIGINT (Ctrl-C) or SIGTERM has come; the exception holds the trajectory so far.
    """
    with terminated_like_interrupted() as last_signal, progress_bar(name, console, t_end) as callback:
        try:
            return gf.gradient_flow(problem, w0, (0.0, t_end), callback=callback, **options)
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


@contextmanager
def progress_bar(name: str, console: Console, t_end: float) -> Iterator[Callable[[float, Any], None] | None]:
    """Yield a callback ``(t, w)`` that moves a bar along log t, or None where nobody looks at it."""
    if not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TextColumn("t = {task.fields[t]:.3g}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=1.0, t=0.0)
        start, drawn = 0.0, 0.0

        def callback(t: float, w: Any) -> None:
            nonlocal start, drawn
            start = start or t
            if time.monotonic() - drawn > REDRAW:
                drawn = time.monotonic()
                bar.update(task, completed=math.log1p(t / start) / math.log1p(t_end / start), t=t)

        yield callback
