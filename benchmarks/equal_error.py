"""grokflow and CVODE on deep networks, each at the loosest tolerance with which it reaches the same error.

python -m benchmarks.equal_error              # d from 1e3 to 1e6 at n = 200; n = 500 and 1000 at d = 2e4, 1e5
python -m benchmarks.equal_error --quick
python -m benchmarks.equal_error --case 20000,200 --rtol 1e-5 1e-7 --limit 200

See benchmarks/README.md for the columns.
"""

from __future__ import annotations

import argparse

from benchmarks.network import Network
from benchmarks.reference import reference
from benchmarks.runners import Settings, at, cheapest

LAM, T_END = 1e-4, 1e5
OURS = "grokflow BDF"
PEERS = ("CVODE GMRES", "CVODE GMRES+GN", "CVODE GMRES+GN(K)")
CASES = [(10**3, 200), (10**4, 200), (2 * 10**4, 200), (10**5, 200), (10**6, 200)]
CASES += [(2 * 10**4, 500), (10**5, 500), (2 * 10**4, 1000), (10**5, 1000)]
QUICK = CASES[:3]
HEAD = "    n        d  solver                 rtol     error    CPU s  gradients  steps  time x  other work"


def line(problem, run, ours):
    head = f"{problem.n:>5}{problem.d:>9}  {run.solver:<18}"
    if run.status != "ok":
        return f"{head}{run.status:>9}  {run.note}"
    work = " ".join(f"{name}:{count}" for name, count in run.work.items())
    return (
        f"{head}{run.note.removeprefix('rtol='):>9}{run.error:>10.1e}{run.seconds:>9.3g}{run.nfev:>11}{run.steps:>7}"
        f"{run.seconds / ours.seconds:>8.1f}  {work}"
    )


def compare(d, n, rtol, limit):
    """grokflow at `rtol`, and each peer where its error is no larger; prints a line for each."""
    problem = Network(f"network-{d}-{n}", n, d, LAM, T_END)
    reference(problem)
    ours = at(OURS, problem, Settings(rtol, None, limit, 3))
    print(line(problem, ours, ours), flush=True)
    runs = [ours]
    for name in PEERS:
        runs.append(cheapest(name, problem, ours.error, Settings(rtol, None, limit, 3)))
        print(line(problem, runs[-1], ours), flush=True)
    return problem, runs


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="n = 200, d up to 2e4")
    parser.add_argument("--case", action="append", metavar="D,N", help="one network (may be repeated)")
    parser.add_argument("--rtol", type=float, nargs="+", default=[1e-5], help="of grokflow")
    parser.add_argument("--limit", type=float, default=300.0, help="CPU seconds for one run")
    options = parser.parse_args()
    cases = [tuple(map(int, case.split(","))) for case in options.case or ()]
    print(HEAD)
    for d, n in cases or (QUICK if options.quick else CASES):
        for rtol in options.rtol:
            compare(d, n, rtol, options.limit)


if __name__ == "__main__":
    main()
