"""Computations under the eyes of the command line: progress on a terminal, and signals that lose nothing."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, TypeVar

from rich.console import Console

import grokflow as gf

Result = TypeVar("Result")
SAVED = "what was found so far is saved"


class Interrupted(Exception):
    """A signal has come; what had been found until then is written."""

    def __init__(self, signal_number: int, when: str) -> None:
        super().__init__(f"interrupted by {signal.Signals(signal_number).name} {when}")
        self.exit_code = 128 + signal_number


class Signals:
    """SIGINT (Ctrl-C) and SIGTERM: they end a computation, and wait while its results are written."""

    def __init__(self) -> None:
        self.last: int | None = None
        self.wait = False

    def __enter__(self) -> Signals:
        # A signal that is ignored, as Ctrl-C is in the background, stays so.
        wanted = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._on) for number in wanted}
        return self

    def _on(self, number: int, frame: FrameType | None) -> None:
        self.last = number
        if not self.wait:
            raise KeyboardInterrupt

    def __exit__(self, kind: type[BaseException] | None, error: Any, traceback: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def solve(
    console: Console,
    compute: Callable[[bool], Result],
    write: Callable[[Result], object],
    rescue: Callable[[list[gf.Solution]], object],
) -> Result:
    """Return ``compute(progress)`` once it is written, with a progress bar if ``console`` is a terminal.

    Whatever ends `compute` early hands all runs until then to `rescue`; the last one was on its way. (It
    calls nothing by **, which leaves room for a signal before the result has a name.)

    Raises
    ------
    Interrupted
        SIGINT (Ctrl-C) or SIGTERM has come, and what had been found until then is written.
    """
    with Signals() as signals:
        try:
            result = compute(console.is_terminal)
            signals.wait = True
        except BaseException as error:
            signals.wait = True
            found = found_until(error)
            if found:
                rescue(found)
            if not isinstance(error, KeyboardInterrupt):
                raise
            raise Interrupted(signals.last or signal.SIGINT, reached(found)) from None
        write(result)
        if signals.last is not None:
            raise Interrupted(signals.last, f"while the results were written; {SAVED}")
    return result


def reached(found: list[gf.Solution]) -> str:
    """Return when a computation was interrupted that had found so much."""
    if not found:
        return "before the first step"
    time = "s" if "s_span" in found[-1].settings else "t"
    return f"at {time} = {found[-1].t_final:.6g}; {SAVED}"


def found_until(error: BaseException) -> list[gf.Solution]:
    """Return the runs that `gradient_flow` or `two_phase` have hung on an exception, each once."""
    found: list[gf.Solution] = list(getattr(error, "flows", {}).values())
    landing = getattr(error, "landing", None)
    if landing is not None:
        found.append(landing.path)
    last = getattr(error, "solution", None)
    if last is not None and not any(sol is last for sol in found):
        found.append(last)
    return found
