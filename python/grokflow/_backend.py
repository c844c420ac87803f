"""Choose the compiled module: the fastest that this processor runs, or the one that is asked for.

``GROKFLOW_ISA=baseline`` or ``GROKFLOW_ISA=avx2`` in the environment forces one.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grokflow import _core as core

__all__ = ["available", "core", "isa"]

MODULES = {"avx2": "_core_avx2", "baseline": "_core"}


def available() -> list[str]:
    """Return the names of the builds that can run here, the fastest first."""
    try:
        cpu = importlib.import_module("grokflow._cpu")
    except ImportError:
        return ["baseline"]
    return ["avx2", "baseline"] if cpu.supports_avx2() else ["baseline"]


def choose() -> str:
    """Return the name of the build to load."""
    forced = os.environ.get("GROKFLOW_ISA")
    if not forced:
        return available()[0]
    if forced not in available():
        raise ImportError(f"GROKFLOW_ISA={forced!r} cannot run here; choose from {available()}")
    return forced


isa = choose()
if not TYPE_CHECKING:
    core = importlib.import_module(f"grokflow.{MODULES[isa]}")
