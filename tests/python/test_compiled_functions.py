"""Problems of compiled functions, called without the interpreter: ctypes, LowLevelCallable, numba."""

import ctypes
import shutil
import subprocess
import threading
from pathlib import Path

import grokflow as gf
import numpy as np
import pytest

scipy = pytest.importorskip("scipy")
ROOT = Path(__file__).parents[2]
DOUBLES = ctypes.POINTER(ctypes.c_double)
FUNCTION = [DOUBLES, DOUBLES, ctypes.c_void_p]
PRODUCT = [DOUBLES, DOUBLES, DOUBLES, ctypes.c_void_p]
W0 = np.array([2.0, 0.5, 3.0])
TARGETS = np.arange(1.0, 4.0)


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    path = tmp_path_factory.mktemp("compiled") / "library.so"
    source, include = ROOT / "tests" / "data" / "compiled.c", ROOT / "cpp" / "include"
    strict = ["-Wall", "-Wextra", "-Werror", "-std=c99"]
    subprocess.run(
        [compiler, *strict, "-O2", "-shared", "-fPIC", f"-I{include}", source, "-o", path], check=True
    )
    return path


def load(library):
    """Return the functions of the library, with their types."""
    loaded = ctypes.CDLL(str(library))
    for name, kinds in (("residual", FUNCTION), ("product", PRODUCT), ("loss", FUNCTION)):
        getattr(loaded, name).argtypes = kinds
    loaded.gradient.argtypes, loaded.hvp.argtypes = FUNCTION, PRODUCT
    return loaded


def plain():
    """The same problem in Python."""
    return gf.LeastSquares(
        residual=lambda w: w**2 - TARGETS,
        jvp=lambda w, v: 2 * w * v,
        vjp=lambda w, u: 2 * w * u,
        hvp=lambda w, v: (6 * w**2 - 2 * TARGETS) * v,
        num_params=3,
        num_residuals=3,
        scale="sum",
    )


def by_ctypes(c):
    return {"residual": c.residual, "jvp": c.product, "vjp": c.product, "hvp": c.hvp}


def by_low_level(c):
    return {name: scipy.LowLevelCallable(function) for name, function in by_ctypes(c).items()}


def least_squares(functions, **changes):
    return gf.LeastSquares(**functions | {"num_params": 3, "num_residuals": 3, "scale": "sum"} | changes)


@pytest.mark.parametrize("how", [by_ctypes, by_low_level])
def test_compiled_least_squares_are_those_of_python_bit_for_bit(library, how):
    problem, same = least_squares(how(load(library))), plain()
    v = np.array([0.3, -1.0, 2.0])
    np.testing.assert_array_equal(problem.residual(W0), same.residual(W0))
    np.testing.assert_array_equal(problem.jvp(W0, v), same.jvp(W0, v))
    np.testing.assert_array_equal(problem.vjp(W0, v), same.vjp(W0, v))
    gf.check_problem(problem, W0).raise_if_failed()
    ours, theirs = (gf.gradient_flow(p, W0, (0, 1e3), weight_decay=1e-2) for p in (problem, same))
    np.testing.assert_array_equal(ours.final, theirs.final)


def test_a_compiled_objective(library):
    c = load(library)
    problem = gf.Objective(loss=c.loss, gradient=c.gradient, hvp=c.hvp, num_params=3)
    same = plain()
    assert problem.loss(W0) == same.loss(W0)
    np.testing.assert_allclose(problem.hvp(W0, W0), same.hvp(W0, W0), rtol=1e-15)
    sol = gf.gradient_flow(problem, W0, (0, 100.0), weight_decay=0.0)
    np.testing.assert_allclose(sol.final, np.sqrt(TARGETS), rtol=1e-6)


