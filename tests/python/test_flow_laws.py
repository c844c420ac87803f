"""Laws of `gradient_flow` as a whole: weight decay by block, work, limits, and ways to stop."""

import math
import threading
import time

import grokflow as gf
import numpy as np
import oracle_problems as op
import pytest
from scipy.integrate import solve_ivp
from test_closed_forms import ridge_path

METHODS = pytest.mark.parametrize("method", ["BDF", "Radau"])
CURVATURES = pytest.mark.parametrize("curvature", ["gram", "dense"])


def diagonal(n=10, p=30, seed=41, **options):
    """A sparse diagonal network with n < d, and a start."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    y = X[:, :3] @ np.array([1.0, -1.0, 0.5])
    return gf.models.DiagonalLinearNetwork(X, y, **options), 0.3 * rng.standard_normal(2 * p)


def tanh_network(n=15, p=3, width=20, seed=42):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    problem = gf.models.TwoLayerNetwork(
        X, np.sin(X[:, 0]), width=width, activation="tanh", output_scale=1 / math.sqrt(width)
    )
    return problem, rng.standard_normal(problem.num_params)


def completion(size=8, width=4, seed=43):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((size, 2)) @ rng.standard_normal((2, size))
    rows, cols = np.nonzero(rng.random((size, size)) < 0.5)
    problem = gf.models.MatrixCompletion(rows, cols, A[rows, cols], shape=A.shape, width=width)
    return problem, rng.standard_normal(problem.num_params)


# Weight decay by block


@METHODS
@CURVATURES
def test_blocks_that_do_not_see_each_other(method, curvature):
    """Two ridge regressions side by side, each with a decay of its own: each follows its closed form."""
    rng = np.random.default_rng(44)
    X1, X2 = rng.standard_normal((2, 3)), rng.standard_normal((2, 4))
    y1, y2, w0 = rng.standard_normal(2), rng.standard_normal(2), rng.standard_normal(7)
    J = np.zeros((4, 7))
    J[:2, :3], J[2:, 3:] = X1, X2
    y = np.concatenate([y1, y2])
    problem = gf.LeastSquares(
        residual=lambda w: J @ w - y,
        jacobian=lambda w: J,
        hvp=lambda w, v: J.T @ (J @ v),
        num_params=7,
        num_residuals=4,
        scale="sum",
        parameters={"a": 3, "b": 4},
    )
    t = np.logspace(-2, 3, 16)
    sol = gf.gradient_flow(
        problem,
        w0,
        (0, 1e3),
        weight_decay={"a": 0.05, "b": 0.0},
        method=method,
        curvature=curvature,
        rtol=1e-8,
        atol=1e-11,
        t_eval=t,
    )
    exact = np.hstack([ridge_path(X1, y1, w0[:3], 0.05, t), ridge_path(X2, y2, w0[3:], 0.0, t)])
    limit = {"BDF": 50, "Radau": 10}[method]
    assert np.max(np.abs(sol.w - exact)) < limit * 1e-8 * np.max(np.abs(exact))


@METHODS
def test_blocks_in_kernel_space_and_in_full(method):
    problem, w0 = tanh_network()
    options = {
        "weight_decay": {"u": 0.02, "V": 0.01, "b": 0.0},
        "method": method,
        "rtol": 1e-8,
        "atol": 1e-11,
        "t_eval": np.logspace(-2, 3, 16),
    }
    gram, dense = (
        gf.gradient_flow(problem, w0, (0, 1e3), curvature=curvature, **options)
        for curvature in ("gram", "dense")
    )
    assert gram.success
    assert gram.stats["nhessian"] == 0
    assert dense.stats["nhessian"] > 0
    limit = {"BDF": 100, "Radau": 20}[method]
    assert np.max(np.abs(gram.w - dense.w)) < limit * 1e-8 * np.max(np.abs(w0))


def test_blocks_against_the_reference(compiled_flow):
    """A matrix factorisation whose two factors decay differently."""
    from reference.flows import gradient_flow as reference

    rng = np.random.default_rng(45)
    twin = op.matrix_factorisation(rng.standard_normal((2, 3)), 2)
    twin.blocks = {"U": slice(0, 4), "V": slice(4, 10)}
    w0 = rng.standard_normal(10)
    options = {"weight_decay": {"U": 0.0, "*": 0.2}, "rtol": 1e-9, "atol": 1e-12, "t_eval": [0.5, 5.0, 50.0]}
    exact = reference(twin, w0, (0, 50), **options)
    sol = gf.gradient_flow(
        twin.compiled(),
        w0,
        (0, 50),
        method=compiled_flow.method,
        curvature=compiled_flow.curvature,
        **options,
    )
    compiled_flow.check(sol.w, exact.w, rtol=1e-9)


def test_equal_blocks_are_one_number():
    problem, w0 = diagonal()
    one = gf.gradient_flow(problem, w0, (0, 1e3), weight_decay=0.01)
    for decay in ({"u": 0.01, "v": 0.01}, {"*": 0.01}, {"*": 0.01, "v": 0.01}):
        many = gf.gradient_flow(problem, w0, (0, 1e3), weight_decay=decay)
        np.testing.assert_allclose(many.w, one.w, rtol=1e-10, atol=1e-13)
        assert many.stats["ngram"] == one.stats["ngram"]


# Work


def test_linear_regression_builds_one_kernel():
    """J does not depend on w: the first kernel serves for ever."""
    rng = np.random.default_rng(46)
    problem = gf.models.LinearRegression(rng.standard_normal((10, 40)), rng.standard_normal(10))
    for method in ("BDF", "Radau"):
        sol = gf.gradient_flow(problem, rng.standard_normal(40), (0, 1e5), weight_decay=1e-4, method=method)
        assert sol.success
        assert sol.stats["ngram"] <= 3
        assert sol.stats["nhessian"] == 0


@pytest.mark.parametrize("make", [diagonal, completion])
def test_work_of_a_step(make):
    """Two gradients a step or so, each with one solve; few rejections; kernels serve for many steps, or are
    so cheap that one for each step saves gradients."""
    problem, w0 = make()
    stats = gf.gradient_flow(problem, w0, (0, 1e5), weight_decay=1e-4, atol=1e-9).stats
    assert stats["nfev"] < 3 * stats["nsteps"]
    assert stats["nsolve"] < 1.5 * stats["nfev"]
    assert stats["ngram"] < 0.3 * stats["nsteps"] or stats["nfev"] < 1.5 * stats["nsteps"]
    assert stats["nfactor"] < stats["nsteps"] + stats["ngram"]
    assert stats["nrejected"] + stats["nfailed"] < 0.1 * stats["nsteps"]


@pytest.mark.parametrize("curvature", ["gram", "dense"])
def test_a_factorisation_outlives_small_changes_of_the_step(curvature):
    """Beyond n = 64 a refinement with an old one is cheaper: fewer than one in two steps."""
    problem, w0 = completion(size=13, width=5)
    assert problem.num_residuals > 64
    stats = gf.gradient_flow(problem, w0, (0, 1e5), weight_decay=1e-4, curvature=curvature).stats
    assert stats["nfactor"] < 0.5 * stats["nsteps"]


@pytest.mark.parametrize("make", [diagonal, completion, tanh_network])
def test_kernel_space_takes_no_more_gradients_than_the_full_hessian_elsewhere(make):
    """SciPy's BDF with exact Hessians is the measure, at the loosest tolerance whose error is no larger."""
    problem, w0 = make()
    t = np.geomspace(1e-2, 1e5, 50)
    options = {"weight_decay": 1e-4, "t_eval": t, "observe": {}}
    exact = gf.gradient_flow(problem, w0, (0, 1e5), method="Radau", rtol=1e-11, atol=1e-14, **options).w
    ours = gf.gradient_flow(problem, w0, (0, 1e5), curvature="gram", **options)
    for rtol in np.geomspace(1e-3, 1e-12, 19):
        peer = solve_ivp(
            lambda t, w: -problem.gradient(w) - 1e-4 * w,
            (0, 1e5),
            w0,
            method="BDF",
            jac=lambda t, w: -problem.hessian(w) - 1e-4 * np.eye(w.size),
            t_eval=t,
            rtol=rtol,
            atol=1e-3 * rtol,
        )
        if np.abs(peer.y.T - exact).max() <= np.abs(ours.w - exact).max():
            break
    assert ours.stats["nfev"] < peer.nfev


