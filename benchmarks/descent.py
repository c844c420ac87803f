"""Plain gradient descent at the largest stable step: what the flow costs without an ODE solver."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.flow import Flow, LimitReached, Run

NAME = "gradient descent"


def descend(problem, sharpness, limit):
    """Steps of 1.9 / sharpness, read as the flow at t = k * step; extrapolated when the time is over."""
    step = 1.9 / sharpness
    flow, grid = Flow(problem, limit), problem.grid
    out = np.empty((grid.size, problem.d))
    w, k, i, status = problem.w0, 0, 0, "ok"
    start = time.process_time()
    try:
        while i < grid.size:
            velocity = flow.rhs(k * step, w)
            while i < grid.size and grid[i] <= (k + 1) * step:
                out[i] = w + (grid[i] - k * step) * velocity
                i += 1
            w = w + step * velocity
            k += 1
    except LimitReached:
        status = "extrapolated"
    seconds = time.process_time() - start
    steps = int(np.ceil(problem.t_end / step))
    note = "" if status == "ok" else f"from {k} steps in {seconds:.1f} s; error up to t={grid[i - 1]:.3g}"
    return Run(NAME, status, seconds * steps / k, steps, steps, error=np.nan, note=note, w=out[:i])
