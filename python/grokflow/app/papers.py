"""The scripts of `grokflow.papers`, by name: what there is, and running them."""

from __future__ import annotations

import ast
import os
import runpy
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from matplotlib import pyplot, rc_context
from rich.console import Console

import grokflow.papers
from grokflow.figures.style import STYLE

FOLDER = Path(grokflow.papers.__path__[0])


def titles() -> dict[str, str]:
    """Return the first line of each script, which names the paper, by the name of the script."""
    found = {}
    for path in sorted(FOLDER.glob("[!_]*.py")):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found[path.stem] = text.partition("\n")[0].rstrip(".")
    return found


def run(name: str, out: Path, small: bool, console: Console) -> None:
    """Run a paper's script in the directory `out`, where it leaves its figure.

    Raises
    ------
    ValueError
        The script needs a package that is missing.
    """
    console.print(f"\n{name}: {titles()[name]}", style="bold", highlight=False, soft_wrap=True)
    began = time.perf_counter()
    try:
        with standing_in(out, [name, *["--small"] * small]), rc_context(STYLE):
            runpy.run_module(f"grokflow.papers.{name}", run_name="__main__")
    except ModuleNotFoundError as error:
        raise ValueError(f'{name} needs {error.name}: pip install "grokflow[examples]"') from error
    finally:
        pyplot.close("all")
    seconds = time.perf_counter() - began
    console.print(f"written: {out / name}.png, {seconds:.1f} s", soft_wrap=True, highlight=False)


@contextmanager
def standing_in(directory: Path, argv: list[str]) -> Iterator[None]:
    """Work in a directory, with the arguments of a script, without a screen; then as before."""
    before, arguments, backend = os.getcwd(), sys.argv, pyplot.get_backend()
    os.chdir(directory)
    sys.argv = argv
    pyplot.switch_backend("agg")
    try:
        yield
    finally:
        pyplot.switch_backend(backend)
        sys.argv = arguments
        os.chdir(before)