@pytest.mark.parametrize(("method", "weakest"), [("BDF", 1e-6), ("Radau", 1e-4)])
@pytest.mark.parametrize("make", [diagonal, completion, tanh_network])
def test_work_as_the_decay_falls(make, method, weakest):
    """From lam = 1e-2 on with T = 10 / lam: decades more of time, under four times the gradients."""
    problem, w0 = make()
    strong, weak = (
        gf.gradient_flow(problem, w0, (0, 10 / lam), weight_decay=lam, method=method)
        for lam in (1e-2, weakest)
    )
    assert strong.success
    assert weak.success
    assert weak.stats["nfev"] < 4 * strong.stats["nfev"]


@METHODS
def test_work_grows_as_the_order_says(method):
    """Two more digits cost about 100^(1/5), and not much more: steps ~ rtol^(-1/5)."""
    problem, w0 = diagonal()
    loose, tight = (
        gf.gradient_flow(problem, w0, (0, 1e3), weight_decay=1e-2, method=method, rtol=rtol, atol=1e-3 * rtol)
        for rtol in (1e-6, 1e-8)
    )
    assert tight.stats["nsteps"] < 4 * loose.stats["nsteps"]


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_order_of_bdf(order):
    """error ~ steps^-k with the order held at k at most, on w = exp(-t) w0 at tight tolerances."""
    problem = gf.models.LinearRegression(np.eye(2), np.zeros(2), scale="sum")
    steps, errors = [], []
    for rtol in {1: (1e-5, 1e-7), 2: (1e-7, 1e-9)}.get(order, (1e-9, 1e-12)):
        sol = gf.gradient_flow(
            problem,
            [1.0, 2.0],
            (0, 3),
            weight_decay=0.0,
            method=gf.BDF(max_order=order),
            rtol=rtol,
            atol=rtol,
        )
        steps.append(sol.stats["nsteps"])
        errors.append(np.max(np.abs(sol.final - np.exp(-3.0) * np.array([1.0, 2.0]))))
    slope = math.log(errors[0] / errors[1]) / math.log(steps[1] / steps[0])
    assert slope == pytest.approx(order, rel=0.2)


