"""Achieved errors against the tolerance asked for: grokflow beside SciPy's Radau, BDF, LSODA and CVODE.

python -m benchmarks.reliability              # about half an hour
python -m benchmarks.reliability --quick      # under two minutes
python -m benchmarks.reliability --solver "grokflow BDF" --json runs.json

Paths to t = 10 / lam that are smooth, nearly singular, or in units that make weights or rates 1e8 times
larger or smaller. The error is the largest of 80 times in units of rtol ||w|| + atol sqrt(d), with the atol
that grokflow takes by default; references are those of benchmarks.tolerance. Below the table every run of
grokflow beyond 10 units is named, with the factor by which the flow multiplies errors of its start.
"""

from __future__ import annotations

import argparse
import json
import warnings
from functools import cache
from typing import NamedTuple

import grokflow as gf
import numpy as np

from benchmarks import tolerance
from benchmarks.models import Point, Problem
from benchmarks.runners import METHODS, Settings, once

SMOOTH = ("linear", "diagonal", "completion", "gelu")
SINGULAR = ("diagonal 1e-3", "diagonal 1e-8", "hilbert", "twins")
FAR = 1e8  # other units over these
PEERS = ("SciPy Radau", "SciPy BDF", "SciPy LSODA", "CVODE dense")
TOLERANCES = (1e-3, 1e-4, 1e-6, 1e-8, 1e-10)
QUICK = (1e-3, 1e-6)
BOUND = tolerance.BOUND


class Case(NamedTuple):
    """A path of benchmarks.tolerance, with weights times `size` and rates times `rate`."""

    kind: str  # smooth, singular, scaled
    name: str
    lam: float
    size: float = 1.0
    rate: float = 1.0

    @property
    def path(self):
        return tolerance.Case(self.name, self.lam, 0)

    def __str__(self):
        units = "".join(
            f", {what} x {x:g}" for what, x in zip(("weights", "rates"), self[3:], strict=True) if x != 1
        )
        return f"{self.name}, lam = {self.lam:g}{units}"


def cases(quick):
    lams = tolerance.LAMBDAS[::2] if quick else tolerance.LAMBDAS
    plain = [
        Case(kind, name, lam)
        for kind, names in (("smooth", SMOOTH), ("singular", SINGULAR))
        for name in (names[1:3] if quick else names)
        for lam in lams
    ]
    units = [(FAR, 1.0), (1 / FAR, 1.0), (1.0, FAR), (1.0, 1 / FAR)]
    return plain + [
        Case("scaled", name, 1e-4, *unit)
        for name in (SMOOTH[1:2] if quick else SMOOTH[1::2])
        for unit in units
    ]


class Scaled(Problem):
    """The flow of a case, as the solvers of `benchmarks.solvers` take it; derivatives are grokflow's."""

    def __init__(self, case):
        self.plain, w0 = tolerance.problem(case.name)
        self.size, self.rate = case.size, case.rate
        n = self.plain.residual(w0).size
        super().__init__(str(case), n, case.size * w0, case.lam * case.rate, 10 / case.lam / case.rate)
        self.grid[1:] = tolerance.grid(case.lam) / case.rate

    def at(self, w):
        return ScaledPoint(self, w)

    def model(self):
        """The model itself, or in other units one of functions of one's own."""
        if self.size == self.rate == 1:
            return self.plain
        return gf.LeastSquares(
            residual=lambda w: self.size * self.plain.residual(w / self.size),
            jacobian=lambda w: self.plain.jacobian(w / self.size),
            hvp=lambda w, v: self.rate * self.plain.hvp(w / self.size, v),
            scale=self.rate / self.n,
            num_params=self.d,
            num_residuals=self.n,
        )


class ScaledPoint(Point):
    def gradient(self):
        return self.p.size * self.p.rate * self.p.plain.gradient(self.w / self.p.size)

    def hessian(self):
        return self.p.rate * self.p.plain.hessian(self.w / self.p.size)


