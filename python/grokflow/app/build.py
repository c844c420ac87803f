"""What this installation is made of."""

from __future__ import annotations

import importlib.metadata
import platform

import numpy as np

import grokflow as gf
from grokflow import _backend


def version_line() -> str:
    """Return program, version and build in a few words."""
    return f"grokflow {version()}, build {_backend.isa}, {platform.machine()}"


def version() -> str:
    """Return the version of the compiled core, which is that of the package."""
    return str(_backend.core.__version__)


def describe() -> dict[str, str]:
    """Return what a report of a fault should say."""
    threads = "OpenMP" if _backend.core.has_threads else "built without OpenMP"
    return {
        "grokflow": version(),
        "build": f"{_backend.isa} (installed: {', '.join(_backend.built())})",
        "processor": f"runs {', '.join(_backend.runnable())}",
        "threads": f"{gf.get_num_threads()} ({threads})",
        "Eigen": str(_backend.core.__eigen_version__),
        "numpy": np.__version__,
        **{name: importlib.metadata.version(name) for name in ("matplotlib", "typer", "rich")},
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "platform": platform.platform(),
    }