@CURVATURES
def test_order_of_radau(curvature):
    """Steps of one size: the error falls as h^5."""
    problem = gf.models.LinearRegression(np.diag([1.0, 2.0]), np.zeros(2), scale="sum")
    errors = []
    for h in (0.25, 0.125):
        sol = gf.gradient_flow(
            problem,
            np.ones(2),
            (0, 1),
            weight_decay=0.1,
            method="Radau",
            curvature=curvature,
            rtol=1e-1,
            atol=1e-1,
            first_step=h,
            max_step=h,
            t_eval=None,
        )
        np.testing.assert_allclose(np.diff(sol.t), h, rtol=1e-12)
        errors.append(np.linalg.norm(sol.final - np.exp([-1.1, -4.1])))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(5, abs=0.5)


# Limits, and ways to stop


@METHODS
def test_first_step_and_max_step(method):
    problem, w0 = diagonal()
    sol = gf.gradient_flow(
        problem,
        w0,
        (0, 10),
        weight_decay=0.01,
        method=method,
        t_eval=None,
        first_step=1e-5,
        max_step=0.5,
    )
    assert sol.t[1] == pytest.approx(1e-5, rel=1e-12)
    assert np.max(np.diff(sol.t)) <= 0.5 * (1 + 1e-12)
    assert sol.stats["nsteps"] >= 20


@METHODS
def test_max_steps(method):
    problem, w0 = diagonal()
    whole = gf.gradient_flow(problem, w0, (0, 1e3), weight_decay=0.01, method=method, t_eval=None)
    sol = gf.gradient_flow(problem, w0, (0, 1e3), weight_decay=0.01, method=method, t_eval=None, max_steps=30)
    assert sol.status == "max_steps"
    assert not sol.success
    assert "30" in sol.message
    assert sol.stats["nsteps"] + sol.stats["nrejected"] + sol.stats["nfailed"] == 30
    assert sol.t.tolist() == whole.t[: sol.t.size].tolist()
    assert sol.w.tobytes() == whole.w[: sol.t.size].tobytes()
    assert sol.final.tolist() == sol.w[-1].tolist()


