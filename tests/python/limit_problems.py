"""Problems with minimisers at zero loss, landed: what the tests of the limit share."""

from functools import cache

import grokflow as gf
import numpy as np


def quadric(a, *, hessian=True):
    """Return F = (w.A w - 1)^2 / 4 with A = diag(a), no sum of squares: its minimisers are a quadric."""
    A = np.diag(np.asarray(a, dtype=float))

    def hvp(w, v):
        return (w @ A @ w - 1.0) * (A @ v) + 2.0 * (A @ w) * (w @ A @ v)

    second = {"hessian": lambda w: np.array([hvp(w, e) for e in np.eye(len(A))])} if hessian else {"hvp": hvp}
    return gf.Objective(
        loss=lambda w: (w @ A @ w - 1.0) ** 2 / 4.0,
        gradient=lambda w: (w @ A @ w - 1.0) * (A @ w),
        num_params=len(A),
        **second,
    )


def hyperbola(c=1.0):
    """Return F = (u v - c)^2 / 2."""
    return gf.LeastSquares(
        residual=lambda w: [w[0] * w[1] - c],
        jacobian=lambda w: [[w[1], w[0]]],
        hvp=lambda w, v: (w[0] * w[1] - c) * v[::-1] + w[::-1] * (w[::-1] @ v),
        num_params=2,
        num_residuals=1,
        scale="sum",
    )


def linear(n=4, d=9, seed=0):
    rng = np.random.default_rng(seed)
    return gf.models.LinearRegression(rng.standard_normal((n, d)), rng.standard_normal(n))


def diagonal(n=4, d=8, seed=0):
    rng = np.random.default_rng(seed)
    X, X_test = rng.standard_normal((2, n, d))
    beta = np.r_[1.0, -1.0, np.zeros(d - 2)]
    return gf.models.DiagonalLinearNetwork(X, X @ beta, test=(X_test, X_test @ beta))


def completion(size=5, width=3, fraction=0.4, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.outer(rng.standard_normal(size), rng.standard_normal(size))
    rows, cols = np.nonzero(rng.random((size, size)) < fraction)
    return gf.models.MatrixCompletion(rows, cols, truth[rows, cols], shape=(size, size), width=width)


def tanh(n=4, width=8, seed=0):
    """Return a network that has more parameters than samples, with a spectrum that is not too wide."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 2))
    return gf.models.TwoLayerNetwork(X, rng.choice([-0.5, 0.5], n), width=width, output_scale=width**-0.5)


PROBLEMS = {"linear": linear, "diagonal": diagonal, "completion": completion, "tanh": tanh}


@cache
def landed(name, rtol=1e-9):
    """Return a problem of this name, and a point of its manifold that no symmetry distinguishes."""
    problem = PROBLEMS[name]()
    landing = gf.limit_map(problem, problem.initial_weights(std=0.8, seed=3), rtol=rtol)
    assert landing.success, landing.message
    landing.w.flags.writeable = False
    return problem, landing.w
