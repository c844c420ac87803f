"""A function that ends with its time, whatever it is doing."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from grokflow.deadline import ends_in
from grokflow.sweeps.rows import FAILED, Point, Row

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

GRACE = 1.0  # seconds for a function to end by itself, as solvers of this library do
LONGEST = 1e6  # seconds that systems wait for at most, two weeks or so; a longer budget is the solver's alone

Work = Callable[[Point], Row]


class OutOfTime(BaseException):
    """Raised in a function of the user's whose time is over."""


def within(seconds: float, work: Work, point: Point) -> Row:
    """Return ``work(point)``, or a row that says "time_limit".

    Solvers of this library end in time by themselves. In a worker process it goes on in a child of that
    process, which is killed. Elsewhere it goes on in a thread, which gets an exception, and is left behind if
    it does not take that: it waits, or is in compiled code.
    """
    from multiprocessing import current_process, parent_process

    if parent_process() is not None and not current_process().daemon:
        row = _in_child(seconds, work, point)
    else:
        row = _in_thread(seconds, work, point)
    return row or Row(status="time_limit", message=f"It took longer than max_time = {seconds:g} s.")


def patience(seconds: float) -> float | None:
    """How long what has this budget is waited for; None: without end."""
    return seconds + GRACE if seconds < LONGEST else None


def _in_thread(seconds: float, work: Work, point: Point) -> Row | None:
    thread = _Thread(seconds, work, point)
    thread.start()
    thread.join(patience(seconds))
    if thread.is_alive():
        thread.interrupt()
        thread.join(GRACE)
    return thread.row


class _Thread(threading.Thread):
    """A thread that does not keep the process alive, and in which an exception can be raised."""

    def __init__(self, seconds: float, work: Work, point: Point) -> None:
        super().__init__(daemon=True)
        self._asked = seconds, work, point
        self._lock = threading.Lock()
        self._over = False
        self.row: Row | None = None

    def run(self) -> None:
        seconds, work, point = self._asked
        try:
            try:
                with ends_in(seconds):
                    self.row = work(point)
            finally:
                with self._lock:
                    self._over = True
        except OutOfTime:
            pass

    def interrupt(self) -> None:
        with self._lock:  # not after the end: the name of a thread may be given to another one
            if not self._over:
                assert self.ident is not None
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self.ident), ctypes.py_object(OutOfTime)
                )


_local = threading.local()  # `child`: of this thread, as long as it lives


def _in_child(seconds: float, work: Work, point: Point) -> Row | None:
    child: _Child | None = getattr(_local, "child", None)
    if child is None:
        child = _local.child = _Child()
    try:
        return child.call(seconds, work, point)
    except (EOFError, OSError):
        return Row(status=FAILED, message=f"its process ended with exit code {child.ended()}")
    finally:
        if not child.is_alive():
            _local.child = None


class _Child:
    """A process that does one thing after the other, and can be killed."""

    def __init__(self) -> None:
        from multiprocessing import Pipe, Process

        self._connection, theirs = Pipe()
        self._process = Process(target=_serve, args=(theirs, self._connection), daemon=True)
        self._process.start()
        theirs.close()

    def call(self, seconds: float, work: Work, point: Point) -> Row | None:
        self._connection.send((seconds, work, point))
        self._connection.recv()  # it has started, and imported what the work needs
        if self._connection.poll(patience(seconds)):
            row: Row = self._connection.recv()
            return row
        self._process.kill()
        self._process.join()
        return None

    def ended(self) -> int | None:
        self._process.join(GRACE)
        return self._process.exitcode

    def is_alive(self) -> bool:
        return self._process.is_alive()


def _serve(connection: Connection[Any, Any], other_end: Connection[Any, Any]) -> None:
    other_end.close()  # or the end of the parent would not be told
    try:
        while True:
            seconds, work, point = connection.recv()
            connection.send("begun")
            with ends_in(seconds):
                row = work(point)
            connection.send(row)
    except (EOFError, OSError, KeyboardInterrupt):
        pass
