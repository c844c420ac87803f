"""Gradient descent, the flow's oracle: at first order in its step it tends to the flow, kinks or none."""

import numpy as np


def errors_of_descent(problem, w0, sol, decay, steps):
    """The largest error at the end of `sol`, for each step; `decay(t)` are the rates by weight."""
    t_end, errors = float(sol.t_final), []
    for step in steps:
        w = w0.copy()
        for k in range(round(t_end / step)):
            w -= step * (problem._core.gradient(w) + decay((k + 0.5) * step) * w)
        errors.append(np.abs(w - sol.final).max())
    return np.array(errors)
