"""A diagonal linear network finds a sparse Fourier series, long after it has interpolated the samples.

python examples/diagonal_network.py [--small]
"""

import sys

import grokflow as gf
import matplotlib.pyplot as plt
import numpy as np

features, samples, terms = (21, 12, 2) if "--small" in sys.argv else (101, 40, 5)
rng = np.random.default_rng(0)


def fourier(x):
    """Return the functions 1, sqrt(2) cos(2 pi k x), sqrt(2) sin(2 pi k x) at x."""
    angles = 2 * np.pi * np.outer(x, np.arange(1, features // 2 + 1))
    return np.hstack([np.ones((len(x), 1)), np.sqrt(2) * np.cos(angles), np.sqrt(2) * np.sin(angles)])


teacher = np.zeros(features)
teacher[rng.choice(features, terms, replace=False)] = rng.choice([-1.0, 1.0], terms)
X, X_test = fourier(rng.uniform(size=samples)), fourier(np.linspace(0, 1, 300))

problem = gf.models.DiagonalLinearNetwork(X, X @ teacher, test=(X_test, X_test @ teacher))
w0 = problem.initial_weights(seed=1)  # variance 0.1
observe = ["train_loss", "test_loss", "norm", "grad_norm", "coefficients"]
sol = gf.gradient_flow(problem, w0, (0, 3e5), weight_decay=1e-4, observe=observe)
print(sol)
sol.plot().savefig("diagonal_network.png")

landing = np.searchsorted(sol.t, gf.clocks(sol).t_wd)
figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.plot(teacher, "o", fillstyle="none", color="black", label="teacher")
ax.plot(sol["coefficients"][landing], "x", label="landing")
ax.plot(sol["coefficients"][-1], ".", label="end")
ax.set_xlabel("Fourier function")
ax.set_ylabel("coefficient $u_i v_i$")
figure.legend(loc="outside upper center", ncols=3)
figure.savefig("diagonal_network_coefficients.png")
