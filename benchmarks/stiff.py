"""The stiff test sets: grokflow's BDF and Radau against SciPy's, all through scipy.integrate.solve_ivp.

python -m benchmarks.stiff                    # every problem, rtol = 1e-3..1e-10
python -m benchmarks.stiff --problem hires orego --method BDF

Errors are max |y - reference| / (floor + |reference|) over all components and reference times. Work at equal
error is read off the curves of both, on straight lines in log-log axes, at the errors that both attain; the
table gives SciPy's over grokflow's, the geometric mean over these errors. Then come the worst number of
correct digits less -log10(rtol), of grokflow, and how many runs stay within 10 rtol, grokflow's and SciPy's.
Right-hand sides and Jacobians are NumPy functions, as a user writes them, and take their part of the time.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

import grokflow as gf
import numpy as np
import scipy.integrate

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "python"))
import stiff_problems

RTOLS = 10.0 ** -np.arange(3.0, 11.0)
ERRORS = 10.0 ** -np.arange(2.0, 11.0, 0.5)
METHODS = ("BDF", "Radau")
REPEATS = 3
SPANS = {"e5": 1e5, "vdpol": 2.0}  # up to where double precision still has all digits


def solve(problem, method, rtol):
    """Return the error, the evaluations and the CPU seconds of a run."""
    start = time.process_time()
    sol = scipy.integrate.solve_ivp(
        lambda t, y: problem.f(y),
        (0.0, problem.t[-1]),
        problem.y0,
        method=method,
        t_eval=problem.t,
        jac=lambda t, y: problem.jacobian(y),
        rtol=rtol,
        atol=rtol * problem.floor,
    )
    seconds = time.process_time() - start
    return np.inf if not sol.success else problem.error(sol.y.T, 1.0), sol.nfev, seconds


def compare(problem, methods, rtol):
    """Return `solve` of each method, taken in turn, with the least seconds."""
    rounds = [[solve(problem, method, rtol) for method in methods] for _ in range(REPEATS)]
    return [min(runs, key=lambda run: run[2]) for runs in zip(*rounds, strict=True)]


def at_errors(runs):
    """Return evaluations and seconds at `ERRORS`, nan beyond those that the runs attain."""
    error, nfev, seconds = np.array([run for run in runs if np.isfinite(run[0])]).T
    best = np.minimum.accumulate(error)
    keep = np.concatenate([[True], best[1:] < best[:-1]])
    x = -np.log(error[keep])
    return [
        np.exp(np.interp(-np.log(ERRORS), x, np.log(work[keep]), left=np.nan, right=np.nan))
        for work in (nfev, seconds)
    ]


def within(runs):
    """Return how many of the runs at `RTOLS` are within 10 rtol."""
    return sum(error <= 10 * rtol for (error, *_), rtol in zip(runs, RTOLS, strict=True))


def mean(ratios):
    """The geometric mean of those that are known."""
    known = ratios[np.isfinite(ratios)]
    return float(np.exp(np.mean(np.log(known)))) if known.size else np.nan


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--problem", nargs="+", default=list(stiff_problems.ALL), choices=list(stiff_problems.ALL)
    )
    parser.add_argument("--method", nargs="+", default=METHODS, choices=METHODS)
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # of overflow in rejected steps
    head = ("evaluations x", "time x", "digits - asked", "within", "SciPy")
    print(f"{'problem':<9}{'method':<8}" + "".join(f"{cell:>15}" for cell in head))
    ratios, inside = [], {method: np.zeros(2, int) for method in args.method}
    for name in args.problem:
        problem = stiff_problems.ALL[name]().up_to(SPANS.get(name, np.inf))
        for method in args.method:
            both = [compare(problem, (getattr(gf.scipy, method), method), rtol) for rtol in RTOLS]
            ours, theirs = zip(*both, strict=True)
            (nfev, seconds), (peer_nfev, peer_seconds) = at_errors(ours), at_errors(theirs)
            digits = min(-np.log10(run[0]) + np.log10(rtol) for run, rtol in zip(ours, RTOLS, strict=True))
            ratios.append((mean(peer_nfev / nfev), mean(peer_seconds / seconds)))
            good = [within(runs) for runs in (ours, theirs)]
            inside[method] += good
            cells = (*(f"{ratio:.2f}" for ratio in ratios[-1]), f"{digits:.2f}", *good)
            print(f"{name:<9}{method:<8}" + "".join(f"{cell:>15}" for cell in cells), flush=True)
    fewer, faster = np.array(ratios).T
    print(f"{'geometric mean':<17}{mean(fewer):>15.2f}{mean(faster):>15.2f}")
    for method, (ours, theirs) in inside.items():
        total = RTOLS.size * len(args.problem)
        print(f"{method}: {ours} of {total} within 10 rtol, SciPy's {theirs}")


if __name__ == "__main__":
    main()