def test_max_time():
    problem, w0 = diagonal()
    began = time.perf_counter()
    sol = gf.gradient_flow(
        problem, w0, (0, 1e6), weight_decay=0.01, max_step=1e-3, save_states=False, max_time=0.05, t_eval=[]
    )
    assert time.perf_counter() - began < 1
    assert sol.status == "time_limit"
    assert 0 < sol.t_final < 1e6
    assert np.isfinite(sol.final).all()


@METHODS
def test_callback_sees_every_step_and_may_stop(method):
    problem, w0 = diagonal()
    seen = []

    def callback(t, w):
        seen.append((t, w.copy()))
        return t > 5

    sol = gf.gradient_flow(
        problem, w0, (0, 1e3), weight_decay=0.01, method=method, t_eval=None, callback=callback
    )
    assert sol.status == "interrupted"
    assert not sol.success
    assert len(seen) == sol.stats["nsteps"]
    assert [t for t, _ in seen] == sol.t[1:].tolist()
    assert all(w.tolist() == row.tolist() for (_, w), row in zip(seen, sol.w[1:], strict=True))
    assert sol.t[-2] <= 5 < sol.t_final


def test_callback_changes_nothing():
    problem, w0 = diagonal()
    silent = gf.gradient_flow(problem, w0, (0, 1e3), weight_decay=0.01)
    watched = gf.gradient_flow(problem, w0, (0, 1e3), weight_decay=0.01, callback=lambda t, w: None)
    assert watched.w.tobytes() == silent.w.tobytes()


@pytest.mark.parametrize("stop", [True, np.True_])
@pytest.mark.parametrize("go_on", [None, False, np.False_])
def test_what_a_callback_may_answer(stop, go_on):
    problem, w0 = diagonal()
    sol = gf.gradient_flow(
        problem, w0, (0, 1e3), weight_decay=0.01, callback=lambda t, w: stop if t > 5 else go_on
    )
    assert sol.status == "interrupted"
    assert sol.t_final > 5


@pytest.mark.parametrize("answer", ["yes", np.ones(2)])
def test_callback_that_answers_neither_yes_nor_no(answer):
    problem, w0 = diagonal()
    with pytest.raises((TypeError, ValueError), match="callback"):
        gf.gradient_flow(problem, w0, (0, 1e3), weight_decay=0.01, callback=lambda t, w: answer)


def test_nothing_is_printed(capfd):
    problem, w0 = diagonal()
    gf.gradient_flow(problem, w0, (0, 1e3), weight_decay=0.01, max_steps=10)
    assert capfd.readouterr() == ("", "")


def test_runs_repeat_bit_by_bit():
    problem, w0 = tanh_network()
    first, second = (gf.gradient_flow(problem, w0, (0, 1e2), weight_decay=0.01) for _ in range(2))
    assert first.w.tobytes() == second.w.tobytes()
    assert first.stats["nfev"] == second.stats["nfev"]


def test_automatic_curvature():
    """gram for n < d, dense else; and the solution says which."""
    rng = np.random.default_rng(47)
    wide = gf.models.LinearRegression(rng.standard_normal((3, 5)), np.ones(3))
    tall = gf.models.LinearRegression(rng.standard_normal((5, 3)), np.ones(5))
    square = gf.models.LinearRegression(rng.standard_normal((5, 5)), np.ones(5))
    for problem, used in ((wide, "ngram"), (tall, "nhessian"), (square, "nhessian")):
        stats = gf.gradient_flow(problem, np.ones(problem.num_params), (0, 10), weight_decay=0.1).stats
        assert stats[used] > 0
        assert stats["ngram"] * stats["nhessian"] == 0


def test_other_threads_run_meanwhile():
    """The GIL is free while C++ integrates."""
    problem, w0 = diagonal(n=20, p=200)
    done, ticks = threading.Event(), []

    def tick():
        while not done.is_set():
            ticks.append(time.perf_counter())
            time.sleep(1e-3)

    thread = threading.Thread(target=tick)
    thread.start()
    began = time.perf_counter()
    sol = gf.gradient_flow(
        problem, w0, (0, 1e6), weight_decay=0.0, max_step=1e-4, max_time=0.3, t_eval=[], observe={}
    )
    ended = time.perf_counter()
    done.set()
    thread.join()
    assert sol.status == "time_limit"
    assert sum(began < tick < ended for tick in ticks) > 30
