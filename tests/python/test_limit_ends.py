"""Where the drift ends: the minimisers of least norm, held against independent convex optimisation."""

import grokflow as gf
import numpy as np
import pytest
from convex_oracles import least_l1, least_nuclear_norm

# An instance with a strict certificate (|X.T nu| < 1 off the support), so that the approach is exponential.
X = np.array(
    [[2.0, -1.0, 1.0, -2.0, 3.0, -3.0], [-2.0, 1.0, -3.0, 0.0, -2.0, 3.0], [-1.0, 2.0, -1.0, 2.0, -3.0, -3.0]]
)
Y = np.array([6.0, -4.0, -4.0])

# 4 x 4, of rank 1 in truth, which is not what the least nuclear norm gives back.
M = np.array([[2.0, 2.0, 4.0, -2.0], [1.0, 1.0, 2.0, -1.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 2.0, -1.0]])
MASK = np.array([[1, 1, 0, 1], [0, 1, 1, 0], [1, 0, 0, 1], [1, 1, 1, 0]], dtype=bool)


def end_of_drift(problem, w0, s_end, **options):
    landing = gf.limit_map(problem, w0)
    assert landing.success, landing.message
    sol = gf.norm_flow(problem, landing.w, (0, s_end), **options)
    assert sol.success, sol.message
    return sol


def test_diagonal_network_ends_at_the_least_l1_norm():
    """||w||^2 / 2 >= ||u v||_1, with equality at the end. The error falls as exp(-2 s (1 - max |X.T nu|))."""
    problem = gf.models.DiagonalLinearNetwork(X, Y)
    best = least_l1(X, Y)
    sol = end_of_drift(problem, problem.initial_weights(std=1.0, seed=np.random.default_rng(0)), 14.0)
    u, v = problem.unflatten(sol.final).values()
    assert np.sum(np.abs(best)) == pytest.approx(2.0833333333333335)
    assert u * v == pytest.approx(best, abs=1e-5)
    assert sol.final @ sol.final / 2.0 == pytest.approx(np.sum(np.abs(best)), rel=1e-5)


def completion(observed, target, width):
    return gf.models.MatrixCompletion(
        *np.nonzero(observed), target[observed], shape=target.shape, width=width
    )


@pytest.mark.parametrize("width", [8, 4])
def test_matrix_completion_ends_at_the_least_nuclear_norm(width):
    """||w||^2 / 2 >= ||U V^T||_*; rows + columns, and here half of them, suffice for the width."""
    problem = completion(MASK, M, width)
    best, bound = least_nuclear_norm(MASK, M[MASK])
    nuclear = np.linalg.norm(best, "nuc")
    assert bound == pytest.approx(nuclear, rel=1e-8)  # the oracle proves itself
    assert nuclear == pytest.approx(6.29252874, abs=1e-7)
    sol = end_of_drift(problem, problem.initial_weights(std=1.0, seed=np.random.default_rng(0)), 16.0)
    found = problem.predict(sol.final)
    assert found[MASK] == pytest.approx(M[MASK], abs=1e-10)
    assert sol.final @ sol.final / 2.0 == pytest.approx(nuclear, rel=1e-5)
    assert np.linalg.norm(found, "nuc") == pytest.approx(nuclear, rel=1e-5)
    assert found == pytest.approx(best, abs=1e-2)


@pytest.mark.parametrize("width", [10])
def test_matrix_completion_of_rank_two(width):
    """12 x 12 of rank 2 from 60% of its entries, at width 10."""
    rng = np.random.default_rng(0)
    target = rng.standard_normal((12, 2)) @ rng.standard_normal((2, 12))
    observed = rng.random((12, 12)) < 0.6
    problem = completion(observed, target, width)
    best, bound = least_nuclear_norm(observed, target[observed])
    nuclear = np.linalg.norm(best, "nuc")
    assert bound == pytest.approx(nuclear, rel=1e-6)
    sol = end_of_drift(problem, problem.initial_weights(std=0.5, seed=np.random.default_rng(0)), 12.0)
    assert sol.final @ sol.final / 2.0 == pytest.approx(nuclear, rel=1e-4)


def test_the_end_is_a_kkt_point():
    """P w = 0, so that w lies in the row space of J, and for degree 2 ||w||^2 = 4 y.K^-1 y."""
    problem = gf.models.DiagonalLinearNetwork(X, Y)
    w = end_of_drift(
        problem, problem.initial_weights(std=1.0, seed=np.random.default_rng(0)), 40.0, kkt_tol=1e-5
    ).final
    assert np.linalg.norm(gf.tangent_projection(problem, w, w).v) <= 1.1e-5 * np.linalg.norm(w)
    assert w @ w == pytest.approx(4.0 * Y @ np.linalg.solve(problem.gram(w), Y), rel=1e-9)


SOME = (0, 5, 16, 21, 25)


@pytest.mark.parametrize(("regularizer", "s_end"), [("norm", 40.0), ("hessian_trace", 5.0)])
@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=() if seed in SOME else pytest.mark.slow) for seed in range(60)]
)
def test_a_drift_goes_on_where_its_weights_reach_round_off(seed, regularizer, s_end):
    """Whether weights fall to 1e-17 on the way to a sparse end or lie there at its start, what has vanished
    costs no steps, and the solution is still exact. Both weigh |beta|, for all |x_j| are equal."""
    A = np.random.default_rng(seed).choice([-1.0, 1.0], (5, 12))
    problem = gf.models.DiagonalLinearNetwork(2 * A, A[:, 0])
    sol = end_of_drift(problem, np.r_[np.full(12, 2**0.5), np.zeros(12)], s_end, regularizer=regularizer)
    u, v = problem.unflatten(sol.final).values()
    np.testing.assert_allclose(2 * A @ (u * v), A[:, 0], atol=1e-8)
    assert np.sum(np.abs(u * v)) == pytest.approx(np.sum(np.abs(least_l1(2 * A, A[:, 0]))), abs=1e-6)
    assert np.isfinite(sol.w).all()
    assert sol.stats["nproject"] < 1000
