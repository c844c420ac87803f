"""Whether the error is what the tolerance asks for: the largest over the path, in units of rtol |w| + atol.

python -m benchmarks.tolerance                # all methods, lam = 1e-2..1e-8, rtol = 1e-3..1e-10
python -m benchmarks.tolerance --quick        # lam = 1e-2 and 1e-6, every other rtol
python -m benchmarks.tolerance --method BDF --problem tanh gelu --draws 10 --list

A row of the table is a method at one rtol: how many runs stay within 10 units, the median and the largest
error, the largest of those that no message tells, and the gradients of all runs. `--list` names every run
beyond 10 units. BDF, Radau and ROCK2 follow the flow to t = 10 / lam, ROCK2 where an explicit method of order
2 gets there in minutes; Tsit5 follows the drift from the flow's landing to s = 10. The references are Radau's
and Tsit5's at rtol 1e-13.
"""

from __future__ import annotations

import argparse
import warnings
from functools import cache
from typing import NamedTuple

import grokflow as gf
import numpy as np

LAMBDAS = (1e-2, 1e-4, 1e-6, 1e-8)
TOLERANCES = tuple(10.0**-k for k in range(3, 11))
METHODS = ("BDF", "Radau", "ROCK2", "Tsit5")
LEAST = {"ROCK2": (1e-6, 1e-8)}  # lam and rtol
TIMES = 80
BOUND = 10.0  # units of the tolerance
FINEST = 1e-13  # rtol of references


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


def hilbert(rng):
    """Linear regression with singular values from 1 to 1e-8."""
    turn = [np.linalg.qr(rng.standard_normal((n, 20)))[0] for n in (20, 60)]
    return gf.models.LinearRegression(
        turn[0] * np.logspace(0, -8, 20) @ turn[1].T, rng.standard_normal(20)
    ), None


def twins(rng):
    """Each sample twice, 1e-6 apart: half of the kernel's eigenvalues vanish."""
    X = np.tile(rng.standard_normal((6, 4)), (2, 1)) + 1e-6 * rng.standard_normal((12, 4))
    return gf.models.TwoLayerNetwork(X, np.tanh(X[:, 0] - X[:, 1]), width=10, activation="tanh"), None


PROBLEMS = {
    "linear": linear,
    "diagonal": diagonal(None),
    "diagonal 1e-3": diagonal(1e-3),
    "diagonal 1e-8": diagonal(1e-8),
    "completion": completion,
    "tanh": two_layer("tanh", 30, 6, 40),
    "gelu": two_layer("gelu", 20, 5, 14),
    "mlp": mlp,
    "hilbert": hilbert,
    "twins": twins,
}


NO_DRIFT = ("hilbert", "twins")  # the rank of their Hessian cannot be told


class Case(NamedTuple):
    """A path: the flow of a problem, or its drift."""

    name: str
    lam: float  # 0 for the drift
    seed: int


def cases(method, names, lams, seeds):
    """Those on which `method` is judged."""
    if method == "Tsit5":
        lams, names = (0.0,), (name for name in names if name not in NO_DRIFT)
    lams = [lam for lam in lams if lam >= least(method)[0]]
    return [Case(name, lam, seed) for name in names for lam in lams for seed in seeds]


def least(method):
    """The smallest lam and rtol asked of it."""
    return LEAST.get(method, (0.0, 0.0))


@cache
def problem(name, seed=0):
    """The model and its initial weights."""
    model, size = PROBLEMS[name](np.random.default_rng(seed))
    return model, model.initial_weights(seed=seed) if size is None else model.initial_weights(
        std=size, seed=seed
    )


@cache
def landing(name, seed):
    """Where the drift begins."""
    return gf.limit_map(*problem(name, seed), rtol=1e-9, save_states=False).w


def grid(lam):
    """Logarithmic to t = 10 / lam."""
    return np.logspace(-2, np.log10(10 / lam), TIMES)


def run(case, rtol, method):
    """The path at `TIMES` times."""
    model, w0 = problem(case.name, case.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gf.PrecisionWarning)
        if case.lam == 0:
            times = np.linspace(0, 10, TIMES)
            return gf.norm_flow(
                model, landing(case.name, case.seed), (0, 10), rtol=rtol, t_eval=times, observe=[]
            )
        times = grid(case.lam)
        return gf.gradient_flow(
            model, w0, (0, times[-1]), weight_decay=case.lam, rtol=rtol, method=method, t_eval=times
        )


@cache
def reference(case):
    """The weights at those times, shape (TIMES, d)."""
    return run(case, FINEST, "Radau").w


def units(w, exact, rtol, atol):
    """The largest error over the path, in units of the tolerance."""
    allowed = rtol * np.linalg.norm(exact, axis=1) + atol * np.sqrt(exact.shape[1])
    return float(np.max(np.linalg.norm(w - exact, axis=1) / allowed))


def error(sol, exact, rtol):
    """That of a solution, infinite if it has come to no end."""
    return units(sol.w, exact, rtol, sol.settings["atol"]) if sol.success else np.inf


def told(sol):
    """Whether a message says that the tolerance was not met."""
    return not sol.success or "ask for rtol" in sol.message


def path_of(case, sol):
    """What was followed; a drift with the smallest eigenvalue of the Hessian that it met."""
    if case.lam > 0:
        return f"{case.name}, lam = {case.lam:g}"
    return f"{case.name}, eigenvalues down to {np.min(sol.monitor['eta']):.1g}"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--list", action="store_true", help="name the runs beyond 10 units")
    parser.add_argument("--method", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--problem", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--draws", type=int, default=1, help="seeds of each problem")
    args = parser.parse_args()
    lams, tolerances = (LAMBDAS[::2], TOLERANCES[::2]) if args.quick else (LAMBDAS, TOLERANCES)
    print(
        f"{'method':<8}{'rtol':>8}{'within 10':>12}{'median':>9}{'largest':>9}{'untold':>9}{'gradients':>11}"
    )
    for method in args.method:
        judged = cases(method, args.problem, lams, range(args.draws))
        inside = total = 0
        for rtol in (rtol for rtol in tolerances if rtol >= least(method)[1]):
            runs = [run(case, rtol, method) for case in judged]
            errors = [error(sol, reference(case), rtol) for sol, case in zip(runs, judged, strict=True)]
            untold = [e for e, sol in zip(errors, runs, strict=True) if not told(sol)]
            good = sum(e <= BOUND for e in errors)
            inside, total = inside + good, total + len(runs)
            work = sum(sol.stats["nfev"] + sol.stats.get("nproject", 0) for sol in runs)
            print(
                f"{method:<8}{rtol:>8.0e}{f'{good} of {len(runs)}':>12}{np.median(errors):>9.2g}"
                f"{max(errors):>9.2g}{max(untold, default=np.nan):>9.2g}{work:>11}",
                flush=True,
            )
            for case, e, sol in zip(judged, errors, runs, strict=True):
                if args.list and e > BOUND:
                    print(
                        f"    {path_of(case, sol)}, seed {case.seed}: {e:.3g}{' (told)' if told(sol) else ''}"
                    )
        print(f"{method:<8}{'all':>8}{f'{inside} of {total}':>12}{100 * inside / total:>8.1f}%\n")


if __name__ == "__main__":
    main()
