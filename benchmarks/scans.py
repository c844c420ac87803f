"""How work grows as the weight decay falls, and work against precision."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks import diagrams, table
from benchmarks.problems import make
from benchmarks.reference import reference
from benchmarks.runners import measure


def decades(text):
    """``"1e-2..1e-6"``: both ends and the powers of ten between them."""
    first, last = (float(end) for end in text.split(".."))
    return np.geomspace(first, last, round(abs(np.log10(last / first))) + 1)


def sweep(name, weight_decays, settings, solvers):
    """The same problem with smaller and smaller weight decay, lam * T fixed."""
    rows = []
    for lam in weight_decays:
        problem = make(name, float(f"{lam:.6g}"))
        print(table.heading(problem, reference(problem)), flush=True)
        first = None
        for solver in solvers:
            run = measure(solver, problem, settings)
            first = first or run
            print(table.row(run, first), flush=True)
            rows.append({"problem": name, "weight_decay": problem.weight_decay} | run.record())
    print(f"\nFrom lam={weight_decays[0]:g} to {weight_decays[-1]:g}, by the factor")
    print(f"  {'solver':<18}{'CPU s':>9}{'gradients':>11}{'hvp':>9}{'steps':>9}")
    for solver in solvers:
        mine = [row for row in rows if row["solver"] == solver]
        print(f"  {solver:<18}" + growth(mine[0], mine[-1]))
    return rows


def growth(first, last):
    if first["status"] != "ok" or last["status"] != "ok":
        return f"{last['status']:>9}"
    ratios = [last[key] / first[key] for key in ("seconds", "nfev", "steps")]
    hvp = [row["work"].get("hvp", 0) for row in (first, last)]
    products = f"{hvp[1] / hvp[0]:>9.1f}" if hvp[0] else f"{'-':>9}"
    return f"{ratios[0]:>9.1f}{ratios[1]:>11.1f}{products}{ratios[2]:>9.1f}"


def work_precision(name, settings, solvers, plot=None):
    """Error against evaluations and seconds, from rtol = 1e-3 to 1e-9."""
    problem = make(name)
    rows = []
    for rtol in 10.0 ** -np.arange(3, 10):
        print(f"\nrtol={rtol:g}", table.heading(problem, reference(problem)), flush=True)
        first = None
        for solver in solvers:
            run = measure(solver, problem, replace(settings, rtol=float(rtol), atol=None))
            first = first or run
            print(table.row(run, first), flush=True)
            rows.append({"problem": name, "rtol": float(rtol)} | run.record())
    if plot:
        diagrams.work_precision(rows).savefig(plot, dpi=150)
    return rows
