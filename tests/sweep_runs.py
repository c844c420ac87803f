"""Functions that tests of sweeps send to other processes; as a program, a sweep that can be killed."""

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import grokflow as gf
import numpy as np


def problem(seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((5, 10))
    return gf.models.DiagonalLinearNetwork(X, X[:, 0]), np.ones(20)


def threads(x):
    return gf.get_num_threads()


def rank(x):
    """The rank of MPI that computes."""
    from mpi4py import MPI

    time.sleep(0.01)
    return MPI.COMM_WORLD.rank


def counted(x, folder):
    """Leave a file for every call."""
    os.close(tempfile.mkstemp(prefix="call-", dir=folder)[0])
    return np.sqrt(x)


def works_the_second_time(x, folder):
    mark = Path(folder, "tried")
    if not mark.exists():
        mark.touch()
        raise RuntimeError("the first time")
    return x


def kills_its_worker_once(x, killed):
    if x == 3 and not os.path.exists(killed):
        Path(killed).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return np.sqrt(x)


def slowly(x, folder):
    time.sleep(0.1)
    return counted(x, folder)


def slow_sweep(folder):
    return gf.sweep(slowly, {"x": range(1, 17)}, checkpoint=Path(folder, "rows"), folder=str(folder))


if __name__ == "__main__":
    import sweep_runs  # under its own name, so that both programs run one function

    sweep_runs.slow_sweep(sys.argv[1])
