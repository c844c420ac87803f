"""The manual: ``pip install ".[docs]" && sphinx-build -W docs docs/_build``. Code that fails stops it."""

import inspect
import io
import os
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import grokflow as gf
from grokflow.app import papers
from rich.console import Console

ROOT = Path(__file__).parent.parent
os.environ.pop("MPLBACKEND", None)  # that of notebooks shows what is drawn

project = "grokflow"
author = "The grokflow developers"
release = version = gf.__version__
html_title = f"grokflow {release}"

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx-mathjax-offline",  # formulas can be read where there is no network
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "jupyter_execute", "generated/benchmarks"]
nitpicky = False

# Every block of code is run, page by page, as a reader would type it.
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_execution_in_temp = True
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "amsmath", "deflist", "colon_fence", "attrs_inline"]
myst_heading_anchors = 3
copybutton_exclude = ".linenos, .gp, .go"

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_class_members_toctree = False
numpydoc_show_class_members = False

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["gallery.css"]
html_show_sourcelink = False


def public_names() -> dict[str, list[str]]:
    """Return what `grokflow` exports, by kind, each name once."""
    kinds: dict[str, list[str]] = {"functions": [], "classes": []}
    for name in gf.__all__:
        thing = getattr(gf, name)
        if inspect.ismodule(thing):
            continue
        kinds["classes" if inspect.isclass(thing) else "functions"].append(name)
    return kinds


def write_reference() -> None:
    """Write the page that lists every public name: it cannot fall behind ``__all__``."""
    lines = ["# Reference", ""]
    for title, prefix, names in [
        *((kind.capitalize(), "grokflow.", names) for kind, names in public_names().items()),
        *(
            (title, f"grokflow.{module}.", list(getattr(gf, module).__all__))
            for title, module in (
                ("Models", "models"),
                ("Losses", "losses"),
                ("Observables", "observables"),
                ("Methods for SciPy", "scipy"),
            )
            if hasattr(gf, module)
        ),
    ]:
        listing = [f"   {prefix}{name}" for name in names]
        directive = ["```{eval-rst}", ".. autosummary::", "   :toctree: generated", "", *listing, "```"]
        lines += [f"## {title}", "", *directive, ""]
    page, text = ROOT / "docs" / "reference.md", "\n".join(lines)
    if not page.exists() or page.read_text(encoding="utf-8") != text:
        page.write_text(text, encoding="utf-8")


def plain_roles(app, what, name, thing, options, lines):
    """Leave docstrings' cross references to names that have no page of their own as code."""
    for i, line in enumerate(lines):
        lines[i] = re.sub(r":mod:`~?([\w.]+)`", r"``\1``", line)


def run_papers() -> None:
    """Run the papers' scripts at small size for what they print; one that fails stops the build."""
    out = ROOT / "docs" / "generated" / "papers"
    out.mkdir(parents=True, exist_ok=True)
    for name in papers.titles().keys() - {
        "nanda2023"
    }:  # JAX takes longer than all the others: the tests run it
        script, page = Path(papers.FOLDER, f"{name}.py"), out / f"{name}.txt"
        if page.exists() and page.stat().st_mtime > script.stat().st_mtime:
            continue
        printed = io.StringIO()
        with TemporaryDirectory() as folder, redirect_stdout(printed):
            papers.run(name, Path(folder), small=True, console=Console(file=io.StringIO()))
        page.write_text(printed.getvalue(), encoding="utf-8")


def draw_benchmarks() -> None:
    """Draw the stored runs of the benchmarks."""
    sys.path.insert(0, str(ROOT))
    from benchmarks import diagrams

    diagrams.draw(ROOT / "benchmarks" / "results", ROOT / "docs" / "generated" / "benchmarks")


write_reference()
run_papers()
draw_benchmarks()


def setup(app):
    app.connect("autodoc-process-docstring", plain_roles)
