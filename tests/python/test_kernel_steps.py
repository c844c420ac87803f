"""Implicit steps in kernel space: what a fresh kernel saves, and how long an aged one serves."""

import grokflow as gf
import numpy as np
import pytest
from grokflow._backend import core


def network(n, width, outputs=1, depth=2, inputs=5, seed=0):
    """A deep tanh network with a smooth teacher, and weights."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, inputs))
    Y = np.tanh(X @ rng.standard_normal((inputs, 3))) @ rng.standard_normal((3, outputs))
    problem = gf.models.MLP(X, Y if outputs > 1 else Y[:, 0], widths=(width,) * depth, activation="tanh")
    return problem, problem.initial_weights(seed=1)


def two_layers(n, width, inputs=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, inputs))
    y = np.tanh(X @ rng.standard_normal((inputs, 3))) @ rng.standard_normal(3)
    problem = gf.models.TwoLayerNetwork(X, y, width=width, output_bias=True, output_scale=width**-0.5)
    return problem, problem.initial_weights(seed=1)


def curvature(problem, w, rates):
    made = core.SteppedCurvature(problem._core, rates, "gram", 2.0**32, 0)
    made.linearize(w)
    return made


@pytest.mark.parametrize(
    "make", [lambda: network(20, 6), lambda: network(20, 6, outputs=3), lambda: two_layers(20, 12)]
)
@pytest.mark.parametrize("by_block", [False, True])
@pytest.mark.parametrize("z", [1e-2, 1.0, 1e4])
def test_first_correction_of_a_fresh_kernel_is_that_of_newton(make, by_block, z):
    """(I + z (D + c J^T J))^-1 (v - z (grad F + D w)), by one product with J and one with J^T."""
    problem, w = make()
    d = problem.num_params
    rates = [(0, d // 3, 1e-4), (d // 3, d, 1e-2)] if by_block else [(0, d, 1e-3)]
    D = np.concatenate([np.full(end - begin, rate) for begin, end, rate in rates])
    v = np.random.default_rng(2).standard_normal(d)
    solver = curvature(problem, w, rates)
    found = solver.solve_with_field(z, w, v)
    J = problem.jacobian(w)
    M = np.eye(d) + z * (np.diag(D) + problem.scale * J.T @ J)
    exact = np.linalg.solve(M, v - z * (problem.gradient(w) + D * w))
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-9 * np.abs(exact).max())
    assert (solver.stats["njvp"], solver.stats["nvjp"], solver.stats["nsolve"]) == (1, 1, 1)


def test_with_the_full_hessian_it_is_a_solve_that_spares_a_gradient():
    problem, w = network(20, 6)
    v = np.random.default_rng(2).standard_normal(w.size)
    solver = curvature(problem, w, [(0, w.size, 1e-3)])
    assert solver.sharpen()
    found, products = solver.solve_with_field(0.1, w, v), solver.stats["nvjp"]
    solved = solver.solve(0.1, v - 0.1 * (problem.gradient(w) + 1e-3 * w))
    np.testing.assert_allclose(found, solved, rtol=0, atol=1e-12 * np.abs(solved).max())
    assert products == solver.stats["nvjp"] - products + 1
    assert solver.stats["nhvp"] > 0


def test_right_hand_side_is_asked_for_where_that_is_no_gain():
    """A model that has not kept r would have to compute it."""
    linear = gf.models.LinearRegression(np.eye(2, 3), np.ones(2))
    assert curvature(linear, np.ones(3), [(0, 3, 1e-3)]).solve_with_field(1.0, np.ones(3), np.ones(3)) is None


@pytest.mark.parametrize("rates", [1e-3, {"*": 1e-3, "b1": 0.0}], ids=["one rate", "two rates"])
def test_a_cheap_kernel_is_renewed_in_every_step(rates):
    """Each step then costs one solve, and another where the rate of Newton's method is measured."""
    problem, w = network(20, 60)
    options = {"weight_decay": rates, "rtol": 1e-5, "atol": 1e-8, "t_eval": np.logspace(-2, 4, 20)}
    sol = gf.gradient_flow(problem, w, (0, 1e4), save_states=True, **options)
    stats, attempts = sol.stats, sol.stats["nsteps"] + sol.stats["nrejected"]
    assert sol.success
    assert attempts <= stats["ngram"] <= 1.1 * attempts + 2
    assert stats["nsolve"] < 1.7 * attempts
    assert stats["nfev"] < 0.7 * attempts
    exact = gf.gradient_flow(
        problem, w, (0, 1e4), method="Radau", save_states=True, **options | {"rtol": 1e-9, "atol": 1e-12}
    )
    assert np.abs(sol.w - exact.w).max() < 30 * 1e-5 * np.abs(exact.w).max()


@pytest.mark.parametrize(("n", "inputs", "cheap"), [(15, 5, True), (150, 5, False), (150, 60, True)])
def test_a_kernel_of_two_layers_is_cheap_with_few_samples_or_many_inputs(n, inputs, cheap):
    problem, w = two_layers(n, 300, inputs)
    stats = gf.gradient_flow(problem, w, (0, 1e4), weight_decay=1e-3, rtol=1e-5, atol=1e-8).stats
    attempts = stats["nsteps"] + stats["nrejected"]
    assert (stats["ngram"] >= attempts) == cheap
    assert (stats["nfev"] < attempts) == cheap


def test_a_dear_kernel_serves_many_steps():
    """K costs as much as dozens of gradients: two iterations with an aged one are cheaper."""
    problem, w = network(150, 5, inputs=20)
    sol = gf.gradient_flow(problem, w, (0, 1e4), weight_decay=1e-3, rtol=1e-5, atol=1e-8)
    assert sol.success
    assert sol.stats["ngram"] < 0.6 * sol.stats["nsteps"]


def test_matrices_that_fail_are_renewed_in_time():
    """In the slow phase a matrix is good for one step: to learn that anew in each would cost two solves."""
    problem, w = network(60, 16)
    early, late = (
        gf.gradient_flow(problem, w, (0, t), weight_decay=1e-4, rtol=1e-5, atol=1e-8).stats
        for t in (1e3, 1e5)
    )
    work = {name: late[name] - early[name] for name in ("nsteps", "nfev", "ngram")}
    assert work["ngram"] > 0.4 * work["nsteps"]  # else it is not that phase
    assert work["nfev"] < 2.5 * work["nsteps"]
