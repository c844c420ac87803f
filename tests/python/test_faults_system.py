"""Interrupts, threads, processes, copies: a run ends cleanly, keeps what it has, and shares nothing."""

import copy
import gc
import multiprocessing
import os
import pickle
import platform
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import grokflow as gf
import numpy as np
import pytest

rng = np.random.default_rng(51)
X, Y, W0 = rng.standard_normal((10, 40)), rng.standard_normal(10), 0.3 * rng.standard_normal(80)


def problem():
    return gf.models.DiagonalLinearNetwork(X, Y)


def run(**options):
    return gf.gradient_flow(problem(), W0, (0, 1e3), **{"weight_decay": 0.01} | options)


def endless(model=None, **options):
    """A run of hours."""
    options = {"weight_decay": 0.0, "max_step": 1e-6, "t_eval": None, "save_states": False} | options
    return gf.gradient_flow(problem() if model is None else model, W0, (0, 1e6), **options)


def interrupt_after(seconds):
    timer = threading.Timer(seconds, signal.raise_signal, (signal.SIGINT,))
    timer.start()
    return timer


@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_interrupt_of_a_native_run(method):
    """Ctrl-C stops within 0.2 s and the exception carries the trajectory."""
    timer = interrupt_after(0.2)
    began = time.perf_counter()
    with pytest.raises(KeyboardInterrupt) as caught:
        endless(method=method)
    assert time.perf_counter() - began < 0.2 + 0.2
    timer.join()
    sol = caught.value.solution
    assert sol.status == "interrupted"
    assert not sol.success
    assert sol.stats["nsteps"] > 10
    assert sol.t[-1] == sol.t_final > 0
    assert np.isfinite(sol.final).all()
    assert np.isfinite(sol["train_loss"]).all()


def test_interrupt_of_a_network_with_kinks_keeps_its_changes_of_mode():
    rng = np.random.default_rng(0)
    X, y = rng.uniform(-2.0, 2.0, (200, 10)), rng.normal(size=200)
    net = gf.models.TwoLayerNetwork(X, y, width=100, activation="relu")
    timer = interrupt_after(0.3)
    with pytest.raises(KeyboardInterrupt) as caught:
        gf.gradient_flow(net, net.initial_weights(seed=0), (0, 1e6), weight_decay=1e-6, rtol=1e-9)
    timer.join()
    sol = caught.value.solution
    assert sol.status == "interrupted"
    assert sol.mode_changes.size > 0
    assert 0.0 < sol.mode_changes["t"].max() <= sol.t_final < 1e6


def test_interrupt_of_python_callbacks():
    model = gf.LeastSquares(
        residual=lambda w: w - 1.0, jacobian=lambda w: np.eye(80), num_params=80, num_residuals=80
    )
    timer = interrupt_after(0.2)
    began = time.perf_counter()
    with pytest.raises(KeyboardInterrupt) as caught:
        endless(model)
    assert time.perf_counter() - began < 0.2 + 0.2
    timer.join()
    assert caught.value.solution.status == "interrupted"


def test_interrupt_with_a_handler_of_ones_own():
    """A signal handler that does not raise does not stop the run."""
    seen = []
    before = signal.signal(signal.SIGINT, lambda *args: seen.append(args))
    try:
        timer = interrupt_after(0.1)
        sol = endless(max_time=0.4)
        timer.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(seen) == 1
    assert sol.status == "time_limit"


def test_eight_threads_with_eight_runs():
    """Bit by bit equal to a run alone, also on one shared problem."""
    alone = run().w.tobytes()
    shared = problem()

    def solve(i):
        model = shared if i % 2 else problem()
        return gf.gradient_flow(model, W0, (0, 1e3), weight_decay=0.01).w.tobytes()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(solve, range(8))) == {alone}


def test_eight_threads_with_python_callbacks():
    model = gf.LeastSquares(
        residual=lambda w: X @ (w[:40] * w[40:]) - Y,
        jacobian=lambda w: np.hstack([X * w[40:], X * w[:40]]),
        num_params=80,
        num_residuals=10,
    )

    def solve(i):
        return gf.gradient_flow(model, W0, (0, 10), weight_decay=0.01, t_eval=[1.0, 10.0]).w.tobytes()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(solve, range(8)))) == 1


def child(queue):
    queue.put(run().w.tobytes())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # of JAX, where other tests have imported it
def test_fork_after_use():
    expected = run().w.tobytes()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    assert queue.get(timeout=30) == expected
    process.join(timeout=10)
    assert process.exitcode == 0


def test_pickle_of_a_solution():
    sol = run()
    again = pickle.loads(pickle.dumps(sol))
    assert again.w.tobytes() == sol.w.tobytes()
    assert again.stats == sol.stats
    assert again.settings == sol.settings
    assert again.status == sol.status


def test_no_reference_is_left():
    """A callback that closes over its own problem, and so is part of a cycle, goes away with it."""

    class Data:
        pass

    def make():
        data = Data()
        model = gf.Objective(
            loss=lambda w: 0.5 * float(w @ w) + 0 * id(data),
            gradient=lambda w: w,
            hessian=lambda w: np.eye(2),
            num_params=2,
        )
        gf.gradient_flow(model, np.ones(2), (0, 1), weight_decay=0.1)
        return weakref.ref(data)

    reference = make()
    gc.collect()
    assert reference() is None


