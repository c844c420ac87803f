"""grokflow against its peers: ``python -m benchmarks.peers --quick``, or see README.md beside this file."""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import sys
from importlib.metadata import version
from pathlib import Path

import grokflow as gf

from benchmarks import descent, scans, table
from benchmarks.network import Compiled, Network
from benchmarks.problems import CASES, NETWORKS, make
from benchmarks.reference import reference
from benchmarks.runners import AUTO, OURS, Settings, cheapest, measure
from benchmarks.solvers import PEERS

#: Peers that gain from compiled derivatives: SciPy's spend their time in Python, dense ones in LAPACK.
COMPILED = ("CVODE GMRES", "CVODE GMRES+GN", "CVODE GMRES+GN(K)")
QUICK = ("linear", "diagonal", "matrix-w10", "matrix-w40", "tanh-w50")


def compare(name, settings, solvers):
    """grokflow at the given tolerance, and each peer at the loosest with which it errs no more.

    Returns all runs, and those of the peers by whose derivatives they took: NumPy's, as a user writes them,
    or grokflow's, which are compiled. Deep networks have the latter alone.
    """
    problem = make(name)
    print(table.heading(problem, reference(problem)), flush=True)
    runs, peers = [], {"NumPy": [], "compiled": []}

    def note(run, kept):
        kept.append(run)
        print(table.row(run, runs[0]), flush=True)

    for solver in solvers:
        if solver not in PEERS:
            note(measure(solver, problem, settings), runs)
    ours = next((run for run in runs if run.solver == "grokflow BDF" and run.status == "ok"), None)
    if ours is None:
        return runs, peers
    written = {} if isinstance(problem, Network) else {"NumPy": problem}
    for kind, derivatives in (written | {"compiled": Compiled(problem)}).items():
        for solver in solvers:
            if solver in PEERS and (kind == "NumPy" or solver in COMPILED):
                run = cheapest(solver, derivatives, ours.error, settings)
                run.solver += " (C++)" if kind == "compiled" else ""
                note(run, peers[kind])
    return runs + peers["NumPy"] + peers["compiled"], peers


def environment():
    found = {"machine": machine(), "python": platform.python_version()}
    found |= {name: version(name) for name in ("numpy", "scipy", "scikit-sundae")}
    return found | {"grokflow": gf.__version__}


def machine():
    """Return the name of the processor, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next(
        (line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine()
    )


def record(module, argv, runs):
    """Return what goes into a file: where the runs come from, and the runs."""
    command = shlex.join(["python", "-m", module, *argv])
    return {"environment": environment(), "command": command, "runs": runs}


def parse(argv):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument(
        "--problem", action="append", choices=CASES | NETWORKS, help="one problem (may be repeated)"
    )
    parser.add_argument("--solver", action="append", choices=(AUTO, *OURS, *PEERS, descent.NAME))
    parser.add_argument("--quick", action="store_true", help="the small problems only, under two minutes")
    parser.add_argument("--rtol", type=float, default=1e-6)
    parser.add_argument("--atol", type=float, help="default: rtol / 1000")
    parser.add_argument("--limit", type=float, default=60.0, help="CPU seconds for one run")
    parser.add_argument("--repeats", type=int, default=5, help="runs of a solver that takes under 2 s")
    parser.add_argument("--json", metavar="FILE", help="write the runs to this file, too")
    parser.add_argument("--sweep-lam", metavar="1e-2..1e-6", help="one problem as the weight decay falls")
    parser.add_argument("--work-precision", metavar="PROBLEM", choices=CASES, help="rtol from 1e-3 to 1e-9")
    parser.add_argument("--plot", metavar="FILE", help="draw the work-precision diagram")
    args = parser.parse_args(argv)
    if args.plot and not args.work_precision:
        parser.error("--plot needs --work-precision PROBLEM")
    if args.sweep_lam and len(args.problem or ()) != 1:
        parser.error("--sweep-lam needs one --problem")
    return args


def main(argv=None):
    args = parse(argv)
    if args.quick:
        args.limit, args.repeats = min(args.limit, 6.0), min(args.repeats, 3)
    settings = Settings(args.rtol, args.atol, args.limit, args.repeats)
    solvers = args.solver or [*OURS, *PEERS]
    if args.work_precision:
        runs = scans.work_precision(args.work_precision, settings, solvers, args.plot)
    elif args.sweep_lam:
        runs = scans.sweep(args.problem[0], scans.decades(args.sweep_lam), settings, solvers)
    else:
        names = args.problem or (QUICK if args.quick else CASES | NETWORKS)
        results = {n: compare(n, settings, args.solver or [AUTO, *OURS, *PEERS, descent.NAME]) for n in names}
        print(table.summary(results))
        runs = [{"problem": n} | r.record() for n, (rows, _) in results.items() for r in rows]
    if args.json:
        with open(args.json, "w") as file:
            json.dump(record("benchmarks.peers", argv or sys.argv[1:], runs), file, indent=1)


if __name__ == "__main__":
    main()
