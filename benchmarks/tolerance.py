"""Whether the error is what the tolerance asks for: the largest over the path, in units of rtol |w| + atol.

python -m benchmarks.tolerance                # BDF and Radau, lam = 1e-2..1e-8, rtol = 1e-3..1e-10
python -m benchmarks.tolerance --quick        # lam = 1e-2 and 1e-6, every other rtol
python -m benchmarks.tolerance --method BDF --problem tanh gelu --list

A row of the table is a method at one rtol: how many runs stay within 10 units, the median and the largest
error, and the gradients of all runs. `--list` names every run beyond 10 units. The references are Radau's at
rtol 1e-13.
"""

from __future__ import annotations

import argparse
import warnings
from functools import cache

import grokflow as gf
import numpy as np

LAMBDAS = (1e-2, 1e-4, 1e-6, 1e-8)
TOLERANCES = tuple(10.0**-k for k in range(3, 11))
METHODS = ("BDF", "Radau")
TIMES = 80
BOUND = 10.0  # units of the tolerance


def linear(rng):
    return gf.models.LinearRegression(rng.standard_normal((20, 60)), rng.standard_normal(20)), None


def diagonal(size):
    def make(rng):
        X = rng.standard_normal((20, 40))
        return gf.models.DiagonalLinearNetwork(X, X[:, 0] - X[:, 1]), size

    return make


def completion(rng):
    rows, cols = np.nonzero(rng.random((12, 12)) < 0.5)
    target = np.outer(rng.standard_normal(12), rng.standard_normal(12))
    return gf.models.MatrixCompletion(rows, cols, target[rows, cols], shape=(12, 12), width=6), None


def two_layer(activation, n, inputs, width):
    def make(rng):
        X = rng.standard_normal((n, inputs))
        y = np.tanh(X[:, 0] - X[:, 1])
        return gf.models.TwoLayerNetwork(X, y, width=width, activation=activation), None

    return make


def mlp(rng):
    X = rng.standard_normal((20, 5))
    return gf.models.MLP(X, np.sin(X[:, 0]), widths=(16, 16), activation="tanh"), None


PROBLEMS = {
    "linear": linear,
    "diagonal": diagonal(None),
    "diagonal 1e-3": diagonal(1e-3),
    "diagonal 1e-8": diagonal(1e-8),
    "completion": completion,
    "tanh": two_layer("tanh", 30, 6, 40),
    "gelu": two_layer("gelu", 20, 5, 14),
    "mlp": mlp,
}


@cache
def problem(name, seed=0):
    """The model and its initial weights."""
    model, size = PROBLEMS[name](np.random.default_rng(seed))
    return model, model.initial_weights(seed=seed) if size is None else model.initial_weights(
        std=size, seed=seed
    )


def run(name, lam, rtol, method, seed=0):
    """A flow to t = 10 / lam at `TIMES` times."""
    model, w0 = problem(name, seed)
    grid = np.logspace(-2, np.log10(10 / lam), TIMES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gf.PrecisionWarning)
        return gf.gradient_flow(
            model, w0, (0, grid[-1]), weight_decay=lam, rtol=rtol, method=method, t_eval=grid
        )


@cache
def reference(name, lam, seed=0):
    """The weights at those times, shape (TIMES, d)."""
    return run(name, lam, 1e-13, "Radau", seed).w


def error(sol, exact, rtol):
    """The largest error over the path, in units of the tolerance."""
    size = np.linalg.norm(exact, axis=1)
    allowed = rtol * size + sol.settings["atol"] * np.sqrt(exact.shape[1])
    return float(np.max(np.linalg.norm(sol.w - exact, axis=1) / allowed)) if sol.success else np.inf


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true", help="name the runs beyond 10 units")
    parser.add_argument("--method", nargs="+", default=METHODS)
    parser.add_argument("--problem", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--draws", type=int, default=1, help="seeds of each problem")
    args = parser.parse_args()
    lams, tolerances = (LAMBDAS[::2], TOLERANCES[::2]) if args.quick else (LAMBDAS, TOLERANCES)
    cases = [(name, lam, seed) for name in args.problem for lam in lams for seed in range(args.draws)]
    print(f"{'method':<8}{'rtol':>8}{'within 10':>12}{'median':>9}{'largest':>9}{'gradients':>11}")
    for method in args.method:
        inside = total = 0
        for rtol in tolerances:
            runs = [run(name, lam, rtol, method, seed) for name, lam, seed in cases]
            errors = [error(sol, reference(*case), rtol) for sol, case in zip(runs, cases, strict=True)]
            good = sum(e <= BOUND for e in errors)
            inside, total = inside + good, total + len(runs)
            work = sum(sol.stats["nfev"] for sol in runs)
            print(
                f"{method:<8}{rtol:>8.0e}{f'{good} of {len(runs)}':>12}{np.median(errors):>9.2g}"
                f"{max(errors):>9.2g}{work:>11}",
                flush=True,
            )
            for case, e in zip(cases, errors, strict=True):
                if args.list and e > BOUND:
                    print(f"    {case[0]}, lam = {case[1]:g}, seed {case[2]}: {e:.3g}")
        print(f"{method:<8}{'all':>8}{f'{inside} of {total}':>12}{100 * inside / total:>8.1f}%\n")


if __name__ == "__main__":
    main()
