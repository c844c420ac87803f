"""Modules of PyTorch as problems: against the same network in C++, and against the loop that a user writes.

python -m benchmarks.own_models [--quick]

On one thread, in CPU seconds, on handwritten digits by tanh networks with ten outputs. Costs are in gradients
of the module itself. The loop is full-batch gradient descent with weight decay in single precision, as
`torch.optim.SGD` does it, with the largest step that is stable at the points of the flow, extrapolated.
"""

from __future__ import annotations

import sys
import time
from statistics import median

import grokflow as gf
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

OUTPUTS = 10


def digits(n):
    """Images (n, 64) and classes, in an order of their own."""
    images, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))[:n]
    return images[order] / 16.0, classes[order]


def network(*widths):
    torch.manual_seed(0)
    layers, size = [], 64
    for width in widths:
        layers += [nn.Linear(size, width), nn.Tanh()]
        size = width
    return nn.Sequential(*layers, nn.Linear(size, OUTPUTS))


def seconds(function, repeats=7):
    """The median CPU time of a call."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return median(times)


def flow(problem, w0, weight_decay, t_end, limit, **options):
    start = time.process_time()
    sol = gf.gradient_flow(
        problem, w0, (0, t_end), weight_decay=weight_decay, rtol=1e-4, max_time=limit, **options
    )
    return sol, time.process_time() - start


def sharpness(problem, sol, steps=30):
    """The largest eigenvalue of the Hessian at the recorded points, by the power method."""
    largest = 0.0
    for w in sol.w[:: max(1, len(sol.w) // 10)]:
        v = np.random.default_rng(0).standard_normal(problem.num_params)
        for _ in range(steps):
            v = problem.hvp(w, v / np.linalg.norm(v))
        largest = max(largest, float(np.linalg.norm(v)))
    return largest


def loop(net, X, y, loss, weight_decay, step, steps):
    """CPU seconds of a step of gradient descent."""
    X = torch.tensor(X, dtype=torch.float32)
    y = torch.tensor(y, dtype=torch.float32 if loss == "mse" else torch.int64)
    optimizer = torch.optim.SGD(net.parameters(), lr=step, weight_decay=weight_decay)
    criterion = (lambda f: 0.5 * nn.functional.mse_loss(f, y)) if loss == "mse" else nn.CrossEntropyLoss()
    compare = criterion if loss == "mse" else (lambda f: criterion(f, y))

    def train():
        for _ in range(steps):
            optimizer.zero_grad()
            compare(net(X)).backward()
            optimizer.step()

    return seconds(train, 3) / steps


def against_the_library(n, widths, weight_decay, limit):
    X, classes = digits(n)
    Y = np.eye(OUTPUTS)[classes]
    problem = gf.from_torch(network(*widths), X, Y)
    twin = gf.models.MLP(X, Y, widths, activation="tanh")
    w0 = problem.initial_weights()
    g, ours = seconds(lambda: problem.gradient(w0)), seconds(lambda: twin.gradient(w0))
    lin = problem._core.linearize(w0)
    K = seconds(lin.gram, 3)
    print(f"torch MLP, d = {problem.num_params}, n = {n}, k = {OUTPUTS}: gradient {g * 1e3:.2f} ms", end=", ")
    print(f"in C++ {ours * 1e3:.2f} ms; K {K / g:.0f} gradients (target 30)")
    t_end = 10 / weight_decay
    (a, by_torch), (b, by_library) = (flow(p, w0, weight_decay, t_end, limit) for p in (problem, twin))
    print(f"  flow to {a.t_final:g}: {by_torch:.1f} s, in C++ to {b.t_final:g}: {by_library:.1f} s", end="; ")
    print(f"{by_torch / by_library:.2f} times (target 2)")
    for sol in (a, b):
        print(f"  {sol.settings['curvature']}: { {k: v for k, v in sol.stats.items() if v} }")


def against_the_loop(n, widths, loss, weight_decay, limit):
    X, classes = digits(n)
    y = np.eye(OUTPUTS)[classes] if loss == "mse" else classes
    problem = gf.from_torch(network(*widths), X, y, loss=loss)
    w0 = problem.initial_weights()
    g = seconds(lambda: problem.gradient(w0), 15)
    sol, cost = flow(problem, w0, weight_decay, 10 / weight_decay, limit)
    step = 2.0 / (sharpness(problem, sol) + weight_decay)
    each = loop(network(*widths), X, y, loss, weight_decay, step, 100)
    total = each * 10 / weight_decay / step
    done = "" if sol.success else f" (stopped at t = {sol.t_final:.3g})"
    print(f"{loss}, d = {problem.num_params}, n = {n}, lam = {weight_decay:g}: {cost:.1f} s{done}", end=", ")
    print(
        f"{sol.stats['nsteps']} steps of {cost / sol.stats['nsteps'] / g:.1f} gradients (target 10)", end="; "
    )
    print(f"loop {each * 1e3:.2f} ms a step of {step:.2g}, {total:.0f} s: {total / cost:.0f} times as long")


def main(quick):
    torch.set_num_threads(1)
    gf.set_num_threads(1)
    limit = 60.0
    if quick:
        against_the_library(40, (30, 30), 1e-2, limit)
    else:
        against_the_library(200, (200, 200, 200), 1e-2, limit)
    for loss in ("mse", "cross_entropy"):
        for weight_decay in (1e-3, 1e-4):
            against_the_loop(50, (16, 16), loss, weight_decay, limit)


if __name__ == "__main__":
    main("--quick" in sys.argv)
