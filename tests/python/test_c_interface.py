"""The plain C interface, called by ctypes; tests/consumer/plain.c calls it from C."""

import ctypes
import os
import threading
from pathlib import Path

import c_functions
import grokflow as gf
import numpy as np
import pytest
from c_functions import DOUBLES, FUNCTION

LIBRARY = Path(gf.__file__).parent / "lib"
pytestmark = [
    pytest.mark.skipif(not LIBRARY.is_dir(), reason="grokflow runs from its sources"),
    pytest.mark.skipif(os.name == "nt", reason="the library is static"),
]


class Options(ctypes.Structure):
    _fields_ = (
        ("t0", ctypes.c_double),
        ("t1", ctypes.c_double),
        ("rtol", ctypes.c_double),
        ("atol", ctypes.c_double),
        ("method", ctypes.c_char_p),
        ("max_steps", ctypes.c_int64),
        ("max_time", ctypes.c_double),
        ("times", DOUBLES),
        ("num_times", ctypes.c_int64),
        ("keep_states", ctypes.c_int),
    )


@pytest.fixture(scope="module")
def plain():
    (library,) = [file for file in LIBRARY.iterdir() if file.suffix in (".so", ".dylib")]
    loaded = ctypes.CDLL(str(library))
    loaded.grokflow_default_options.restype = Options
    for name in ("last_error", "library_version", "status", "message"):
        getattr(loaded, f"grokflow_{name}").restype = ctypes.c_char_p
    return loaded


W0 = np.array([2.0, 0.5])


def flow(plain, residual, t1):
    """Make the run of r = w_0 w_1 - 1 with weight decay 0.01; `plain` is the library."""
    problem, run = ctypes.c_void_p(), ctypes.c_void_p()
    functions = (residual, c_functions.jvp, c_functions.vjp, None, None)
    sizes = (ctypes.c_int64(2), ctypes.c_int64(1), ctypes.c_double(1.0))
    assert plain.grokflow_least_squares(*sizes, *functions, ctypes.byref(problem)) == 0
    options = plain.grokflow_default_options()
    options.t1 = t1
    start, decay = W0.ctypes.data_as(DOUBLES), ctypes.c_double(1e-2)
    code = plain.grokflow_gradient_flow(problem, start, decay, ctypes.byref(options), ctypes.byref(run))
    assert code == 0, plain.grokflow_last_error()
    plain.grokflow_free_problem(problem)
    return run


def end(plain, run):
    t, w = ctypes.c_double(), np.empty(2)
    assert plain.grokflow_end(run, ctypes.byref(t), w.ctypes.data_as(DOUBLES)) == 0
    return t.value, w


def test_it_solves_as_python_does(plain):
    assert plain.grokflow_library_version().decode() == gf.__version__
    run = flow(plain, c_functions.residual, 1e3)
    assert plain.grokflow_advance(run) == 0
    assert plain.grokflow_status(run) == b"finished"
    t, w = end(plain, run)
    plain.grokflow_free_run(run)
    problem = gf.LeastSquares(
        residual=c_functions.residual,
        jvp=c_functions.jvp,
        vjp=c_functions.vjp,
        num_params=2,
        num_residuals=1,
        scale=1.0,
    )
    sol = gf.gradient_flow(problem, W0, (0, 1e3), weight_decay=1e-2)
    assert t == 1e3
    np.testing.assert_allclose(w, sol.w[-1], rtol=1e-5)


def test_another_thread_stops_it(plain):
    """In the middle of a step, when nothing but `stop` is allowed."""
    called, go_on = threading.Event(), threading.Event()
    go_on.set()

    @FUNCTION
    def residual(w, out, data):
        called.set()
        go_on.wait(60)
        return c_functions.residual(w, out, data)

    run = flow(plain, residual, 1e12)
    called.clear()
    go_on.clear()
    running = threading.Thread(target=plain.grokflow_advance, args=(run,))
    running.start()
    assert called.wait(60)
    assert plain.grokflow_status(run) is None
    assert b"another thread" in plain.grokflow_last_error()
    assert plain.grokflow_stop(run) == 0
    go_on.set()
    running.join(60)
    assert plain.grokflow_status(run) == b"interrupted"
    assert end(plain, run)[0] < 1e12
    plain.grokflow_free_run(run)
