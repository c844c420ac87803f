"""Functions as a user would write them: a small nonlinear least-squares problem and a smooth objective."""

import numpy as np
from grokflow import callbacks

RNG = np.random.default_rng(0)
N, D = 4, 6
X, Y, A = RNG.normal(size=(N, D)), RNG.normal(size=N), RNG.normal(size=(D, D))
W, V, U = RNG.normal(size=D), RNG.normal(size=D), RNG.normal(size=N)


# r = sin(X w) - y
def residual(w):
    return np.sin(X @ w) - Y


def jacobian(w):
    return np.cos(X @ w)[:, None] * X


def jvp(w, v):
    return jacobian(w) @ v


def vjp(w, u):
    return jacobian(w).T @ u


def gram(w):
    return jacobian(w) @ jacobian(w).T


def least_squares(module=callbacks, **functions):
    return module.LeastSquares(residual=residual, num_params=D, num_residuals=N, **functions)


# F = sum of exp(A w)
def loss(w):
    return np.exp(A @ w).sum()


def gradient(w):
    return A.T @ np.exp(A @ w)


def hessian(w):
    return A.T @ (np.exp(A @ w)[:, None] * A)


def hvp(w, v):
    return hessian(w) @ v


def objective(module=callbacks, **functions):
    return module.Objective(**({"loss": loss, "gradient": gradient, "num_params": D} | functions))
