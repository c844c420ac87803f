"""ReLU networks, integrated from mode to mode, and what general solvers make of them: see README.md.

python -m benchmarks.relu --quick
"""

from __future__ import annotations

import argparse
import json
import time

import grokflow as gf
import numpy as np

from benchmarks import descent, table
from benchmarks.flow import Run
from benchmarks.peers import environment
from benchmarks.reference import Reference, sharpness
from benchmarks.relu_network import Relu
from benchmarks.runners import Settings, once

#: name -> (sizes, weight decay, end of time)
CASES = {
    "figure": ({"n": 10, "inputs": 1, "width": 100}, 1e-3, 1e6),
    "inputs-3": ({"n": 30, "inputs": 3, "width": 30}, 1e-3, 1e4),
    "inputs-10": ({"n": 50, "inputs": 10, "width": 100}, 1e-3, 1e4),
    "inputs-10-wide": ({"n": 100, "inputs": 10, "width": 300}, 1e-4, 1e5),
}
SOLVERS = ("SciPy LSODA", "SciPy BDF", "SciPy Radau", "CVODE dense")
KINDS = ("cross", "stick", "release", "pin", "split")


def make(name):
    sizes, weight_decay, t_end = CASES[name]
    return Relu(name, **sizes, weight_decay=weight_decay, t_end=t_end)


def solve(problem, rtol, atol, limit):
    """Our trajectory on the grid, as a row of the table, and its changes of mode."""
    model = problem.model()
    start = time.process_time()
    sol = gf.gradient_flow(
        model,
        problem.w0,
        (0, problem.t_end),
        weight_decay=problem.weight_decay,
        rtol=rtol,
        atol=atol,
        t_eval=problem.grid,
        observe=(),
        save_states=True,
        max_time=limit,
    )
    seconds = time.process_time() - start
    status = {"time_limit": "limit"}.get(sol.status, "ok" if sol.success else "failed")
    work = {"K": sol.stats["ngram"], "chol": sol.stats["nfactor"], "rejected": sol.stats["nrejected"]}
    note = "" if sol.success else f"{sol.message} t = {sol.t_final:.3g}"
    run = Run("grokflow", status, seconds, sol.stats["nfev"], sol.stats["nsteps"], work, note=note, w=sol.w)
    return run, sol.mode_changes


def describe(changes, run):
    """What happened on the way, and what a change of mode costs."""
    counts = {kind: int(np.sum(changes["kind"] == kind)) for kind in KINDS}
    sliding = set()
    for _, neuron, sample, kind in changes:
        (sliding.add if kind in ("stick", "pin") else sliding.discard)((int(neuron), int(sample)))
    events = len(np.unique(changes["t"])) or 1
    found = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    cost = (
        f"{run.steps / events:.1f} steps and {1e3 * run.seconds / events:.2f} ms for each of {events} times"
    )
    return f"  {len(changes)} changes of mode ({found}), {len(sliding)} sliding at the end; {cost}"


def compare(name, settings, solvers):
    """All solvers on one problem."""
    problem = make(name)
    rtol, atol = settings.tolerances()
    ours = 30 * settings.limit
    tight, _ = solve(problem, 1e-2 * rtol, 1e-2 * atol, ours)
    if tight.status != "ok":
        raise SystemExit(f"{name}: no reference: {tight.note}")
    steepest = max(sharpness(problem, w) for w in tight.w[::8])
    known = Reference(tight.w, f"grokflow at rtol={1e-2 * rtol:g}", steepest)
    print(table.heading(problem, known), flush=True)
    best, changes = min(
        (solve(problem, rtol, atol, ours) for _ in range(settings.repeats)),
        key=lambda found: found[0].seconds,
    )
    runs = []
    for solver in ("grokflow", *solvers):
        if solver == "grokflow":
            run = best
        elif solver == descent.NAME:
            run = descent.descend(problem, known.sharpness, settings.limit / 3)
        else:
            run = once(solver, problem, settings)
        if run.w is not None:
            run.error = known.error(run.w)
        runs.append(run)
        print(table.row(run, runs[0]), flush=True)
    print(describe(changes, best), flush=True)
    return runs


def parse(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relu", description=__doc__)
    parser.add_argument("--problem", action="append", choices=CASES, help="one problem (may be repeated)")
    parser.add_argument("--solver", action="append", choices=(*SOLVERS, descent.NAME), help="one peer")
    parser.add_argument("--quick", action="store_true", help="the first two problems, peers at most 5 s")
    parser.add_argument("--rtol", type=float, default=1e-6)
    parser.add_argument("--atol", type=float, help="default: rtol / 1000")
    parser.add_argument("--limit", type=float, default=60.0, help="CPU seconds for one run of a peer")
    parser.add_argument("--repeats", type=int, default=3, help="runs of grokflow; the fastest counts")
    parser.add_argument("--json", metavar="FILE", help="write the runs to this file, too")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    limit = min(args.limit, 5.0) if args.quick else args.limit
    settings = Settings(args.rtol, args.atol, limit, args.repeats)
    names = args.problem or (list(CASES)[:2] if args.quick else CASES)
    solvers = args.solver or [*SOLVERS, descent.NAME]
    runs = [{"problem": n} | r.record() for n in names for r in compare(n, settings, solvers)]
    if args.json:
        with open(args.json, "w") as file:
            json.dump({"environment": environment(), "runs": runs}, file, indent=1)


if __name__ == "__main__":
    main()
