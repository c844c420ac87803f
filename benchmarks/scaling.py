"""How time and memory grow with the number of parameters d and of samples n, on multi-layer perceptrons.

python -m benchmarks.scaling [--quick] [--only d n tangent residuals large threads] [--threads N]
                             [--limit SECONDS] [--plot PNG] [--json FILE]

Every run has a process of its own, which tells its peak memory. See benchmarks/README.md for the columns.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time

import grokflow as gf
import numpy as np

from benchmarks import diagrams
from benchmarks.flow import Flow, LimitReached
from benchmarks.network import INPUTS, Network, network, wide
from benchmarks.peers import record
from benchmarks.solvers import PEERS

SAMPLES, LAM, RTOL = 200, 1e-4, 1e-5
NAMES = {
    "gram": "BDF gram",
    "krylov": "BDF krylov",
    "cvode": "CVODE GMRES",
    "two_phase": "two_phase",
    "auto": "BDF auto",
}
COLUMNS = ("n", "d", "wall s", "CPU s", "gradients", "steps", "step/grad", "GB", "vectors")
WIDTHS = (6, 10, 9, 9, 11, 7, 11, 7, 9)
HEAD = f"{'run':<24}" + "".join(f"{name:>{width}}" for name, width in zip(COLUMNS, WIDTHS, strict=True))


def gradient_seconds(problem, w):
    """CPU seconds of one gradient, the median of several."""
    problem.gradient(w)
    times = []
    while len(times) < 3 or (sum(times) < 0.5 and len(times) < 50):
        began = time.process_time()
        problem.gradient(w)
        times.append(time.process_time() - began)
    return float(np.median(times))


def largest_eigenvalue(problem, w, iterations=30):
    """Of the Hessian, by the power method."""
    v = np.random.default_rng(0).standard_normal(w.size)
    for _ in range(iterations):
        v = problem.hvp(w, v / np.linalg.norm(v))
    return float(np.linalg.norm(v))


def ours(problem, w0, t_end, limit, rtol=RTOL, **options):
    sol = gf.gradient_flow(
        problem,
        w0,
        (0, t_end),
        weight_decay=LAM,
        rtol=rtol,
        atol=rtol * 1e-3,
        max_time=limit,
        t_eval=[t_end],
        save_states=False,
        **options,
    )
    return sol.success, sol.t_final, sol.stats["nfev"], sol.stats["nsteps"], sol.final


def cvode(d, n, t_end, limit):
    """CVODE with GMRES, on the same gradients and Hessian-vector products."""
    problem = Network("network", n, d, LAM, t_end)
    problem.grid = problem.grid[[0, -1]]
    flow = Flow(problem, limit)
    try:
        w, steps, _ = PEERS["CVODE GMRES"](problem, RTOL, RTOL * 1e-3, flow)
    except LimitReached:
        return False, flow.last_t, flow.counts["gradients"], flow.counts["times"], problem.w0
    return True, t_end, flow.counts["gradients"], steps, w[-1]


def run(kind, d, n, t_end, limit):
    """One run in this process: what it cost, and its peak memory beyond the model."""
    problem, w0 = (wide if kind == "auto" else network)(d, n)
    gradient = gradient_seconds(problem, w0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, began_wall = time.process_time(), time.perf_counter()
    if kind == "cvode":
        done, t, nfev, steps, w = cvode(d, n, t_end, limit)
    elif kind == "two_phase":
        found = gf.two_phase(problem, w0, weight_decay=[LAM], curvature="gram", rtol=RTOL, max_time=limit)
        runs = [found.flows[LAM], found.fast, *([found.slow] if found.slow else [])]
        nfev, steps = (sum(sol.stats[name] for sol in runs) for name in ("nfev", "nsteps"))
        done, t, w = found.success, t_end, w0
    elif kind == "auto":
        done, t, nfev, steps, w = ours(problem, w0, t_end, limit, rtol=10 * RTOL)
    else:
        done, t, nfev, steps, w = ours(problem, w0, t_end, limit, curvature=kind)
    seconds, wall = time.process_time() - began, time.perf_counter() - began_wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kernels = 3 * 8 * n * n if kind == "gram" else 0  # K, its factor, and room
    descent = None
    if kind == "gram":
        sharpness = max(largest_eigenvalue(problem, w0), largest_eigenvalue(problem, w)) + LAM
        descent = gradient * t_end * sharpness / 1.9  # steps of 1.9 / sharpness
    return {
        "kind": kind,
        "n": n,
        "d": problem.num_params,
        "done": bool(done),
        "share": t / t_end,
        "seconds": seconds,
        "wall": wall,
        "gradient": gradient,
        "nfev": nfev,
        "steps": steps,
        "gigabytes": peak * 1024 / 1e9,
        "vectors": max(0.0, (peak - before) * 1024 - kernels) / (8 * problem.num_params),
        "descent": descent,
    }


def tangent(d, n):
    """The projection on the tangent space at a minimiser, in gradients, beside the eigenvalues of K."""
    fitted, w = network(d, n)
    X, width = np.random.default_rng(0).standard_normal((n, INPUTS)), fitted.unflatten(w)["W2"].shape[0]
    problem = gf.models.MLP(X, fitted.predict(w, X), widths=(width,) * 3, activation="tanh")  # w fits them
    gradient = gradient_seconds(problem, w)
    v = np.random.default_rng(1).standard_normal(w.size)
    began = time.process_time()
    gf.tangent_projection(problem, w, v, curvature="gram")
    whole = time.process_time() - began
    K = problem.gram(w)
    began = time.process_time()
    np.linalg.eigvalsh(K)
    factor = time.process_time() - began
    row = {"kind": "tangent", "n": n, "d": problem.num_params, "gradient": gradient}
    return row | {"whole": whole, "eigenvalues of K": factor}


def isolated(threads, *arguments):
    """`run` or `tangent` in a process of its own, on so many threads."""
    command = [sys.executable, "-m", "benchmarks.scaling", "--one", json.dumps(arguments)]
    environment = os.environ | {"GROKFLOW_NUM_THREADS": str(threads)}
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return json.loads(out.splitlines()[-1]) | {"threads": threads}


def line(row):
    if row["kind"] == "tangent":
        work = ", ".join(
            f"{name} {row[name] / row['gradient']:.1f}" for name in ("whole", "eigenvalues of K")
        )
        return f"{'tangent projection':<24}{row['n']:>6}{row['d']:>10}  in gradients: {work}"
    name = NAMES[row["kind"]] if row["done"] else f"{NAMES[row['kind']]} to {row['share']:.0%} of t"
    ratio = f"{row['seconds'] / row['steps'] / row['gradient']:.2f}"
    counts = f"{row['wall']:>9.3g}{row['seconds']:>9.3g}{row['nfev']:>11}{row['steps']:>7}{ratio:>11}"
    vectors = f"{row['vectors']:.1f}" if row["d"] > 5e5 else "-"  # below, the program itself takes more
    text = f"{name:<24}{row['n']:>6}{row['d']:>10}{counts}{row['gigabytes']:>7.2f}{vectors:>9}"
    return text + (f"  gradient descent: ~{row['descent']:.3g} s" if row["descent"] else "")


def speedups(rows):
    """Lines that tell the wall time on one thread over that on several, of runs that took the same steps."""
    alone = {(row["kind"], row["n"], row["d"]): row for row in rows if row["threads"] == 1}
    for row in rows:
        one = alone.get((row["kind"], row["n"], row["d"]))
        if row["threads"] > 1 and one and one["steps"] == row["steps"]:
            ratio = one["wall"] / row["wall"]
            yield f"n = {row['n']}, d = {row['d']}: {ratio:.2f} times as fast on {row['threads']} threads"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="d up to 1e5, n up to 500")
    parser.add_argument("--only", nargs="+", choices=["d", "n", "tangent", "residuals", "large", "threads"])
    parser.add_argument(
        "--threads", type=int, default=1, metavar="N", help='of every run; "threads": 1 and 2'
    )
    parser.add_argument("--limit", type=float, default=600.0, help="seconds for one run")
    parser.add_argument("--plot", metavar="PNG")
    parser.add_argument("--json", metavar="FILE", help="write the runs to this file, too")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        kind, *arguments = json.loads(options.one)
        print(json.dumps(tangent(*arguments) if kind == "tangent" else run(kind, *arguments)))
        return
    parts = options.only or ["d", "n", "tangent"] + ([] if options.quick else ["large"])
    t_end, limit = 10 / LAM, options.limit
    sizes = [10**k for k in range(3, 6 if options.quick else 8)]
    samples = [50, 200, 500] if options.quick else [50, 200, 500, 1000, 2000, 5000]
    pairs = [(10**5, 200), (10**5, 1000)] + ([] if options.quick else [(10**6, 200)])
    jobs = []
    if "d" in parts:
        jobs += [(kind, d, SAMPLES, t_end, limit) for d in sizes for kind in ("gram", "cvode")]
    if "n" in parts:
        jobs += [(kind, 10**5, n, t_end, limit) for n in samples for kind in ("gram", "krylov")]
    if "tangent" in parts:
        jobs += [("tangent", 10**5 if options.quick else 10**6, 500)]
    if "large" in parts:
        jobs += [("two_phase", 10**7, SAMPLES, t_end, 10 * limit)]
    if "residuals" in parts:
        jobs += [("auto", 10**5, 1000 if options.quick else 5000, t_end, limit)]
    jobs = [(options.threads, *job) for job in jobs]
    if "threads" in parts:
        jobs += [(threads, "gram", *size, t_end, limit) for size in pairs for threads in (1, 2)]
    print(HEAD, flush=True)
    rows = []
    for job in jobs:
        rows.append(isolated(*job))
        print(line(rows[-1]), flush=True)
    print(*speedups([row for row in rows if row["kind"] != "tangent"]), sep="\n")
    if options.plot:
        diagrams.scaling(rows).savefig(options.plot, dpi=150)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(record("benchmarks.scaling", sys.argv[1:], rows), file, indent=1)


if __name__ == "__main__":
    main()