@pytest.mark.skipif(sys.platform != "linux", reason="counts in KiB on Linux")
def test_memory_does_not_grow():
    """A thousand short runs leave no trace."""
    import resource

    model = problem()

    def thousand():
        for _ in range(1000):
            gf.gradient_flow(model, W0, (0, 1e-3), weight_decay=0.01, t_eval=[])
        gc.collect()
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    thousand()
    assert thousand() - thousand() > -4096  # in kB


def test_problem_dropped_in_another_thread():
    """Python functions held by C++ are released with the GIL, whichever thread drops the last reference."""
    box = []

    def make():
        box.append(
            gf.LeastSquares(residual=lambda w: w, jacobian=lambda w: np.eye(2), num_params=2, num_residuals=2)
        )
        gf.gradient_flow(box[0], np.ones(2), (0, 1), weight_decay=0.1)

    make()
    thread = threading.Thread(target=box.clear)
    thread.start()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert box == []


# An integrator that is driven by hand


def integrator(**options):
    return gf.Integrator(problem(), W0, (0, 1e3), **{"weight_decay": 0.01} | options)


def run_to_the_end(stepper):
    while stepper.status == "running":
        stepper.step()


def test_integrator_is_the_same_run():
    whole = run(t_eval=None)
    stepper = integrator(t_eval=None)
    times = [0.0]
    while stepper.status == "running":
        stepper.step()
        times.append(stepper.t)
    assert times == whole.t.tolist()
    assert stepper.w.tolist() == whole.final.tolist()
    assert stepper.solution().w.tobytes() == whole.w.tobytes()


def test_step_after_the_end():
    stepper = integrator(max_steps=3)
    run_to_the_end(stepper)
    assert stepper.status == "max_steps"
    with pytest.raises(RuntimeError, match=r"ended|max_steps"):
        stepper.step()
    assert np.isfinite(stepper.w).all()


def test_one_integrator_in_two_threads():
    inside, leave = threading.Event(), threading.Event()

    def gradient(w):
        if not leave.is_set() and inside.is_set():
            leave.wait(10)
        return w

    model = gf.Objective(
        loss=lambda w: w @ w / 2, gradient=gradient, hessian=lambda w: np.eye(2), num_params=2
    )
    stepper = gf.Integrator(model, np.ones(2), (0, 1), weight_decay=0.1)
    inside.set()
    thread = threading.Thread(target=stepper.step)
    thread.start()
    time.sleep(0.1)
    with pytest.raises(RuntimeError, match="in use"):
        stepper.step()
    with pytest.raises(RuntimeError, match="in use"):
        stepper.solution()
    leave.set()
    thread.join()
    run_to_the_end(stepper)
    assert stepper.status == "finished"


def test_integrator_stepped_by_its_own_callback():
    box = []
    model = gf.Objective(
        loss=lambda w: w @ w / 2,
        gradient=lambda w: (box and box[0].step(), w)[1],
        hessian=lambda w: np.eye(2),
        num_params=2,
    )
    box.append(gf.Integrator(model, np.ones(2), (0, 1), weight_decay=0.1))
    with pytest.raises(RuntimeError, match="in use"):
        box[0].step()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, copy.copy, pickle.dumps])
def test_integrator_is_not_copied(duplicate):
    with pytest.raises(TypeError, match=r"[Ss]olution|problem"):
        duplicate(integrator())


def test_integrator_goes_on_after_an_exception():
    """State: the last accepted step. The rest of the run is as good as an undisturbed one."""
    fail = []

    def gradient(w):
        if fail and w[0] < 0.7:
            fail.clear()
            raise ZeroDivisionError("once")
        return w

    model = gf.Objective(
        loss=lambda w: w @ w / 2, gradient=gradient, hessian=lambda w: np.eye(2), num_params=2
    )
    undisturbed = gf.gradient_flow(model, np.ones(2), (0, 1), weight_decay=0.0)
    fail.append(True)
    stepper = gf.Integrator(model, np.ones(2), (0, 1), weight_decay=0.0)
    with pytest.raises(ZeroDivisionError, match="once"):
        run_to_the_end(stepper)
    assert 0 < stepper.t < 1
    assert stepper.w[0] == pytest.approx(np.exp(-stepper.t), rel=1e-5)
    run_to_the_end(stepper)
    assert stepper.t == 1
    np.testing.assert_allclose(stepper.w, undisturbed.final, rtol=1e-5)


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="libm of Linux, SSE")
def test_flushing_to_zero_is_warned_about():
    """As a library that was built with -ffast-math sets it when it is loaded, before or after."""
    flush = """
        import ctypes, warnings
        def flush():
            libm, state = ctypes.CDLL("libm.so.6"), (ctypes.c_uint32 * 8)()
            libm.fegetenv(state)
            state[7] |= 0x8040
            libm.fesetenv(state)
        warnings.simplefilter("error")
    """
    before = "flush()\nimport grokflow"
    after = """
        import grokflow as gf
        problem = gf.models.LinearRegression([[1.0]], [1.0])
        gf.gradient_flow(problem, [0.0], (0, 1), weight_decay=0.1)
        flush()
        gf.gradient_flow(problem, [0.0], (0, 1), weight_decay=0.1)
    """
    for program in (before, after):
        text = textwrap.dedent(flush) + textwrap.dedent(program)
        ended = subprocess.run([sys.executable, "-c", text], stderr=subprocess.PIPE, check=False)
        last = ended.stderr.decode().splitlines()[-1]
        assert last.startswith("RuntimeWarning: numbers below 2.2e-308 are flushed to zero"), last
