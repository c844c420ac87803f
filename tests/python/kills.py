"""Kills a run as often as the second argument says, at random moments, and takes it up each time.

Each process goes on at most one interval before where the last was killed, takes the very steps of a run that
nobody has killed, and the last one ends in the same bits. A program of its own, for processes are forked:
none is started anew, and there are no threads.
"""

import contextlib
import os
import pickle
import random
import signal
import struct
import sys
import tempfile
import time
import traceback
from functools import partial
from pathlib import Path

import grokflow as gf
import numpy as np
from checkpoints import PROBLEMS, same, weights
from grokflow.checkpoint import journal

EVERY = 3  # steps between two checkpoints
TIME = struct.Struct("d")


def flow(name, **options):
    """A flow, as a function of what `gradient_flow` takes besides, and the problem if it is not in a file."""
    problem = PROBLEMS[name]()
    run = partial(gf.gradient_flow, problem, weights(name, problem), (0.0, 2e3), weight_decay=1e-3, **options)
    return run, {} if isinstance(problem, gf.models.model.Model) else {"problem": problem}


def both_phases(name):
    problem = PROBLEMS[name]()
    return partial(gf.two_phase, problem, weights(name, problem), [1e-2, 1e-3], s_end=2.0), {}


CASES = {
    "relu": partial(flow, "relu"),
    "krylov": partial(flow, "tanh", curvature="krylov"),
    "functions": partial(flow, "own"),
    "two_phase": partial(both_phases, "diagonal"),
}


class Steps:
    """Tells the time of each step at the other end of a pipe, and is the clock of a journal."""

    def __init__(self, pipe):
        self.pipe, self.count = pipe, 0

    def callback(self, t, w):
        self.count += 1
        os.write(self.pipe, TIME.pack(t))

    def monotonic(self):
        return float(self.count)


class Command(Steps):
    """The same for the command line, which has no callback: the journal looks at the clock at each step."""

    def monotonic(self):
        self.callback(0.0, None)
        return super().monotonic()


def computed(make, path, steps):
    """Begin a run, or go on with it if its checkpoint is there."""
    run, given = make()
    if path.exists():
        return gf.resume(path, **given, callback=steps.callback)
    return run(callback=steps.callback, checkpoint=path, checkpoint_every=EVERY)


def commanded(app, table, path, steps):
    """The same by the command line; what is computed is the files that it writes."""
    out = path.parent / "out"
    begin = ["run", "--data", table, "--target", "y", "--width", 8, "--out", out, "--checkpoint", path]
    command = ["resume", path] if path.exists() else [*begin, "--checkpoint-every", EVERY]
    with open(os.devnull, "w") as sink, contextlib.redirect_stdout(sink), contextlib.suppress(SystemExit):
        app([str(word) for word in command])
    return gf.Solution.load(out / "trajectory.npz")


def child(compute, path, kind):
    """Fork a process that computes; return its number, and the end of a pipe that tells its steps."""
    ours, theirs = os.pipe()
    number = os.fork()
    if number > 0:
        os.close(theirs)
        return number, ours
    try:
        steps = kind(theirs)
        journal.time = steps
        result = compute(path, steps)
        path.with_suffix(".result").write_bytes(pickle.dumps(result))
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def followed(number, pipe, steps=None, wait=0.0):
    """Read the times of steps; kill the process some time after so many of them, or let it end."""
    times = b""
    while (steps is None or len(times) < steps * TIME.size) and (found := os.read(pipe, TIME.size)):
        times += found
    time.sleep(wait)
    if steps is not None:
        os.kill(number, signal.SIGKILL)
    while found := os.read(pipe, 2**16):
        times += found
    os.close(pipe)
    status = os.waitpid(number, 0)[1]
    assert status in (0, signal.SIGKILL), "the process has failed"
    return np.frombuffer(times), status == signal.SIGKILL


def main(name, count, folder):
    kind = Steps
    if name == "command":
        from grokflow.app.commands import app

        kind = Command
        table = np.random.default_rng(0).standard_normal((20, 4))
        np.savetxt(folder / "table.csv", table, delimiter=",", header="a,b,c,y", comments="")
        compute = partial(commanded, app, folder / "table.csv")
    else:
        compute = partial(computed, CASES[name])
    whole, _ = followed(*child(compute, folder / "whole.ckpt", kind))
    path = folder / "run.ckpt"
    draw = random.Random(name)
    end = kills = 0
    while kills < count:
        times, killed = followed(
            *child(compute, path, kind), draw.randrange(len(whole) // count), draw.expovariate(500.0)
        )
        assert killed, "it was done before"
        kills += 1
        if kind is Steps and len(times):
            starts = range(max(0, end - EVERY), end + 1)
            begin = next(i for i in starts if np.array_equal(whole[i : i + len(times)], times))
            end = begin + len(times)
    followed(*child(compute, path, kind))
    ours, theirs = (pickle.loads((folder / f"{run}.result").read_bytes()) for run in ("run", "whole"))
    same(ours, theirs)
    assert not list(folder.glob(".*.ckpt.*")), "scratch was left"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(sys.argv[1], int(sys.argv[2]), Path(folder))
