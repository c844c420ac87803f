"""What the user's functions get, what they may do with it, and what happens when they raise."""

import re

import numpy as np
import pytest
from grokflow.callbacks import CallbackError, LeastSquares, Objective
from user_functions import (
    RNG,
    WARM_UP,
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
    objective,
    vjp,
    warm,
)

# Arguments


@pytest.mark.parametrize("size", [10, 10**5])
def test_arguments_are_views_without_copies(size):
    seen = {}

    def note(name, result):
        def function(*arguments):
            seen[name] = [a.__array_interface__["data"][0] for a in arguments]
            assert all(
                not a.flags.writeable and a.dtype == np.float64 and type(a) is np.ndarray for a in arguments
            )
            return result

        return function

    w, v, u = RNG.normal(size=size), RNG.normal(size=size), RNG.normal(size=3)
    problem = LeastSquares(
        residual=note("residual", u), jvp=note("jvp", u), vjp=note("vjp", v), num_params=size, num_residuals=3
    )
    other = Objective(loss=note("loss", 1.0), gradient=note("gradient", v), num_params=size)
    for _ in range(WARM_UP):
        problem.residual(w), problem.jvp(w, v), problem.vjp(w, u), other.loss(w), other.gradient(w)
    (address,) = {seen[name][0] for name in ("residual", "loss", "gradient")}
    assert address == w.ctypes.data
    assert seen["jvp"][1] == v.ctypes.data
    assert seen["vjp"][1] == u.ctypes.data


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
        for _ in range(WARM_UP):
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
}


@pytest.mark.parametrize("keep", KEEPERS.values(), ids=KEEPERS.keys())
def test_a_function_that_keeps_its_argument_gets_copies(keep):
    kept = []

    def keeping(w):
        kept.append((w.copy(), keep(w)))
        return gradient(w)

    w = np.empty(D)
    problem = objective(gradient=keeping)
    for k in range(WARM_UP):
        w[:] = k * W
        problem.gradient(w)
    w[:] = np.nan
    for k, (copy, value) in enumerate(kept):
        np.testing.assert_array_equal(copy, k * W)
        part = value["w"][0] if isinstance(value, dict) else np.asarray(value)
        assert np.isin(part, copy).all()


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
    for k in range(WARM_UP):
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
    for k in range(3 * WARM_UP):
        w[:] = k * W
        problem.hvp(w, V)
    for k, value in enumerate(kept):
        np.testing.assert_array_equal(value, k * W)
    kept.clear()
    problem.hessian(W)
    assert len(kept) == D
    assert all(value is kept[0] for value in kept)


@pytest.mark.parametrize(("name", "argument"), [("gradient", "w"), ("hvp", "v")])
def test_to_keep_an_argument_later_is_refused(name, argument):
    kept, calls = [], iter(range(100))
    functions = {"gradient": gradient, "hvp": hvp}

    def late(*arguments):
        if next(calls) >= WARM_UP:
            kept.append(arguments[-1])
        return functions[name](*arguments)

    problem = warm(objective(**(functions | {name: late})), name)
    last = V.copy()
    message = (
        f"{name} kept its argument {argument}, which is valid only during the call; keep {argument}.copy()"
    )
    with pytest.raises(RuntimeError, match=re.escape(message)):
        problem.gradient(last) if name == "gradient" else problem.hvp(W, last)
    last[:] = np.nan
    np.testing.assert_array_equal(kept[0], V)


# Exceptions


def raiser(action):
    """A gradient that behaves during the warm-up, and then does `action` and raises."""
    calls = iter(range(1000))

    def failing(w):
        if next(calls) >= WARM_UP:
            head, tail = w[:2], w[2:].reshape(2, 2)
            action(w)
            raise AssertionError(f"{head} {tail}: the action did not raise")
        return gradient(w)

    return warm(objective(gradient=failing), "gradient")


def frame_locals(error):
    frames = []
    traceback = error.__traceback__
    while traceback:
        if traceback.tb_frame.f_code.co_name == "failing":
            frames.append(traceback.tb_frame.f_locals)
        traceback = traceback.tb_next
    (names,) = frames
    return names


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("mine"), KeyboardInterrupt(), SystemExit(3), StopIteration()]
)
def test_an_exception_is_the_same_object_with_its_traceback(error):
    def action(w):
        raise error

    for problem in (objective(gradient=action), raiser(action)):
        with pytest.raises(type(error)) as caught:
            problem.gradient(W)
        assert caught.value is error
        assert caught.traceback[-1].name == "action"
        np.testing.assert_array_equal(objective().gradient(W), gradient(W))  # the library is still usable


def test_a_wrong_result_after_the_warm_up_leaves_no_view_behind():
    """The frames of CallbackError hold the result, which may be a slice of the argument."""
    calls = iter(range(100))
    problem = warm(objective(gradient=lambda w: w if next(calls) < WARM_UP else w[1:]), "gradient")
    w = W.copy()
    with pytest.raises(CallbackError) as caught:
        problem.gradient(w)
    traceback = caught.tb
    while traceback:
        for value in traceback.tb_frame.f_locals.values():
            assert (
                value is w or value is W or not (isinstance(value, np.ndarray) and np.shares_memory(value, w))
            )
        traceback = traceback.tb_next


def test_the_frames_of_an_exception_hold_copies():
    def action(w):
        raise ZeroDivisionError

    w = W.copy()
    with pytest.raises(ZeroDivisionError) as caught:
        raiser(action).gradient(w)
    names = frame_locals(caught.value)
    w[:] = np.nan
    np.testing.assert_array_equal(names["w"], W)
    np.testing.assert_array_equal(names["head"], W[:2])
    np.testing.assert_array_equal(names["tail"], W[2:].reshape(2, 2))


def test_the_exceptions_it_was_raised_from_hold_copies_too():
    def action(w):
        part = w[1:]
        try:
            raise KeyError
        except KeyError as error:
            raise ValueError(part.size) from error

    w = W.copy()
    with pytest.raises(ValueError, match="5") as caught:
        raiser(action).gradient(w)
    part = caught.value.__cause__.__traceback__.tb_frame.f_locals["part"]
    w[:] = np.nan
    np.testing.assert_array_equal(part, W[1:])


def test_frames_that_hold_more_than_names_are_emptied():
    calls = iter(range(1000))

    def failing(w):
        if next(calls) >= WARM_UP:
            hidden = [memoryview(w), (w[1:],)]
            raise ZeroDivisionError(len(hidden))
        return gradient(w)

    problem = warm(objective(gradient=failing), "gradient")
    with pytest.raises(ZeroDivisionError) as caught:
        problem.gradient(W)
    assert frame_locals(caught.value) == {}


def test_an_argument_kept_outside_the_frames_moves_to_memory_of_its_own():
    kept = []

    def action(w):
        kept.append(w)
        raise ZeroDivisionError

    w = W.copy()
    with pytest.raises(ZeroDivisionError):
        raiser(action).gradient(w)
    w[:] = np.nan
    np.testing.assert_array_equal(kept[0], W)
