"""Ctrl-C while the command ``grokflow`` has nothing to save: one line. Other programs see nothing of it.

`grokflow` imports this module before all others, for NumPy, matplotlib and their kin take a second or two.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

by_module = sys.argv[:1] == ["-m"] and "grokflow" in sys.orig_argv[1:4]
is_command = by_module or Path(sys.argv[0] if sys.argv else "").stem == "grokflow"


def leave(number: int, frame: FrameType | None) -> None:
    """End at once: there is nothing to save, and nobody to catch an exception."""
    os.write(2, b"grokflow: interrupted\n")
    os._exit(130)


@contextmanager
def interruptible() -> Iterator[None]:
    """Make Ctrl-C an exception, as everywhere, while there is something to save."""
    if signal.getsignal(signal.SIGINT) is not leave:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, leave)


if (
    is_command and signal.getsignal(signal.SIGINT) is signal.default_int_handler
):  # else: ignored, and so be it
    signal.signal(signal.SIGINT, leave)
