"""Linear regression groks: the fast phase interpolates, the slow one forgets what the data say nothing about.

python examples/linear_regression.py [--small]
"""

import sys

import grokflow as gf
import numpy as np

n, d = (10, 30) if "--small" in sys.argv else (50, 200)
rng = np.random.default_rng(0)
X, X_test = rng.standard_normal((n, d)), rng.standard_normal((200, d))
teacher = rng.standard_normal(d) / np.sqrt(d)

problem = gf.models.LinearRegression(X, X @ teacher, test=(X_test, X_test @ teacher))
w0 = problem.initial_weights(seed=1)
sol = gf.gradient_flow(problem, w0, (0, 2e4), weight_decay=1e-3)
print(sol)
print(gf.clocks(sol))

# The end point is ridge regression, X^T (X X^T + n lam I)^-1 y.
ridge = X.T @ np.linalg.solve(X @ X.T + n * 1e-3 * np.eye(n), X @ teacher)
print("largest distance to ridge regression:", np.abs(sol.final - ridge).max())
sol.plot().savefig("linear_regression.png")
