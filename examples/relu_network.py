"""A ReLU network on ten data points, the paper's Figure 3: its kinks drift, stick to data points and merge.

python examples/relu_network.py [--small]
"""

import sys

import grokflow as gf
import numpy as np

n, width = (5, 15) if "--small" in sys.argv else (10, 100)
X = np.sort(np.random.default_rng(3).uniform(-2, 2, n))[:, None]
X_test = np.linspace(-2, 2, 400)[:, None]


def teacher(x):
    """Three ReLUs."""
    return np.maximum(x * [1, -1, 1] + [0.5, 0.3, -0.7], 0) @ [1, 1, -2]


problem = gf.models.TwoLayerNetwork(
    X, teacher(X), width=width, activation="relu", test=(X_test, teacher(X_test))
)
w0 = problem.initial_weights(std=2.0, seed=3)
sol = gf.gradient_flow(problem, w0, (0, 1e6), weight_decay=1e-3)
print(sol)
for t, neuron, sample, kind in sol.mode_changes[:10]:
    print(f"t = {t:<12.6g} neuron {neuron:<4} data point {sample:<4} {kind}")
sol.plot().savefig("relu_losses.png")
sol.plot_modes().savefig("relu_kinks.png")
sol.plot_function([0, 1, 1e5], teacher=teacher).savefig("relu_function.png")
