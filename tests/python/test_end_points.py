"""Where the flow ends, against independent solvers, and the first-order laws of small weight decay."""

import numpy as np
import oracle_problems as op
import pytest
from oracle_data import facts


def start(problem, seed, scale=1.0):
    return scale * np.random.default_rng(seed).standard_normal(problem.num_params)


def lasso_by_coordinates(X, y, penalty, sweeps=20000):
    """Minimise ||X b - y||^2 / 2 + penalty ||b||_1 one coordinate at a time."""
    b, squares = np.zeros(X.shape[1]), np.sum(X**2, axis=0)
    for _ in range(sweeps):
        before = b.copy()
        for j, x in enumerate(X.T):
            z = x @ (y - X @ b) + squares[j] * b[j]
            b[j] = np.sign(z) * max(abs(z) - penalty, 0) / squares[j]
        if np.max(np.abs(b - before)) < 1e-15:
            break
    return b


def test_product_parametrisation_ends_at_the_lasso(flow):
    """min lam (u^2 + v^2) / 2 at fixed u v is lam |u v|. Hoff 2017; Ziyin and Wang, arXiv:2210.01212."""
    case = facts("lasso")
    lasso = lasso_by_coordinates(case.X, case.y, case.weight_decay)
    np.testing.assert_allclose(lasso, case.lasso, atol=1e-9)
    problem = op.diagonal_network(case.X, case.y)
    w = flow.end(problem, start(problem, 1), 2000, weight_decay=case.weight_decay)
    beta = np.prod(np.split(w, 2), axis=0)
    np.testing.assert_allclose(beta, lasso, atol=1e-8)
    assert np.max(np.abs(case.X.T @ (case.X @ beta - case.y))) <= case.weight_decay * (1 + 1e-7)


def test_difference_of_squares_ends_at_half_the_penalty(flow):
    case = facts("lasso")
    problem = op.power_network(case.X, case.y, 2)
    w = flow.end(problem, start(problem, 2), 2000, weight_decay=2 * case.weight_decay)
    u, v = np.split(w, 2)
    np.testing.assert_allclose(u**2 - v**2, case.lasso, atol=1e-8)


def test_full_factorisation_ends_at_soft_thresholding(flow):
    """min (||U||^2 + ||V||^2) / 2 at fixed U V^T is its nuclear norm. Srebro, Rennie and Jaakkola 2005."""
    rng = np.random.default_rng(3)
    Y, lam = rng.standard_normal((3, 4)), 0.3
    problem = op.matrix_factorisation(Y, 3)
    U, V = problem.split(flow.end(problem, start(problem, 4), 400, weight_decay=lam))
    left, s, right = np.linalg.svd(Y, full_matrices=False)
    np.testing.assert_allclose(U @ V.T, (left * np.maximum(s - lam, 0)) @ right, atol=1e-9)


@pytest.mark.parametrize("weight_decay", [1e-2, 1e-6])
def test_separable_data_ends_at_the_regularised_minimum(hessian_flow, weight_decay):
    """Without decay the weights run away; with it they end where Newton's method says."""
    X = np.array([[1.0, 0.5], [0.6, 1.2], [2.0, -0.3], [0.9, 1.8]])
    problem = op.logistic_regression(np.vstack([X, -X[:2]]), [1, 1, 1, 1, -1, -1])
    minimum = np.zeros(2)
    for _ in range(100):
        slope = problem.gradient(minimum) + weight_decay * minimum
        minimum = minimum - np.linalg.solve(problem.hessian(minimum) + weight_decay * np.eye(2), slope)
    assert np.linalg.norm(problem.gradient(minimum) + weight_decay * minimum) < 1e-14
    w = hessian_flow.end(problem, [0.3, -0.2], 40 / weight_decay, weight_decay=weight_decay)
    hessian_flow.check(w, minimum)


def test_linear_regression_tends_to_its_slow_limit(flow):
    """At t = s / lam: w = X^+ y + exp(-s) P_ker w0, up to a first-order error in lam."""
    rng = np.random.default_rng(5)
    X, y, w0 = rng.standard_normal((2, 4)), rng.standard_normal(2), rng.standard_normal(4)
    inverse = np.linalg.pinv(X)
    limit = inverse @ y + np.exp(-1.5) * (w0 - inverse @ (X @ w0))
    problem = op.linear_regression(X, y)
    decays = np.array([1e-3, 1e-4, 1e-5])
    errors = [np.linalg.norm(flow.end(problem, w0, 1.5 / lam, weight_decay=lam) - limit) for lam in decays]
    np.testing.assert_allclose(np.diff(np.log(errors)) / np.diff(np.log(decays)), 1, atol=0.02)


def test_residual_of_the_slow_phase(flow):
    """On the slow phase r = -lam K^-1 J w + O(lam^2) with F = ||r||^2 / 2."""
    rng = np.random.default_rng(6)
    problem = op.diagonal_network(rng.standard_normal((2, 4)), rng.standard_normal(2))
    w0 = start(problem, 7)
    errors = []
    for lam in (1e-3, 1e-4):
        w = flow.end(problem, w0, 1 / lam, weight_decay=lam, rtol=1e-10, atol=1e-13)
        J = problem.jacobian(w)
        predicted = -lam * np.linalg.solve(J @ J.T, J @ w)
        errors.append(np.linalg.norm(problem.residual(w) - predicted) / np.linalg.norm(predicted))
    assert errors[0] < 0.05
    assert errors[1] < 0.15 * errors[0]
