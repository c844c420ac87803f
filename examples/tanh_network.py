"""A tanh network learns one of two neurons: the test loss falls a thousand times later than the train loss.

python examples/tanh_network.py [--small]
"""

import sys

import grokflow as gf
import numpy as np

n, p, width = (12, 3, 8) if "--small" in sys.argv else (60, 10, 50)
rng = np.random.default_rng(0)
directions = rng.standard_normal((2, p))
directions *= 1.5 / np.linalg.norm(directions, axis=1, keepdims=True)
X, X_test = rng.standard_normal((n, p)), rng.standard_normal((400, p))
y, y_test = (np.tanh(x @ directions.T) @ [1.0, -1.0] for x in (X, X_test))

problem = gf.models.TwoLayerNetwork(X, y, width=width, activation="tanh", test=(X_test, y_test))
w0 = problem.initial_weights(std=1.0, seed=1)
sol = gf.gradient_flow(problem, w0, (0, 1e5), weight_decay=1e-4)
print(sol)
print(gf.clocks(sol))
sol.plot().savefig("tanh_network.png")
