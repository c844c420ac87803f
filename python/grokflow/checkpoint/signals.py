"""Ctrl-C and SIGTERM between two steps, so that what was computed can be written."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

WAITING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def deferred_signals() -> Iterator[list[int]]:
    """Note SIGINT and SIGTERM in the list that is yielded, and deliver them at the end.

    A second one does not wait. Where Python takes no signals (other threads than the main one) nothing is
    deferred.
    """
    pending: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield pending
        return
    usual = {number: signal.getsignal(number) for number in WAITING}

    def note(number: int, frame: FrameType | None) -> None:
        if pending:
            restore()
            signal.raise_signal(number)
        pending.append(number)

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    for number, handler in usual.items():
        if handler not in (signal.SIG_IGN, None):  # None: a handler that was not installed from Python
            signal.signal(number, note)
    try:
        yield pending
    finally:
        restore()
    if pending:
        signal.raise_signal(pending[0])
