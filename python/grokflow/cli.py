"""The entry point of the command ``grokflow``; the commands themselves are in `grokflow.app`."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line, or say in one line which packages it needs."""
    try:
        from grokflow.app.commands import app
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("grokflow"):
            raise
        sys.exit(f'grokflow: the command line needs {error.name}: pip install "grokflow[app]"')
    try:
        try:
            app(prog_name="grokflow")
        finally:
            sys.stdout.flush()
    except OSError as error:  # of standard output; other files are told where they are used
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would try once more
        sys.exit(1 if isinstance(error, BrokenPipeError) else f"grokflow: standard output: {error.strerror}")