def measure(solver, case, rtol, limit):
    """The record of one run."""
    problem = Scaled(case)
    atol = default_atol(problem, rtol)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = once(solver, problem, Settings(rtol, atol, limit))
    told = [str(w.message) for w in caught if w.category is gf.PrecisionWarning]
    exact = case.size * tolerance.reference(case.path)
    error = tolerance.units(run.w[1:], exact, rtol, atol) if run.status == "ok" else np.inf
    return {
        "solver": solver,
        "kind": case.kind,
        "case": str(case),
        "rtol": rtol,
        "status": run.status,
        "error": error,
        "gradients": run.nfev,
        "seconds": round(run.seconds, 4),
        "note": run.note or " ".join(told),
    }


def default_atol(problem, rtol):
    """What grokflow takes if it is not told."""
    lam = problem.weight_decay
    return float(
        gf.gradient_flow(problem.model(), problem.w0, (0, 0), weight_decay=lam, rtol=rtol).settings["atol"]
    )


@cache
def growth(case):
    """By how much the flow multiplies a relative error of its start, at most, in a random direction."""
    model, w0 = tolerance.problem(case.name)
    error = 1e-6 * w0 * np.random.default_rng(1).standard_normal(w0.size)
    grid = tolerance.grid(case.lam)
    path = gf.gradient_flow(
        model, w0 + error, (0, grid[-1]), weight_decay=case.lam, rtol=1e-10, method="Radau", t_eval=grid
    ).w
    exact = tolerance.reference(case.path)
    far = np.linalg.norm(path - exact, axis=1) / np.linalg.norm(exact, axis=1)
    return float(far.max() / (np.linalg.norm(error) / np.linalg.norm(w0)))


def share(records):
    return f"{sum(r['error'] <= BOUND for r in records)}/{len(records)}"


def row(solver, records):
    """How many runs are within 10 units, of all and of each kind; the median and the largest error."""
    kinds = [share([r for r in records if r["kind"] == kind]) for kind in ("smooth", "singular", "scaled")]
    errors = [r["error"] for r in records]
    ended = [e for e in errors if np.isfinite(e)]
    good = 100 * sum(e <= BOUND for e in errors) / len(errors)
    cells = "".join(f"{kind:>10}" for kind in kinds)
    return (
        f"{solver:<16}{good:>6.1f}%{cells}{np.median(errors):>9.2g}{max(ended, default=np.nan):>10.2g}"
        f"{len(errors) - len(ended):>8}"
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    solvers = (*METHODS, *PEERS)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--solver", action="append", choices=solvers)
    parser.add_argument("--limit", type=float, default=60.0, help="CPU seconds for one run")
    parser.add_argument("--json", help="write every run to this file")
    args = parser.parse_args()
    judged, tolerances = cases(args.quick), QUICK if args.quick else TOLERANCES
    print(f"{'solver':<16}{'within':>7}{'smooth':>10}{'singular':>10}{'scaled':>10}{'median':>9}{'largest':>10}"
          f"{'failed':>8}")  # fmt: skip
    records = []
    for solver in args.solver or solvers:
        lam, rtol = tolerance.least(METHODS.get(solver))
        runs = [
            (measure(solver, case, tol, args.limit), case)
            for tol in tolerances if tol >= rtol
            for case in judged if case.lam >= lam
        ]  # fmt: skip
        print(row(solver, [r for r, _ in runs]), flush=True)
        records += runs
    print()
    for record, case in records:
        if record["error"] > BOUND and record["solver"] in METHODS:
            reason = record["note"] or f"errors grow {growth(case):.2g}-fold"
            head = f"{record['solver']}, {record['case']}, rtol = {record['rtol']:g}"
            print(f"{head}: {record['error']:.3g}; {reason}")
    if args.json:
        with open(args.json, "w") as file:
            json.dump([record for record, _ in records], file, indent=1)


if __name__ == "__main__":
    main()
