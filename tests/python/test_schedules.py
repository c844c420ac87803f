"""Weight decay that changes over time: closed forms, SciPy between the breaks, and what a run remembers."""

import json
import math
import pickle
from itertools import pairwise

import grokflow as gf
import numpy as np
import pytest
from descent import errors_of_descent
from grokflow import schedules
from scipy.integrate import solve_ivp

rng = np.random.default_rng(0)
X, Y = rng.standard_normal((5, 12)), rng.standard_normal(5)
LINEAR = gf.models.LinearRegression(X, Y)
TANH = gf.models.TwoLayerNetwork(X[:, :2], Y, width=8)
SCHEDULES = {
    "constant": (schedules.Constant(1e-2), lambda t: 1e-2 * t),
    "off": (schedules.OffAfter(1e-2, 70.0), lambda t: 1e-2 * min(t, 70.0)),
    "on": (schedules.OnAfter(1e-2, 70.0), lambda t: 1e-2 * max(t - 70.0, 0.0)),
    "exponential": (schedules.Exponential(1e-2, 50.0), lambda t: 0.5 * (1 - math.exp(-t / 50.0))),
    "cyclic": (
        schedules.Cyclic(1e-2, 40.0, least=0.2),
        lambda t: 1e-2 * (0.6 * t + 0.4 * 40.0 / (2 * math.pi) * math.sin(2 * math.pi * t / 40.0)),
    ),
    "function": (
        schedules.Function(
            2e-2, lambda t: abs(math.sin(t / 20.0)), at=[20.0 * math.pi, 40.0 * math.pi, 60.0 * math.pi]
        ),
        lambda t: 0.4 * (2 * (t // (20 * math.pi)) + 1 - math.cos((t / 20.0) % math.pi)),
    ),
    "jumps": (
        schedules.Function(1e-2, lambda t: [3.0, 0.0, 1.0][int(t > 30) + int(t > 100)], at=[30.0, 100.0]),
        lambda t: 1e-2 * (3 * min(t, 30) + max(t - 100, 0)),
    ),
}
each = pytest.mark.parametrize("name", SCHEDULES)
METHODS = ("BDF", "Radau", "ROCK2")


@each
def test_slow_time_is_the_integral_of_the_rate(name):
    schedule, s = SCHEDULES[name]
    for t in (0.0, 1.0, 33.0, 200.0):
        assert schedule.slow_time(t) == pytest.approx(s(t), rel=1e-10, abs=1e-14)
        assert schedule.slow_time(t, 10.0) == pytest.approx(s(t) - s(10.0), rel=1e-9, abs=1e-13)


@each
@pytest.mark.parametrize("method", METHODS)
def test_what_no_datum_holds_decays_by_slow_time(name, method):
    """In linear regression the part of w in the kernel of X is w0 exp(-s(t)), whatever the schedule."""
    schedule, s = SCHEDULES[name]
    w0 = LINEAR.initial_weights(seed=1)
    sol = gf.gradient_flow(
        LINEAR, w0, (0, 200), weight_decay=schedule, method=method, rtol=1e-7, t_eval=np.linspace(0, 200, 41)
    )
    assert sol.success, sol.message
    P = np.eye(12) - np.linalg.pinv(X) @ X
    expected = np.exp([-s(t) for t in sol.t])[:, None] * (P @ w0)
    assert np.abs(sol.w @ P - expected).max() < 1e-6 * np.linalg.norm(w0)
    np.testing.assert_allclose(sol["weight_decay"], [schedule(t) for t in sol.t], rtol=1e-14)
    np.testing.assert_allclose(sol["slow_time"], [s(t) for t in sol.t], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", ["BDF", "Radau"])
@pytest.mark.parametrize("curvature", ["gram", "dense", "krylov"])
@pytest.mark.parametrize("name", ["off", "exponential", "jumps"])
def test_a_network_against_scipy(name, method, curvature):
    schedule, _ = SCHEDULES[name]
    w0 = TANH.initial_weights(seed=2)
    sol = gf.gradient_flow(
        TANH,
        w0,
        (0, 150),
        weight_decay=schedule,
        method=method,
        curvature=curvature,
        rtol=1e-8,
        t_eval=[20.0, 50.0, 90.0, 150.0],
    )
    assert sol.success, sol.message
    w, states = w0, []
    edges = sorted({0.0, *sol.t, *(t for t in schedule.breaks if t < 150)})
    for a, b in pairwise(edges):  # one run between two breaks
        middle = 0.5 * (a + b)
        rate = (lambda t: schedule(t)) if name == "exponential" else (lambda t, at=middle: schedule(at))
        w = solve_ivp(
            lambda t, w, rate=rate: -TANH.gradient(w) - rate(t) * w,
            (a, b),
            w,
            "Radau",
            rtol=1e-10,
            atol=1e-12,
        ).y[:, -1]
        states += [w] if b in sol.t else []
    np.testing.assert_allclose(sol.w, states, atol=1e-6)


def test_blocks_keep_their_proportions():
    """A block without decay has none at any time."""
    net = gf.models.DiagonalLinearNetwork(np.zeros((1, 3)), [0.0])
    w0 = net.initial_weights(seed=3)
    decay = schedules.OffAfter({"u": 1e-2, "v": 0.0}, 50.0)
    sol = gf.gradient_flow(net, w0, (0, 100), weight_decay=decay, rtol=1e-9)
    u, v = net.unflatten(sol.final).values()
    np.testing.assert_allclose(u, math.exp(-0.5) * net.unflatten(w0)["u"], rtol=1e-7)
    assert np.array_equal(v, net.unflatten(w0)["v"])


def test_a_break_costs_a_start_and_no_search():
    """Steps end at a jump that is named; one that is not costs as many as it takes to find it."""

    def steps(at):
        jump = schedules.Function(1e-2, lambda t: 1.0 if t < 70 else 0.0, at=at)
        return gf.gradient_flow(
            TANH, TANH.initial_weights(seed=2), (0, 200), weight_decay=jump, rtol=1e-8
        ).stats["nrejected"]

    assert steps([70.0]) < steps([])


def test_steps_end_at_the_breaks():
    seen = []
    gf.gradient_flow(
        LINEAR,
        np.ones(12),
        (0, 200),
        weight_decay=SCHEDULES["jumps"][0],
        callback=lambda t, w: seen.append(t),
    )
    assert {30.0, 100.0, 200.0} <= set(seen)


def test_the_path_beside_a_break_is_that_of_the_step_before():
    schedule, s = SCHEDULES["off"]
    flow = gf.Integrator(
        LINEAR, np.ones(12), (0, 200), weight_decay=schedule, rtol=1e-9, method="Radau", first_step=1e-3
    )
    P = np.eye(12) - np.linalg.pinv(X) @ X
    for step in flow:
        if step.t in (70.0, 200.0):
            t = step.t - 0.5 * step.h
            np.testing.assert_allclose(P @ step.interpolate(t), math.exp(-s(t)) * P @ np.ones(12), atol=1e-7)
    assert flow.status == "finished"


def test_a_plain_function_is_a_rate():
    w0 = LINEAR.initial_weights(seed=1)
    a, b = (
        gf.gradient_flow(LINEAR, w0, (0, 100), weight_decay=decay, rtol=1e-9).final
        for decay in (lambda t: 1e-2 * math.exp(-t / 50.0), SCHEDULES["exponential"][0])
    )
    np.testing.assert_allclose(a, b, atol=1e-8)


def test_off_after_grokking_the_solution_stays():
    """On the manifold of minimisers nothing moves without decay."""
    problem = gf.models.DiagonalLinearNetwork(X, X[:, 0])
    w0 = problem.initial_weights(seed=1, scale=3.0)
    sol = gf.gradient_flow(problem, w0, (0, 1e6), weight_decay=schedules.OffAfter(1e-3, 1e4))
    at_break, end = (sol.w[np.searchsorted(sol.t, t)] for t in (1.1e4, 1e6))
    np.testing.assert_allclose(problem.unflatten(end)["u"], problem.unflatten(at_break)["u"], atol=2e-2)
    assert problem.loss(end) < 1e-12


def test_clocks_go_by_the_rate_of_the_time():
    """With decay from t = 1e3 on t_WD cannot come before."""
    w0 = TANH.initial_weights(seed=2)
    late = gf.gradient_flow(TANH, w0, (0, 1e5), weight_decay=schedules.OnAfter(1e-3, 1e3))
    always = gf.gradient_flow(TANH, w0, (0, 1e5), weight_decay=1e-3)
    assert gf.clocks(always).t_wd < 1e3 <= gf.clocks(late).t_wd * 1.2
    bare = gf.gradient_flow(
        TANH, w0, (0, 1.0), weight_decay=schedules.Constant(1e-3), observe=["grad_norm", "norm"]
    )
    with pytest.raises(ValueError, match="add 'weight_decay' to observe="):
        gf.clocks(bare)


@each
def test_a_run_that_was_interrupted_has_the_same_bits(name, tmp_path):
    schedule, _ = SCHEDULES[name]
    options = {"weight_decay": schedule, "rtol": 1e-6}
    w0 = TANH.initial_weights(seed=2)
    whole = gf.gradient_flow(TANH, w0, (0, 200), **options)
    for i, steps in enumerate((10, whole.stats["nsteps"] // 2, whole.stats["nsteps"] - 3)):
        path = tmp_path / f"{i}.ckpt"
        gf.gradient_flow(TANH, w0, (0, 200), **options, max_steps=steps, checkpoint=path)
        own = {"weight_decay": schedule} if isinstance(schedule, schedules.Function) else {}
        sol = gf.resume(path, max_steps=None, **own)
        assert np.array_equal(sol.w, whole.w)
        assert sol.settings["weight_decay"] == whole.settings["weight_decay"]


def test_settings_and_copies():
    told = [schedule._settings() for schedule, _ in SCHEDULES.values()]
    assert told[1] == {"schedule": "OffAfter", "rate": 0.01, "t_off": 70.0}
    assert told[-1] == {"schedule": "Function", "rate": 0.01, "of_time": None, "at": [30.0, 100.0]}
    json.dumps(told)
    cyclic = schedules.Cyclic({"*": 1e-3, "b": 0.0}, 3.0)
    assert pickle.loads(pickle.dumps(cyclic)) == cyclic
    sol = gf.gradient_flow(LINEAR, np.ones(12), (0, 1), weight_decay=schedules.Cyclic({"w": 1e-3}, 3.0))
    assert sol.settings["weight_decay"]["rate"] == {"w": 1e-3}


@pytest.mark.parametrize(
    ("schedule", "error", "message"),
    [
        (lambda t: 1.0 - t, ValueError, "weight_decay has the factor -.* at t = "),
        (lambda t: math.nan if t > 5 else 1.0, ValueError, "weight_decay has the factor nan at t = "),
        (lambda t: "much", TypeError, "weight_decay returned 'much' at t = 0; it must return a number"),
        (lambda t: "0.1", TypeError, "weight_decay returned '0.1' at t = 0; it must return a number"),
        (lambda t: 10**400, TypeError, "; it must return a number"),
        (lambda t: -1.0, ValueError, "the factor -1 at t = 0; it must be finite and not negative"),
        (schedules.OffAfter(-1.0, 3.0), ValueError, "weight_decay is -1.0; it must not be negative"),
        (schedules.OffAfter({"c": 1.0}, 3.0), ValueError, "weight_decay names 'c'"),
    ],
)
def test_rates_that_are_none(schedule, error, message):
    with pytest.raises(error, match=message):
        gf.gradient_flow(LINEAR, np.ones(12), (0, 10), weight_decay=schedule)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: schedules.Exponential(1.0, 0.0), ValueError, "tau is 0.0; it must be positive"),
        (lambda: schedules.Cyclic(1.0, -1.0), ValueError, "period is -1.0"),
        (
            lambda: schedules.Cyclic(1.0, 1.0, least=2.0),
            ValueError,
            "least is 2.0; it must lie between 0 and 1",
        ),
        (lambda: schedules.OffAfter(1.0, math.nan), ValueError, "t_off is nan"),
        (lambda: schedules.OnAfter(1.0, "late"), TypeError, "t_on is 'late'"),
        (lambda: schedules.Function(1.0, 3.0), TypeError, "of_time is 3.0; it must be a function of time"),
        (lambda: schedules.Function(1.0, math.cos, at=[math.inf]), ValueError, r"at\[0\] is inf"),
    ],
)
def test_misuse(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("bias", [0.1, 0.0])
@pytest.mark.parametrize(
    "schedule",
    [lambda rates: schedules.OffAfter(rates, 3.0), lambda rates: schedules.Exponential(rates, 4.0)],
)
def test_kinks_take_rates_that_change(schedule, bias):
    """Gradient descent tends to the flow, at first order in its steps."""
    rng = np.random.default_rng(3)
    net = gf.models.TwoLayerNetwork(
        rng.uniform(-2, 2, (5, 1)), rng.standard_normal(5), width=4, activation="relu"
    )
    w0, T, rates = net.initial_weights(seed=0), 8.0, schedule({"*": 0.1, "b": bias})
    D = np.full(w0.size, 0.1)
    D[net.blocks["b"]] = bias
    sol = gf.gradient_flow(net, w0, (0, T), weight_decay=rates, rtol=1e-8, atol=1e-11)
    assert sol.success, sol.message
    assert sol.mode_changes.size > 0
    errors = errors_of_descent(net, w0, sol, lambda t: rates.factor(t) * D, (4e-3, 2e-3))
    assert errors[1] < 3e-3
    assert errors[1] < 0.65 * errors[0]


def test_a_break_in_the_middle_of_a_mode_changes_nothing_where_the_rate_does_not():
    net = gf.models.TwoLayerNetwork(X[:, :1], Y, width=9, activation="relu")
    w0, options = net.initial_weights(seed=1), {"rtol": 1e-9, "atol": 1e-12}
    plain = gf.gradient_flow(net, w0, (0, 1e4), weight_decay=1e-3, **options)
    broken = schedules.Function(1e-3, lambda t: 1.0, at=[1.0, 100.0, 3e3])
    sol = gf.gradient_flow(net, w0, (0, 1e4), weight_decay=broken, **options)
    assert "stick" in plain.mode_changes["kind"]
    np.testing.assert_allclose(sol.final, plain.final, atol=1e-6)
    for name in ("neuron", "sample", "kind"):
        assert sol.mode_changes[name].tolist() == plain.mode_changes[name].tolist()
    np.testing.assert_allclose(sol.mode_changes["t"], plain.mode_changes["t"], rtol=1e-5)


@pytest.mark.parametrize(("method", "curvature"), [("BDF", "dense"), ("Radau", "krylov")])
@pytest.mark.parametrize("name", ["off", "exponential", "jumps"])
def test_penalties_take_rates_that_change(name, method, curvature):
    """The factor of decay is that of a penalty: half the squared norm, told as a function."""
    schedule, _ = SCHEDULES[name]
    w0 = TANH.initial_weights(seed=2)
    options = {"weight_decay": schedule, "rtol": 1e-8, "t_eval": [20.0, 50.0, 90.0, 150.0]}
    half = gf.Regularizer(value=lambda w: w @ w / 2, gradient=lambda w: w)
    known = gf.gradient_flow(TANH, w0, (0, 150), **options)
    sol = gf.gradient_flow(
        TANH, w0, (0, 150), method=method, curvature=curvature, regularizer=half, **options
    )
    assert sol.success, sol.message
    np.testing.assert_allclose(sol.w, known.w, atol=1e-6)
    np.testing.assert_array_equal(sol["slow_time"], known["slow_time"])
    np.testing.assert_allclose(sol["regularizer"], known["norm"] ** 2 / 2, rtol=1e-6)


def test_a_trace_that_is_switched_off_stays():
    """Once nothing moves along the manifold, what the penalty has made small stays so."""
    net = gf.models.DeepDiagonalNetwork(X, Y, depth=3)
    w0, t_off = net.initial_weights(seed=0, std=0.5), 300.0
    schedule = schedules.OffAfter(1e-2, t_off)
    sol = gf.gradient_flow(
        net, w0, (0, 1e5), weight_decay=schedule, regularizer="hessian_trace", rtol=1e-8, t_eval=[t_off, 1e5]
    )
    on = gf.gradient_flow(net, w0, (0, t_off), weight_decay=1e-2, regularizer="hessian_trace", rtol=1e-8)
    free = gf.gradient_flow(net, on.final, (0, 1e5), weight_decay=0.0, rtol=1e-8)
    np.testing.assert_allclose(sol.w, [on.final, free.final], atol=1e-6)


def test_what_a_function_raises_passes():
    def rate(t):
        if t > 1.0:
            raise ZeroDivisionError("mine")
        return 1e-3

    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        gf.gradient_flow(LINEAR, np.ones(12), (0, 10), weight_decay=rate)
    assert caught.value.solution.t_final <= 1.0
