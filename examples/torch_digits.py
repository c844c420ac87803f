"""A network of PyTorch on handwritten digits, trained with squares and with cross-entropy.

Squares have a minimiser at finite weights: the flow lands on it and drifts. Cross-entropy has none, and the
weights grow until weight decay holds them.

python examples/torch_digits.py [--small]
"""

import sys

import grokflow as gf
import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits

small = "--small" in sys.argv
n, width, weight_decay = (20, 5, 1e-2) if small else (200, 30, 1e-3)
images, digits = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(images))
train, test = order[:n], order[-500:]
images = images / 16.0

torch.manual_seed(0)
net = torch.nn.Sequential(
    torch.nn.Linear(64, width),
    torch.nn.Tanh(),
    torch.nn.Linear(width, width),
    torch.nn.Tanh(),
    torch.nn.Linear(width, 10),
)
figure, axes = plt.subplots(2, 2, figsize=(8, 4.5), sharex=True, layout="constrained")
for loss, targets, (top, bottom) in zip(
    ("mse", "cross_entropy"), (np.eye(10)[digits], digits), axes.T, strict=True
):
    problem = gf.from_torch(net, images[train], targets[train], loss=loss, test=(images[test], targets[test]))
    sol = gf.gradient_flow(
        problem,
        problem.initial_weights(),
        (0, 10 / weight_decay),
        weight_decay={"*": weight_decay, "*.bias": 0.0},
        rtol=1e-4,
    )
    print(f"{loss}: {sol}")
    for name, style in (("train", "C0-"), ("test", "C1-")):
        top.semilogx(sol.t, sol[f"{name}_accuracy"], style, label=name)
        bottom.loglog(sol.t, sol[f"{name}_loss"], style)
    top.set_title({"mse": "squares", "cross_entropy": "cross-entropy"}[loss])
    bottom.set_xlabel("$t$")
    bottom.set_xlim(1e-1, 10 / weight_decay)
axes[0, 0].set_ylabel("accuracy")
axes[1, 0].set_ylabel("loss")
axes[0, 0].legend()
figure.savefig("torch_digits.png", dpi=150)

problem.load_into(net, sol.final)  # the trained module
