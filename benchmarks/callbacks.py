"""What a call of the user's function costs beside the work that it does.

python -m benchmarks.callbacks                # needs numba, and a C compiler (cc)

The core calls the gradient of a loss of one parameter many times in a row, as a solver does; the function
copies one number, so that what is measured is the way to it and back.
"""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
import time
from pathlib import Path

import grokflow as gf
import numba
import numpy as np
from grokflow._backend import core
from scipy import LowLevelCallable

REPEATS = 7
COMPILED, PYTHON = 2_000_000, 20_000  # calls in a repeat
SOURCE = "int copy(const double *w, double *out, void *data) { (void)data; out[0] = w[0]; return 0; }"


def by_compiler(folder):
    """Return out[0] = w[0] as a function of a C library."""
    source, library = Path(folder, "copy.c"), Path(folder, "copy.so")
    source.write_text(SOURCE)
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", source, "-o", library], check=True)
    copy = ctypes.CDLL(str(library)).copy
    doubles = ctypes.POINTER(ctypes.c_double)
    copy.argtypes = [doubles, doubles, ctypes.c_void_p]
    return copy


def by_numba():
    pointer = numba.types.CPointer(numba.float64)

    @numba.cfunc(numba.types.int32(pointer, pointer, numba.types.voidptr))
    def copy(w, out, data):
        out[0] = w[0]
        return 0

    return copy


def nanoseconds(function, calls):
    """The shortest time of a call, in a run of many."""
    problem, w = gf.Objective(loss=function, gradient=function, num_params=1), np.ones(1)
    core.repeat_gradient(problem._core, w, calls // 10)
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        core.repeat_gradient(problem._core, w, calls)
        times.append(time.perf_counter() - began)
    return 1e9 * min(times) / calls


def main():
    with tempfile.TemporaryDirectory() as folder:
        function = by_compiler(folder)
        ways = {
            "C, ctypes pointer": (function, COMPILED),
            "C, LowLevelCallable": (LowLevelCallable(function), COMPILED),
            "numba @cfunc": (by_numba(), COMPILED),
            "Python": (lambda w: w, PYTHON),
        }
        for name, (way, calls) in ways.items():
            print(f"{name:<22}{nanoseconds(way, calls):>6.0f} ns")


if __name__ == "__main__":
    main()
