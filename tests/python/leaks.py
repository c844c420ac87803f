"""Solves as often as the argument says, in every way in turn, and prints how many bytes that has kept.

A program of its own, for the memory of a process that does other things tells nothing.
"""

import gc
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import grokflow as gf
import numpy as np
from checkpoints import own, soft

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((3, 2)), RNG.standard_normal(3)
SMOOTH = gf.models.TwoLayerNetwork(X, Y, width=20)
KINKS = gf.models.TwoLayerNetwork(X, Y, width=20, activation="relu")
START = SMOOTH.initial_weights(seed=0)
LANDED = gf.limit_map(SMOOTH, START).w


def flow(problem, w0, **options):
    return gf.gradient_flow(problem, w0, (0.0, 3.0), weight_decay=0.1, **options)


def checkpointed():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.ckpt"
        flow(SMOOTH, START, max_steps=4, checkpoint=path)
        gf.resume(path, max_steps=100)


def stopped():
    def fail(t, w):
        raise ZeroDivisionError

    with suppress(ZeroDivisionError):  # which carries the trajectory
        flow(SMOOTH, START, callback=fail)


WAYS = [
    *(
        lambda method=method, curvature=curvature: flow(SMOOTH, START, method=method, curvature=curvature)
        for method in ("BDF", "Radau")
        for curvature in ("gram", "dense", "krylov")
    ),
    lambda: flow(SMOOTH, START, method="ROCK2", events=[lambda t, w: t - 1.0], observe={"w": lambda t, w: w}),
    lambda: flow(KINKS, START),
    lambda: flow(own(), np.full(9, 0.5)),
    lambda: flow(soft(), np.ones(3), curvature="krylov"),
    lambda: gf.limit_map(SMOOTH, START),
    lambda: gf.norm_flow(SMOOTH, LANDED, (0.0, 0.1)),
    lambda: gf.models.TwoLayerNetwork(X, Y, width=3),
    checkpointed,
    stopped,
]


def resident():
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def solve(count):
    for i in range(count):
        WAYS[i % len(WAYS)]()


if __name__ == "__main__":
    count = int(sys.argv[1])
    solve(count // 5)  # what is kept for good, and the holes that memory gets
    before = resident()
    solve(count)
    print(resident() - before)
