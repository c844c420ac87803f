"""Gradients less smooth than the tolerance asks for: runs end, and tell the tolerance that could be met."""

import warnings

import grokflow as gf
import numpy as np
import pytest

LAM, T_END = 1e-3, 1e4
LIMITS = {"max_steps": 40, "max_time": 0.1}
rng = np.random.default_rng(0)
X = rng.standard_normal((12, 4))
NETWORK = gf.models.TwoLayerNetwork(X, np.tanh(X[:, 0] - X[:, 1]), width=8, activation="tanh")
W0 = NETWORK.initial_weights(seed=0)
EXACT = gf.gradient_flow(NETWORK, W0, (0, T_END), weight_decay=LAM, rtol=1e-9).final


def with_gradient(gradient):
    return gf.Objective(loss=NETWORK.loss, gradient=gradient, hvp=NETWORK.hvp, num_params=NETWORK.num_params)


def single_precision(w):
    """The gradient through factors that are kept in 32 bits."""
    J, r = (f(w.astype(np.float32)).astype(np.float32) for f in (NETWORK.jacobian, NETWORK.residual))
    return (J.T @ r / np.float32(len(X))).astype(float)


def sampled(size):
    draws = np.random.default_rng(1)

    def gradient(w):
        g = NETWORK.gradient(w)
        return g * (1 + size * draws.standard_normal(g.size))

    return gradient


def solve(gradient, method):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sol = gf.gradient_flow(
            with_gradient(gradient), W0, (0, T_END), weight_decay=LAM, method=method, max_steps=4000
        )
    return sol, [str(w.message) for w in caught if w.category is gf.PrecisionWarning]


def error(sol):
    return np.abs(sol.final - EXACT).max() / np.abs(EXACT).max()


@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_a_smooth_gradient_is_not_suspected(method):
    sol, told = solve(NETWORK.gradient, method)
    assert sol.success
    assert told == []


@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_single_precision_in_a_callback(method):
    sol, _ = solve(single_precision, method)
    assert sol.success, sol.message
    assert error(sol) < 1e-5


@pytest.mark.parametrize("method", ["BDF", "Radau"])
@pytest.mark.parametrize("size", [1e-5, 1e-3])
def test_noise_is_told_with_the_tolerance_that_can_be_met(method, size):
    sol, told = solve(sampled(size), method)
    assert sol.success, sol.message
    assert len(told) == 1
    assert "rtol" in told[0]
    assert told[0] in sol.message
    assert error(sol) < 100 * size


def slow_phase(method, lam, rtol, **start):
    X = np.random.default_rng(0).standard_normal((20, 40))
    problem = gf.models.DiagonalLinearNetwork(X, X[:, 0] - X[:, 1])
    w0 = problem.initial_weights(seed=0, **start)
    return gf.gradient_flow(problem, w0, (0, 10 / lam), weight_decay=lam, rtol=rtol, method=method)


@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_small_decay_costs_no_steps(method):
    """The slow phase is one curve in lam t: how far the fast rates lie above is not felt."""
    steps = []
    for lam in (1e-4, 1e-6, 1e-8):
        sol = slow_phase(method, lam, rtol=1e-6)
        assert sol.success
        assert sol.stats["nfailed"] <= 3
        steps.append(sol.stats["nsteps"])
    assert max(steps) < 1.3 * min(steps)


@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_small_decay_at_a_tight_tolerance(method):
    """Round-off of h grad F is no failure of Newton's method."""
    sol = slow_phase(method, 1e-8, rtol=1e-10)
    assert sol.success
    assert sol.stats["nsteps"] < 10_000
    assert sol.stats["nfailed"] < 0.01 * sol.stats["nsteps"]


@pytest.mark.parametrize("method", ["BDF", "Radau"])
@pytest.mark.parametrize("start", [{}, {"std": 1e-3}])
def test_a_tolerance_below_round_off_is_told_and_not_ground_through(method, start):
    with pytest.warns(gf.PrecisionWarning, match="ask for rtol = ") as caught:
        sol = slow_phase(method, 1e-8, rtol=1e-12, **start)
    assert sol.success
    assert len(caught) == 1
    assert sol.stats["nfailed"] + sol.stats["nrejected"] < 0.1 * sol.stats["nsteps"]
    assert sol.stats["nsteps"] < 30_000


@pytest.mark.parametrize(("limit", "status"), [("max_steps", "max_steps"), ("max_time", "time_limit")])
def test_a_limit_tells_how_far_the_run_came(limit, status):
    sol = gf.gradient_flow(NETWORK, W0, (0, 1e8), weight_decay=LAM, max_step=1.0, **{limit: LIMITS[limit]})
    assert sol.status == status
    assert f"t = {sol.t_final:.6g}" in sol.message
    assert f"raise {limit}" in sol.message


RATES = np.array([1.0, 10, 100, 1e4])


def ill(gradient, hvp=lambda w, v: RATES * v):
    return gf.Objective(loss=lambda w: 0.5 * RATES @ w**2, gradient=gradient, hvp=hvp, num_params=4)


TROUBLES = {
    "check_problem": ill(lambda w: RATES * w, hvp=lambda w, v: 30 * v),
    "the gradient jumps": ill(lambda w: RATES * np.sign(w), hvp=lambda w, v: 0 * v),
    "not finite": ill(lambda w: np.where(w > 0.5, RATES, np.nan)),
}


@pytest.mark.filterwarnings("ignore::grokflow.PrecisionWarning")
@pytest.mark.parametrize("method", ["BDF", "Radau"])
@pytest.mark.parametrize("kind", TROUBLES)
def test_trouble_is_told_with_what_was_seen(kind, method):
    """Not by an advice to take more steps of the same kind."""
    sol = gf.gradient_flow(
        TROUBLES[kind], np.ones(4), (0, 10), weight_decay=1e-3, method=method, max_steps=300
    )
    assert not sol.success
    assert kind in sol.message
    assert "raise" not in sol.message


def test_trouble_of_an_explicit_method_is_told():
    problem = TROUBLES["the gradient jumps"]
    sol = gf.gradient_flow(problem, np.ones(4), (0, 10), weight_decay=1e-3, method="ROCK2", max_steps=300)
    assert sol.status == "max_steps"
    assert "The error test failed in" in sol.message
    assert "raise" not in sol.message


@pytest.mark.filterwarnings("ignore::grokflow.PrecisionWarning")
@pytest.mark.parametrize("std", [0.1, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_weak_decay_at_a_tight_tolerance_takes_as_many_steps_from_any_start(seed, std):
    rng = np.random.default_rng(seed)
    problem = gf.models.DiagonalLinearNetwork(rng.standard_normal((6, 9)), rng.standard_normal(6))
    w0 = problem.initial_weights(seed=seed, std=std)
    sol = gf.gradient_flow(problem, w0, (0, 1e9), weight_decay=1e-8, rtol=1e-12, method="BDF")
    assert sol.success, sol.message
    assert sol.stats["nsteps"] < 8000
