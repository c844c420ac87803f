"""Choose the compiled module: the fastest that this processor runs, or the one that is asked for.

``GROKFLOW_ISA=baseline``, ``avx2`` or ``avx512`` in the environment forces one.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grokflow import _core as core

__all__ = ["available", "core", "isa"]

MODULES = {"avx512": "_core_avx512", "avx2": "_core_avx2", "baseline": "_core"}
SPINS = "1000"  # about 20 microseconds, more than lie between two parallel loops of one gradient


def built() -> list[str]:
    """Return the names of the builds that are installed, the fastest first."""
    return [name for name, module in MODULES.items() if importlib.util.find_spec(f"grokflow.{module}")]


def runnable() -> list[str]:
    """Return the names of the builds that this processor can run, the fastest first."""
    cpu = importlib.import_module("grokflow._cpu")
    return [name for name in MODULES if getattr(cpu, name)]


def available() -> list[str]:
    """Return the names of the builds that are both installed and can run here, the fastest first."""
    can_run = runnable()
    return [name for name in built() if name in can_run]


def choose() -> str:
    """Return the name of the build to load."""
    forced = os.environ.get("GROKFLOW_ISA")
    found = available()
    if forced and forced not in found:
        raise ImportError(f"GROKFLOW_ISA={forced!r} cannot run here; choose from {found}. {cure()}")
    if not found:
        raise ImportError(f"grokflow has no compiled module that can run here. {cure()}")
    return forced or found[0]


def cure() -> str:
    """Say which builds there are, what this processor runs, and how to get what is missing."""
    return (
        f"Installed: {', '.join(built()) or 'none'}; this processor runs: {', '.join(runnable())}. "
        "To build for this machine, in a clone of the repository: "
        "pip install --force-reinstall --no-deps --no-cache-dir ."
    )


def load(name: str) -> ModuleType:
    """Import a build, with threads that soon sleep when they wait for each other.

    GNU's OpenMP reads its settings when it is loaded. By default its threads spin for milliseconds, and where
    another program needs the processor, those that work wait for those that spin.
    """
    if {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        return importlib.import_module(name)
    os.environ["GOMP_SPINCOUNT"] = SPINS
    try:
        return importlib.import_module(name)
    finally:
        del os.environ["GOMP_SPINCOUNT"]


isa = choose()
if not TYPE_CHECKING:
    core = load(f"grokflow.{MODULES[isa]}")