def test_numba_functions():
    numba = pytest.importorskip("numba")
    pointer = numba.types.CPointer(numba.float64)
    function = numba.types.int32(pointer, pointer, numba.types.voidptr)
    product = numba.types.int32(pointer, pointer, pointer, numba.types.voidptr)

    @numba.cfunc(function)
    def residual(w, out, data):
        for i in range(3):
            out[i] = w[i] * w[i] - (i + 1)
        return 0

    @numba.cfunc(product)
    def linear(w, v, out, data):
        for i in range(3):
            out[i] = 2.0 * w[i] * v[i]
        return 0

    problem = least_squares({"residual": residual, "jvp": linear, "vjp": linear})
    np.testing.assert_array_equal(problem.gradient(W0), plain().gradient(W0))


def test_user_data_reaches_the_function(library):
    c = load(library)
    count = ctypes.c_long(0)
    counted = scipy.LowLevelCallable(c.residual, user_data=ctypes.cast(ctypes.byref(count), ctypes.c_void_p))
    problem = least_squares(by_low_level(c) | {"residual": counted})
    problem.residual(W0)
    problem.residual(W0)
    assert count.value == 2


def test_a_function_without_a_value_is_told_at_the_start(library):
    problem = least_squares(by_ctypes(load(library)))
    with pytest.raises(ValueError, match="nan or infinite"):
        gf.gradient_flow(problem, [11.0, 1.0, 1.0], (0, 1.0), weight_decay=0.0)


def test_runs_in_threads_do_not_wait_for_each_other(library):
    """The interpreter goes on while four threads solve: none of them holds its lock."""
    problem, finals = least_squares(by_ctypes(load(library))), [None] * 4

    def run(i):
        finals[i] = gf.gradient_flow(problem, W0, (0, 1e3), weight_decay=1e-2, rtol=1e-10).final

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(final, finals[0]) for final in finals)


def test_pointers_outlive_what_they_were_given_by(library):
    """The problem keeps the objects that own its code."""
    problem = least_squares(by_low_level(load(library)))
    np.testing.assert_array_equal(problem.residual(W0), plain().residual(W0))


EXPECTED = r"it must be int \(const double \*, double \*, void \*\)"


def test_other_signatures_are_refused_with_both(library):
    c = load(library)
    with pytest.raises(
        TypeError, match=rf"residual has the signature int \(double \*, double \*, double .*{EXPECTED}"
    ):
        least_squares(by_ctypes(c) | {"residual": c.product})
    other = scipy.LowLevelCallable(c.residual, signature="double (double)")
    with pytest.raises(TypeError, match=rf"residual has the signature double \(double\); {EXPECTED}"):
        least_squares(by_low_level(c) | {"residual": other})
    bare = ctypes.CDLL(str(library)).residual
    with pytest.raises(TypeError, match=rf"argtypes are not set; {EXPECTED}"):
        least_squares(by_ctypes(c) | {"residual": bare})


def test_an_address_without_a_signature_is_refused_with_the_one_it_must_have(library):
    c = load(library)
    address = ctypes.cast(c.residual, ctypes.c_void_p).value
    wanted = EXPECTED.replace("it must", "which must")
    for bare in (address, ctypes.c_void_p(address), tuple.__getitem__(scipy.LowLevelCallable(c.residual), 0)):
        with pytest.raises(TypeError, match=rf"residual is .* an address has no signature, {wanted}"):
            least_squares(by_ctypes(c) | {"residual": bare})


def test_misuse_of_pointers_is_told(library):
    c = load(library)
    null = ctypes.CFUNCTYPE(ctypes.c_int, *FUNCTION)()
    with pytest.raises(ValueError, match="residual is a null pointer"):
        least_squares(by_ctypes(c) | {"residual": null})
    with pytest.raises(TypeError, match="residual is a compiled function and jvp is not"):
        least_squares(by_ctypes(c) | {"jvp": lambda w, v: v})
    with pytest.raises(TypeError, match="gram cannot be a compiled function"):
        least_squares(by_ctypes(c) | {"gram": c.residual})
