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


def available() -> list[str]:
    """Return the names of the builds that are there and can run here, the fastest first."""
    try:
        cpu: object = importlib.import_module("grokflow._cpu")
    except ImportError:  # not an x86-64 processor
        cpu = None
    faster = [name for name in MODULES if name != "baseline" and getattr(cpu, name, False)]
    return [name for name in faster if importlib.util.find_spec(f"grokflow.{MODULES[name]}")] + ["baseline"]


def choose() -> str:
    """Return the name of the build to load."""
    forced = os.environ.get("GROKFLOW_ISA")
    if not forced:
        return available()[0]
    if forced not in available():
        raise ImportError(f"GROKFLOW_ISA={forced!r} cannot run here; choose from {available()}")
    return forced


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
