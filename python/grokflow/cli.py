"""The entry point of the command ``grokflow``; the commands themselves are in `grokflow.app`."""

from __future__ import annotations

import os
import sys

from grokflow import _start


def main() -> None:
    """Run the command line, or say in one line which packages it needs."""
    try:
        from grokflow.app.commands import app
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("grokflow"):
            raise
        sys.exit(f'grokflow: the command line needs {error.name}: pip install "grokflow[app]"')
    _start.done()
    try:
        app(prog_name="grokflow")
    finally:
        flush()


def flush() -> None:
    """Write out what waits for standard output, or say why that fails."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would try once more
        if not isinstance(error, BrokenPipeError):
            sys.exit(f"grokflow: standard output: {error.strerror}")
