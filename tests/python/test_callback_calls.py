"""What the user's functions get, what they may do with it, and what happens when they raise."""

from itertools import count
from weakref import ref

import grokflow as gf
import numpy as np
import pytest
from grokflow.callbacks import LeastSquares, Objective
from user_functions import (
    RNG,
    D,
    N,
    V,
    W,
    X,
    Y,
    gradient,
    hvp,
    jvp,
    least_squares,
    loss,
    objective,
    vjp,
)

CALLS = 10

# Arguments


def test_an_argument_that_nobody_keeps_is_one_array_filled_again():
    """What is not referred to is used again: a call allocates nothing that grows with its size."""
    seen = set()

    def note(result):
        def function(*arguments):
            seen.add(tuple(a.__array_interface__["data"][0] for a in arguments))
            assert all(type(a) is np.ndarray and a.dtype == np.float64 for a in arguments)
            return result

        return function

    w, v, u = RNG.normal(size=D), RNG.normal(size=D), RNG.normal(size=N)
    problem = LeastSquares(
        residual=note(u), jvp=note(u), vjp=note(v), hvp=note(v), num_params=D, num_residuals=N
    )
    other = Objective(loss=note(1.0), gradient=note(v), num_params=D)
    for call in (problem.residual, other.loss, other.gradient):
        seen.clear()
        for k in range(CALLS):
            call(k * w)
        assert len(seen) == 1
    lin = problem._core.linearize(w)
    for product, vector in ((lin.jvp, v), (lin.hvp, v), (lin.vjp, u)):
        seen.clear()
        for k in range(CALLS):
            product(k * vector)
        assert len(seen) == 1


def test_arguments_cannot_be_written():
    def write(w):
        w[0] = 1.0
        return w

    def unlock(w):
        w.flags.writeable = True
        return w

    before = W.copy()
    for function in (write, unlock):
        problem = objective(gradient=function, hvp=lambda w, v, function=function: function(v))
        for _ in range(CALLS):
            with pytest.raises(ValueError, match=r"read-only|WRITEABLE"):
                problem.gradient(W)
            with pytest.raises(ValueError, match=r"read-only|WRITEABLE"):
                problem.hvp(W, V)
    np.testing.assert_array_equal(W, before)


KEEPERS = {
    "array": lambda w: w,
    "slice": lambda w: w[1:3],
    "reshape": lambda w: w.reshape(2, 3),
    "memoryview": memoryview,
    "nested": lambda w: {"w": [w]},
    "weak": ref,
}


@pytest.mark.parametrize("keep", KEEPERS.values(), ids=KEEPERS.keys())
@pytest.mark.parametrize("first", [0, 1, CALLS // 2], ids=["always", "late", "later"])
def test_arguments_may_be_kept(keep, first):
    kept = []

    def keeping(name, function):
        def keeper(*arguments):
            if next(calls[name]) >= first:
                kept.extend((a.copy(), keep(a)) for a in arguments)
            return function(*arguments)

        return keeper

    calls = {"gradient": count(), "hvp": count()}
    problem = objective(gradient=keeping("gradient", gradient), hvp=keeping("hvp", hvp))
    w = np.empty(D)
    for k in range(CALLS):
        w[:] = k * W
        problem.gradient(w)
        problem.hvp(w, w - 1.0)
    w[:] = np.nan
    assert len(kept) == 3 * (CALLS - first)
    for copy, value in kept:
        part = value["w"][0] if isinstance(value, dict) else value() if isinstance(value, ref) else value
        if part is not None:
            assert np.isin(np.asarray(part), copy).all()


def test_every_argument_of_a_flow_may_be_kept():
    """All values are seen as they were, not only those of an array that was still referred to."""
    kept = []

    def keeping(function):
        def keeper(*arguments):
            kept.append([(a, a.copy(), a.tobytes()) for a in arguments])
            return function(*arguments)

        return keeper

    flow = {"t_span": (0, 5), "weight_decay": 0.1, "rtol": 1e-3, "method": "BDF", "curvature": "dense"}
    problem = objective(loss=keeping(loss), gradient=keeping(gradient), hvp=keeping(hvp))
    sol, plain = gf.gradient_flow(problem, W, **flow), gf.gradient_flow(objective(hvp=hvp), W, **flow)
    assert sol.success
    np.testing.assert_array_equal(sol.final, plain.final)
    assert len(kept) > 50
    for arguments in kept:
        for array, copy, data in arguments:
            np.testing.assert_array_equal(array, copy)
            assert array.tobytes() == data


def test_a_cache_keyed_by_identity_works():
    """One pass for residual and vjp, as a network would do it: both get one array object in `gradient`."""

    class Cached:
        passes = 0
        w = None

        def forward(self, w):
            if w is not self.w:
                self.w, self.z = w, X @ w
                self.passes += 1
            return self.z

        def residual(self, w):
            return np.sin(self.forward(w)) - Y

        def vjp(self, w, u):
            return X.T @ (np.cos(self.forward(w)) * u)

        def jvp(self, w, v):
            return np.cos(self.forward(w)) * (X @ v)

    cached = Cached()
    problem = LeastSquares(
        residual=cached.residual, jvp=cached.jvp, vjp=cached.vjp, num_params=D, num_residuals=N
    )
    plain = least_squares(jvp=jvp, vjp=vjp)
    w = np.empty(D)
    for k in range(CALLS):
        w[:] = (k + 1) * W
        cached.passes = 0
        np.testing.assert_allclose(problem.gradient(w), plain.gradient(w), rtol=1e-13)
        assert cached.passes == 1
        np.testing.assert_allclose(problem.gram(w), plain.gram(w), rtol=1e-12)
        assert cached.passes == 2


def test_the_point_of_a_linearisation_may_be_kept():
    kept = []

    def keeping(w, v):
        kept.append(w)
        return hvp(w, v)

    w = np.empty(D)
    problem = objective(hvp=keeping)
    for k in range(3 * CALLS):
        w[:] = k * W
        problem.hvp(w, V)
    for k, value in enumerate(kept):
        np.testing.assert_array_equal(value, k * W)
    kept.clear()
    problem.hessian(W)
    assert len(kept) == D
    assert all(value is kept[0] for value in kept)


# Exceptions


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("mine"), KeyboardInterrupt(), SystemExit(3), StopIteration()]
)
def test_an_exception_is_the_same_object_with_its_traceback(error):
    def action(w):
        raise error

    problem = objective(gradient=action)
    with pytest.raises(type(error)) as caught:
        problem.gradient(W)
    assert caught.value is error
    assert caught.traceback[-1].name == "action"
    np.testing.assert_array_equal(objective().gradient(W), gradient(W))  # the library is still usable


def test_the_frames_of_an_exception_keep_their_arguments():
    def failing(w):
        head, tail = w[:2], w[2:].reshape(2, 2)
        raise ZeroDivisionError(head.size + tail.size)

    problem = objective(gradient=failing)
    errors = []
    for k in (1, 2):
        with pytest.raises(ZeroDivisionError) as caught:
            problem.gradient(k * W)
        errors.append(caught.value)
    for k, error in zip((1, 2), errors, strict=True):
        names = innermost_frame(error).f_locals
        np.testing.assert_array_equal(names["w"], k * W)
        np.testing.assert_array_equal(names["head"], k * W[:2])
        np.testing.assert_array_equal(names["tail"], k * W[2:].reshape(2, 2))


def innermost_frame(error):
    traceback = error.__traceback__
    while traceback.tb_next:
        traceback = traceback.tb_next
    return traceback.tb_frame
