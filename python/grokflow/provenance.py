"""What a result says of where it comes from, beside the options of its run."""

from __future__ import annotations

import hashlib
import platform
from typing import Any

import numpy as np

from grokflow._backend import core, isa
from grokflow._validate import FloatArray
from grokflow.problems import Problem


def provenance(problem: Problem, w0: FloatArray) -> dict[str, Any]:
    """Return what was solved from where, by which program, as JSON types; see `Solution.settings`."""
    return {
        "problem": repr(problem),
        "problem_hash": problem._hash,
        "w0_hash": (drawn := digest(w0)),
        "initial_weights": problem._drawn.get(drawn),
        "num_threads": core.num_threads(),
        "build": isa,
        "versions": {
            "grokflow": core.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }


def digest(value: object) -> str:
    """Return 16 hexadecimal digits that tell arrays, and nests of them, from others."""
    state = hashlib.blake2b(digest_size=8)
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += [*item.values(), *item]
        elif isinstance(item, tuple | list):
            waiting += [*item, len(item)]
        elif isinstance(item, np.ndarray):
            state.update(f"{item.dtype.str}{item.shape}".encode())
            state.update(np.ascontiguousarray(item).data)
        else:
            state.update(f"{item!r};".encode())
    return state.hexdigest()
