"""Modules of PyTorch as problems: against the same network in C++, and against the loop that a user writes.

python -m benchmarks.own_models [--quick | --large] [--json FILE]

On one thread, in CPU seconds, on handwritten digits by tanh networks with ten outputs. These are chains that
the library has itself: `from_torch` hands them to it, unless a kernel by hooks is asked for, which stands for
modules that it has not. Costs are in gradients of the problem. The loop is full-batch gradient descent with
weight decay in single precision, as `torch.optim.SGD` does it, with the largest step that is stable at the
points of the flow, extrapolated. Its error is seen on the first thousand steps, in double precision, and
falls as the step: so the time at equal error is extrapolated too.

`--large` adds the library's own network with 10 000 residuals, where no kernel is worth its price.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from statistics import median

import grokflow as gf
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from benchmarks.peers import record

OUTPUTS = 10
RTOL = 1e-4


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
        problem, w0, (0, t_end), weight_decay=weight_decay, rtol=RTOL, max_time=limit, **options
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


class Loop:
    """Gradient descent as a user writes it."""

    def __init__(self, net, X, y, loss, weight_decay, step):
        dtype = next(net.parameters()).dtype
        X, y = torch.tensor(X, dtype=dtype), torch.tensor(y, dtype=dtype if loss == "mse" else torch.int64)
        optimizer = torch.optim.SGD(net.parameters(), lr=step, weight_decay=weight_decay)
        squares, entropy = nn.MSELoss(), nn.CrossEntropyLoss()
        criterion = (lambda f, y: 0.5 * squares(f, y)) if loss == "mse" else entropy

        def train(steps):
            for _ in range(steps):
                optimizer.zero_grad()
                criterion(net(X), y).backward()
                optimizer.step()

        self.net, self.train = net, train

    def weights(self):
        return np.concatenate([p.detach().numpy().ravel() for p in self.net.parameters()])


def errors(problem, make_loop, weight_decay, step, rtol):
    """How far the loop and the flow are from the path, relative to the weights: at 1 to 1000 steps."""
    counts = np.unique(np.geomspace(1, 1000, 25).astype(int))
    options = {"weight_decay": weight_decay, "t_eval": step * counts, "observe": []}
    w0, span = problem.initial_weights(), (0.0, step * counts[-1])
    path, flow = (gf.gradient_flow(problem, w0, span, rtol=r, **options).w for r in (1e-8, rtol))
    run, states, done = make_loop(), [], 0
    for count in counts:
        run.train(count - done)
        done = count
        states.append(run.weights())
    return [float(np.max(np.abs(w - path)) / np.max(np.abs(path))) for w in (np.array(states), flow)]


def against_the_library(n, widths, weight_decay, limit):
    X, classes = digits(n)
    Y = np.eye(OUTPUTS)[classes]
    problem = gf.from_torch(network(*widths), X, Y, kernel="hooks")
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
        print(f"  {sol.settings['curvature']}: {counts(sol)}")
    return {
        "kind": "library", "d": problem.num_params, "n": n, "weight_decay": weight_decay, "t": a.t_final,
        "gradient": g, "library_gradient": ours, "kernel": K, "seconds": by_torch,
        "library_seconds": by_library, "counts": counts(a),
    }  # fmt: skip


def against_the_loop(n, widths, loss, weight_decay, kernel, limit):
    X, classes = digits(n)
    y = np.eye(OUTPUTS)[classes] if loss == "mse" else classes
    problem = gf.from_torch(network(*widths), X, y, loss=loss, kernel=kernel)
    w0 = problem.initial_weights()
    g = seconds(lambda: problem.gradient(w0), 15)
    sol, cost = flow(problem, w0, weight_decay, 10 / weight_decay, limit)
    steps = sol.stats["nsteps"]
    step = 2.0 / (sharpness(problem, sol) + weight_decay)
    single = Loop(network(*widths), X, y, loss, weight_decay, step)
    each = seconds(lambda: single.train(100), 3) / 100
    total = each * 10 / weight_decay / step
    by_loop, by_flow = errors(
        problem,
        lambda: Loop(network(*widths).double(), X, y, loss, weight_decay, step),
        weight_decay,
        step,
        RTOL,
    )
    done = "" if sol.success else f" (stopped at t = {sol.t_final:.3g})"
    print(f"{loss}, d = {problem.num_params}, n = {n}, lam = {weight_decay:g}, {problem.kernel}", end=": ")
    print(f"{cost:.2f} s{done}", end=", ")
    print(f"{steps} steps of {cost / steps / g:.1f} gradients (target 10; two make {2 * steps * g:.2f} s)")
    print(f"  loop: {each * 1e3:.2f} ms a step of {step:.2g}, {total:.1f} s", end=": ")
    print(f"{total / cost:.1f} times as long, with an error of {by_loop:.1e} against {by_flow:.1e}", end="; ")
    print(f"at that of the flow {total * by_loop / by_flow / cost:.0f} times as long")
    print(f"  {sol.settings['curvature']}: {counts(sol)}")
    return {
        "kind": "loop", "loss": loss, "kernel": problem.kernel,
        "d": problem.num_params, "n": n, "weight_decay": weight_decay,
        "t": sol.t_final, "gradient": g, "seconds": cost, "error": by_flow,
        "gradients_per_step": cost / steps / g, "loop_step": step, "loop_seconds": total,
        "loop_error": by_loop, "counts": counts(sol),
    }  # fmt: skip


def large(weight_decay, limit):
    X, classes = digits(1000)
    problem = gf.models.MLP(X, np.eye(OUTPUTS)[classes], (200, 200, 200), activation="tanh")
    w0 = problem.initial_weights()
    g = seconds(lambda: problem.gradient(w0), 15)
    sol, cost = flow(problem, w0, weight_decay, 10 / weight_decay, limit)
    print(f"MLP, d = {problem.num_params}, n = 1000, lam = {weight_decay:g}: to {sol.t_final:g} in", end=" ")
    print(f"{cost:.1f} s, {cost / g:.0f} gradients of {g * 1e3:.1f} ms")
    print(f"  {sol.settings['curvature']}: {counts(sol)}")
    return {
        "kind": "large", "d": problem.num_params, "n": 1000, "weight_decay": weight_decay, "t": sol.t_final,
        "gradient": g, "seconds": cost, "counts": counts(sol),
    }  # fmt: skip


def counts(sol):
    """What a run has evaluated, and in which numbers."""
    return {name: value for name, value in sol.stats.items() if value}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small network against the library")
    parser.add_argument("--large", action="store_true", help="also a network with 10 000 residuals (minutes)")
    parser.add_argument("--json", metavar="FILE", help="write the runs to this file, too")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    gf.set_num_threads(1)
    limit = 60.0
    n, widths = (40, (30, 30)) if options.quick else (200, (200, 200, 200))
    runs = [against_the_library(n, widths, 1e-2, limit)]
    for loss in ("mse", "cross_entropy"):
        for weight_decay in (1e-3, 1e-4):
            for kernel in ("auto", "hooks"):
                runs.append(against_the_loop(50, (16, 16), loss, weight_decay, kernel, limit))
    if options.large:
        runs += [large(weight_decay, 20.0 * limit) for weight_decay in (1e-2, 1e-4)]
    if options.json:
        written = record("benchmarks.own_models", argv or sys.argv[1:], runs)
        written["environment"]["torch"] = torch.__version__
        with open(options.json, "w") as file:
            json.dump(written, file, indent=1)


if __name__ == "__main__":
    main()
