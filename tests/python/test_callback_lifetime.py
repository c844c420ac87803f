"""Functions that use the library, are shared by threads, and refer back to their problem."""

import contextlib
import gc
import sys
import threading
import weakref

import numpy as np
import pytest
from grokflow.callbacks import Objective
from user_functions import D, W, gradient, hvp, jvp, least_squares, objective, vjp


def test_a_function_may_use_the_library():
    inner = objective(hvp=hvp)

    def nested(w):
        assert inner.hvp(w, w).shape == (D,)
        return inner.gradient(w)

    outer = objective(gradient=nested)
    innermost = objective(gradient=outer.gradient)
    for k in range(10):
        np.testing.assert_array_equal(innermost.gradient(k * W), gradient(k * W))


def test_threads_share_a_problem():
    problem = least_squares(jvp=jvp, vjp=vjp)
    expected = problem.gradient(W), problem.gram(W)
    results = []

    def work():
        for _ in range(50):
            results.append(
                np.array_equal(problem.gradient(W), expected[0])
                and np.array_equal(problem.gram(W), expected[1])
            )

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 200


@pytest.mark.parametrize("release_in_thread", [False, True])
def test_functions_are_released_with_the_problem(release_in_thread):
    class Model:
        def gradient(self, w):
            return w

    model = Model()
    alive = weakref.ref(model)
    problems = [objective(gradient=model.gradient)]
    problems[0].gradient(W)
    del model
    assert alive() is not None
    if release_in_thread:
        thread = threading.Thread(target=problems.clear)
        thread.start()
        thread.join()
    else:
        problems.clear()
    assert alive() is None


def test_a_cycle_is_collected():
    class Model:
        def __init__(self):
            self.problem = least_squares(jvp=self.jvp, vjp=lambda w, u: vjp(w, u) + 0 * self.problem.scale)

        def jvp(self, w, v):
            return jvp(w, v)

    model = Model()
    model.problem.gram(W)
    alive = weakref.ref(model)
    del model
    assert alive() is not None
    gc.collect()
    assert alive() is None


def test_a_living_problem_survives_the_collector():
    holder = {}
    holder["problem"] = objective(gradient=lambda w: gradient(w) + 0 * holder["problem"].num_params)
    gc.collect()
    np.testing.assert_array_equal(holder["problem"].gradient(W), gradient(W))


@pytest.mark.skipif(sys.platform != "linux", reason="counts in KiB on Linux")
def test_nothing_leaks_in_many_calls():
    import resource

    d = 2000
    w, result = np.ones(d), np.ones(d)

    def failing(w):
        raise ZeroDivisionError

    class Keeper:
        def gradient(self, w):
            self.w = w
            return result

    keeper = Keeper()
    problems = [
        Objective(loss=lambda w: 0.0, gradient=lambda w: result, num_params=d),
        Objective(loss=lambda w: 0.0, gradient=keeper.gradient, num_params=d),
    ]
    broken = Objective(loss=lambda w: 0.0, gradient=failing, num_params=d)

    def work(repeat):
        for _ in range(repeat):
            for problem in problems:
                problem.gradient(w)
            with contextlib.suppress(ZeroDivisionError):
                broken.gradient(w)

    work(1000)
    references, memory = sys.getrefcount(result), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work(10_000)
    assert sys.getrefcount(result) == references
    # One array of each call would be 160 MB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 16_000  # kB
