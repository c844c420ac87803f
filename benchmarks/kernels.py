"""The arithmetic of one step of a deep network, against NumPy's matrix product in the same run.

python -m benchmarks.kernels                  # one thread in CPU time, two in wall time
python -m benchmarks.kernels --quick
python -m benchmarks.kernels --threads 1 4 --n 1000 --width 2000 --depth 3
"""

from __future__ import annotations

import argparse
import time

import grokflow as gf
import numpy as np
from threadpoolctl import threadpool_limits

INPUTS = 100
HEAD = (
    "n",
    "width",
    "depth",
    "d",
    "matmul",
    "gradient",
    "K",
    "hvp",
    "jvp+vjp",
)  # operations per second of each


def fastest(work, clock, seconds):
    """The shortest of several runs that take `seconds` together, three at least."""
    times = []
    while len(times) < 3 or sum(times) < seconds:
        began = clock()
        work()
        times.append(clock() - began)
    return min(times)


def operations(n, sizes):
    """Floating-point operations of each kernel, for a network with one output and these sizes of layers."""
    products = np.multiply(sizes[:-1], sizes[1:]).astype(float)
    once, inner = 2 * n * products.sum(), 2 * n * products[1:].sum()  # nothing goes back to the inputs
    between = 2 * n * products[1:-1].sum()
    return {
        "gradient": 2 * once + inner,
        "K": between + n * (n + 1.0) * (sum(sizes[:-1]) + sum(sizes[1:-1])),
        "hvp": 3 * once + 5 * inner,
        "jvp+vjp": 2 * once + 2 * inner,
    }


def measure(n, width, depth, clock, seconds):
    """GFLOP/s of each kernel."""
    rng = np.random.default_rng(0)
    problem = gf.models.MLP(rng.standard_normal((n, INPUTS)), rng.standard_normal(n), (width,) * depth)
    w = problem.initial_weights()
    v, u = rng.standard_normal(problem.num_params), rng.standard_normal(n)
    lin = problem._core.linearize(w)
    kernels = {
        "gradient": lambda: problem._core.gradient(w),
        "K": lin.gram,
        "hvp": lambda: lin.hvp(v),
        "jvp+vjp": lambda: (lin.jvp(v), lin.vjp(u)),
    }
    count = operations(n, [INPUTS, *[width] * depth, 1])
    rates = {name: count[name] / fastest(work, clock, seconds) for name, work in kernels.items()}

    A, B, C = rng.standard_normal((n, width)), rng.standard_normal((width, width)), np.empty((n, width))
    rates["matmul"] = 2.0 * n * width**2 / fastest(lambda: np.matmul(A, B, out=C), clock, seconds)
    return problem.num_params, {name: rate * 1e-9 for name, rate in rates.items()}


def report(threads, cases, seconds):
    """Measure with so many threads and print the table."""
    gf.set_num_threads(threads)
    clock, kind = (time.process_time, "CPU") if threads == 1 else (time.perf_counter, "wall")
    print(f"\nGFLOP/s in {kind} time, {threads} thread{'s'[: threads != 1]} (% of NumPy's matmul)")
    print("".join(f"{name:>8}" for name in HEAD[:5]) + "".join(f"{name:>14}" for name in HEAD[5:]))
    with threadpool_limits(threads):
        for n, width, depth in cases:
            d, rates = measure(n, width, depth, clock, seconds)
            cells = [f"{value:>8}" for value in (n, width, depth, f"{d:.1e}", f"{rates['matmul']:.1f}")]
            for name in HEAD[5:]:
                cells.append(f"{rates[name]:.1f} ({rates[name] / rates['matmul']:.0%})".rjust(14))
            print("".join(cells), flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--n", type=int, nargs="+", default=[200, 1000])
    parser.add_argument("--width", type=int, nargs="+", default=[100, 1000, 2200])
    parser.add_argument("--depth", type=int, default=3, help="hidden layers")
    parser.add_argument("--quick", action="store_true", help="n = 200 and 1000 at width 300")
    options = parser.parse_args()
    widths = [300] if options.quick else options.width
    cases = [(n, width, options.depth) for n in options.n for width in widths]
    for threads in options.threads:
        report(threads, cases, seconds=0.5 if options.quick else 2.0)


if __name__ == "__main__":
    main()
