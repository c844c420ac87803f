"""Modular addition, the task on which grokking was found: the network adds long after it has memorised.

A two-layer network with the quadratic activation and the squared loss (Gromov, arXiv:2301.02679). It has one
residual for each entry of a table of p outputs, too many for a kernel; ROCK2 needs nothing but gradients.

python examples/modular_addition.py [p] [--small]
"""

import sys

import grokflow as gf
import matplotlib.pyplot as plt
import numpy as np

small = "--small" in sys.argv
numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
p = numbers[0] if numbers else 5 if small else 23
if small:
    width, fraction, weight_decay, t_end = 10, 0.5, 3e-4, 1e2
elif p < 50:
    width, fraction, weight_decay, t_end = 100, 0.5, 3e-4, 1e5
else:
    width, fraction, weight_decay, t_end = 256, 0.4, 3e-5, 1e5
(X, Y), (X_test, Y_test) = gf.modular_addition(p, fraction=fraction)
problem = gf.models.MLP(
    X, Y, widths=(width,), activation="quadratic", bias=False, scale=1 / len(X), test=(X_test, Y_test)
)
std = 0.3 * (100 * 23 / (width * p)) ** (1 / 6)  # the outputs, cubic in w, then begin equally large for all p
w0 = std * np.random.default_rng(0).standard_normal(problem.num_params)


def accuracy(X, Y):
    """Return an observable: the share of the samples whose largest output is the right one."""
    return lambda t, w: np.mean(problem.predict(w, X).argmax(axis=1) == Y.argmax(axis=1))


observe = {
    "train_loss": "train_loss",
    "test_loss": "test_loss",
    "norm": "norm",
    "train_accuracy": accuracy(X, Y),
    "test_accuracy": accuracy(X_test, Y_test),
}
sol = gf.gradient_flow(
    problem,
    w0,
    (0, t_end),
    weight_decay=weight_decay,
    method="ROCK2",
    rtol=1e-3,
    atol=1e-6,
    observe=observe,
)
print(sol)

figure, (top, bottom) = plt.subplots(2, figsize=(5.5, 4.5), sharex=True, layout="constrained")
for name, style in (("train", "C0-"), ("test", "C1-")):
    top.semilogx(sol.t, sol[f"{name}_accuracy"], style, label=name)
    bottom.loglog(sol.t, sol[f"{name}_loss"], style)
top.axhline(1 / p, color="gray", linewidth=0.8, linestyle=":", label="chance")
top.set_ylabel("accuracy")
top.set_title(f"$a + b$ modulo {p}, {fraction:.0%} of the table for training", fontsize="medium")
top.legend(loc="upper left")
bottom.set_ylabel("loss")
bottom.set_xlabel("$t$")
bottom.set_xlim(1e-1, t_end)
figure.savefig("modular_addition.png", dpi=150)
