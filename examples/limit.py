"""A tanh network beside its limit of vanishing weight decay: the distance falls as the weight decay does.

python examples/limit.py [--small]
"""

import sys

import grokflow as gf
import numpy as np

n, p, width = (8, 4, 20) if "--small" in sys.argv else (50, 10, 50)
rng = np.random.default_rng(0)
directions = rng.standard_normal((3, p))
directions *= 1.5 / np.linalg.norm(directions, axis=1, keepdims=True)
X, X_test = rng.standard_normal((n, p)), rng.standard_normal((400, p))
y, y_test = (np.tanh(x @ directions.T) @ [1.0, -1.0, 1.0] for x in (X, X_test))

problem = gf.models.TwoLayerNetwork(
    X,
    y,
    width=width,
    activation="tanh",
    scale="sum",  # F is half the sum of the squared errors
    test=(X_test, y_test),
)
w0 = problem.initial_weights(std=1.0, seed=1)
phases = gf.two_phase(problem, w0, weight_decay=[1e-3, 1e-4, 1e-5])
phases.report()
phases.plot().savefig("limit.png")

print("\nfrom a thousandth of the first train loss to a tenth of the test loss at the landing:")
tolerances = 1e-3 * phases.fast["train_loss"][0], 0.1 * phases.slow["test_loss"][0]
for lam, times in phases.grokking_times(*tolerances).items():
    print(f"lam = {lam:g}: {times.delay:.6g}, predicted from the limit {times.predicted_delay:.6g}")
