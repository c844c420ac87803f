"""The problems of the oracle tests are what they say: their derivatives agree with each other."""

import numpy as np
import oracle_problems as op
import pytest

rng = np.random.default_rng(5)
X = rng.standard_normal((4, 3))
PROBLEMS = {
    "linear": op.linear_regression(X, rng.standard_normal(4)),
    "diagonal": op.diagonal_network(X, rng.standard_normal(4)),
    "power": op.power_network(X, rng.standard_normal(4), 3),
    "matrix": op.matrix_factorisation(X, 2, mask=rng.random((4, 3)) < 0.6),
    "symmetric": op.symmetric_factorisation(X @ X.T, 2),
    "layers": op.linear_layers(X.T, rng.standard_normal((2, 4)), (4, 3)),
    "signed_square": op.signed_square_network(X, rng.standard_normal(4), 3),
    "attention": op.attention_scores(X, rng.standard_normal((4, 4)), 2),
    "radial": op.radial_well(4),
    "monomial": op.monomial(3),
    "rayleigh": op.rayleigh(X @ X.T),
    "logistic": op.logistic_regression(X, [1, -1, 1, 1]),
    "exponential": op.exponential(),
    "softmax": op.softmax_regression(X, [0, 1, 2, 1], 3),
}


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_derivatives_by_the_complex_step(problem):
    w = np.random.default_rng(6).standard_normal(problem.num_params)
    directions = 1e-30j * np.eye(w.size)
    gradient = [np.imag(problem.loss(w + e)) / 1e-30 for e in directions]
    np.testing.assert_allclose(problem.gradient(w), gradient, rtol=1e-12, atol=1e-12)
    if isinstance(problem, op.LeastSquaresLoss):
        J = np.stack([problem.residual(w + e).imag / 1e-30 for e in directions], axis=1)
        np.testing.assert_allclose(problem.jacobian(w), J, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(problem.gradient(w), J.T @ problem.residual(w), rtol=1e-12, atol=1e-12)
    H = np.stack([(problem.gradient(w + e) - problem.gradient(w - e)) / 2e-5 for e in 1e-5 * np.eye(w.size)])
    np.testing.assert_allclose(problem.hessian(w), H, rtol=1e-6, atol=1e-6 * np.abs(H).max())
