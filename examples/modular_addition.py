"""Modular addition, the task on which grokking was found: the network adds long after it has memorised.

A two-layer network with the quadratic activation and the squared loss (Gromov, arXiv:2301.02679). Its
gradient is written here in NumPy, and ROCK2 needs nothing else.

python examples/modular_addition.py [p] [--small]
"""

import sys

import grokflow as gf
import matplotlib.pyplot as plt
import numpy as np

small = "--small" in sys.argv
numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
p = numbers[0] if numbers else 5 if small else 23
width, t_end = (10, 1e2) if small else (max(100, 4 * p), 1e5)
(X, Y), (X_test, Y_test) = gf.modular_addition(p, fraction=0.5)


def layers(w):
    """Return the two weight matrices, of shapes (width, 2 p) and (p, width)."""
    return w[: 2 * p * width].reshape(width, 2 * p), w[2 * p * width :].reshape(p, width)


def predict(w, X):
    """Return the outputs, shape (n, p)."""
    V, U = layers(w)
    return (X @ V.T) ** 2 @ U.T


def loss(w, X=X, Y=Y):
    """Return the squared loss."""
    return 0.5 * np.sum((predict(w, X) - Y) ** 2) / len(X)


def gradient(w):
    """Return the gradient of the training loss."""
    V, U = layers(w)
    hidden = X @ V.T
    error = (hidden**2 @ U.T - Y) / len(X)
    return np.concatenate([((2 * hidden * (error @ U)).T @ X).ravel(), (error.T @ hidden**2).ravel()])


def accuracy(X, Y):
    """Return an observable: the share of the samples whose largest output is the right one."""
    return lambda t, w: np.mean(predict(w, X).argmax(axis=1) == Y.argmax(axis=1))


problem = gf.Objective(loss=loss, gradient=gradient, num_params=3 * p * width)
w0 = 0.3 * np.random.default_rng(0).standard_normal(problem.num_params)
observe = {
    "train_loss": "train_loss",
    "test_loss": lambda t, w: loss(w, X_test, Y_test),
    "norm": "norm",
    "train_accuracy": accuracy(X, Y),
    "test_accuracy": accuracy(X_test, Y_test),
}
tolerances = {"rtol": 1e-4, "atol": 1e-7}
sol = gf.gradient_flow(
    problem, w0, (0, t_end), weight_decay=3e-4, method="ROCK2", observe=observe, **tolerances
)
print(sol)

figure, (top, bottom) = plt.subplots(2, figsize=(5.5, 4.5), sharex=True, layout="constrained")
for name, style in (("train", "C0-"), ("test", "C1-")):
    top.semilogx(sol.t, sol[f"{name}_accuracy"], style, label=name)
    bottom.loglog(sol.t, sol[f"{name}_loss"], style)
top.axhline(1 / p, color="gray", linewidth=0.8, linestyle=":", label="chance")
top.set_ylabel("accuracy")
top.set_title(f"$a + b$ modulo {p}, half of the table for training", fontsize="medium")
top.legend(loc="upper left")
bottom.set_ylabel("loss")
bottom.set_xlabel("$t$")
bottom.set_xlim(1e-1, t_end)
figure.savefig("modular_addition.png", dpi=150)
