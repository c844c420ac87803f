"""The entry point of the command ``grokflow``; the commands themselves are in `grokflow.app`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, or say in one line which packages it needs."""
    try:
        from grokflow.app.commands import app
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("grokflow"):
            raise
        sys.exit(f'grokflow: the command line needs {error.name}: pip install "grokflow[app]"')
    app(prog_name="grokflow")
