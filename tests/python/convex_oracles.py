"""The ends of the drift by convex optimisation, with a proof of optimality."""

import numpy as np
from scipy.optimize import linprog


def least_l1(X, y):
    """Return the b of least ||b||_1 with X b = y, as a linear programme."""
    d = X.shape[1]
    answer = linprog(np.ones(2 * d), A_eq=np.hstack([X, -X]), b_eq=y)
    assert answer.success
    return answer.x[:d] - answer.x[d:]


def least_nuclear_norm(observed, values, iterations=4000, rho=1.0):
    """Return the W of least nuclear norm with W[observed] = values, and a lower bound of that norm.

    The splitting of Douglas and Rachford, whose step in one variable shrinks the singular values and in the
    other restores the entries. Any Y that vanishes where nothing is observed, with ||Y||_2 <= 1, proves that
    the norm is at least <Y, W>; the difference of the two variables provides one.
    """
    target = np.zeros(observed.shape)
    target[observed] = values
    Z = target.copy()
    for _ in range(iterations):
        W = np.where(observed, target, Z)
        U, sigma, Vt = np.linalg.svd(2.0 * W - Z, full_matrices=False)
        Z = Z + (U * np.maximum(sigma - rho, 0.0)) @ Vt - W
    Y = np.where(observed, W - Z, 0.0) / rho
    Y = Y / max(1.0, np.linalg.norm(Y, 2))
    return W, float(np.sum(Y * target))
