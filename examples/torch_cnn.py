"""A convolutional network of PyTorch on handwritten digits, trained with smoothed labels.

With smoothed labels cross-entropy has a minimiser at finite weights, so that there is a limit of small weight
decay: where the flow without it lands, and from there the drift.

python examples/torch_cnn.py [--small]
"""

import sys

import grokflow as gf
import numpy as np
import torch
from sklearn.datasets import load_digits

small = "--small" in sys.argv
n, channels, weight_decay = (10, 2, 1e-2) if small else (100, 8, 1e-3)
images, digits = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(images))
train, test = order[:n], order[-500:]
images = images / 16.0

torch.manual_seed(0)
net = torch.nn.Sequential(
    torch.nn.Unflatten(1, (1, 8, 8)),
    torch.nn.Conv2d(1, channels, 3, padding=1),
    torch.nn.Tanh(),
    torch.nn.AvgPool2d(2),
    torch.nn.Conv2d(channels, 2 * channels, 3, padding=1),
    torch.nn.GELU(),
    torch.nn.Flatten(),
    torch.nn.Linear(32 * channels, 10),
)
problem = gf.from_torch(
    net,
    images[train],
    digits[train],
    loss="cross_entropy",
    label_smoothing=0.1,
    test=(images[test], digits[test]),
)
sol = gf.gradient_flow(
    problem,
    problem.initial_weights(),
    (0, 10 / weight_decay),
    weight_decay={"*": weight_decay, "*.bias": 0.0},
    rtol=1e-4,
)
print(sol)
sol.plot().savefig("torch_cnn.png", dpi=150)
