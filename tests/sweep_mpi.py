"""A sweep on the ranks of MPI, held against threads: mpiexec -n 3 python -m mpi4py.futures sweep_mpi.py"""

import grokflow as gf
import numpy as np
import pytest
import sweep_runs
from mpi4py.futures import MPIPoolExecutor

OVER = {"weight_decay": [1e-2, 1e-3], "seed": range(3)}


def flows(executor):
    times = np.logspace(-1, 2, 5)
    return gf.sweep(
        gf.gradient_flow,
        OVER,
        executor=executor,
        problem=sweep_runs.problem,
        t_span=(0, 100.0),
        t_eval=times,
        max_time=60.0,
    )


if __name__ == "__main__":
    with MPIPoolExecutor() as executor:
        ranks = gf.sweep(sweep_runs.rank, {"x": range(20)}, executor=executor)["value"].values
        assert set(ranks) == {1.0, 2.0}, ranks
        assert flows(executor).identical(flows(None))
        with pytest.raises(TypeError, match="MPIPoolExecutor cannot send run"):
            gf.sweep(lambda x: x, {"x": [1]}, executor=executor)
