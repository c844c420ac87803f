"""grokflow, as its users call it."""

from __future__ import annotations

import grokflow as gf

from benchmarks.flow import LimitReached

#: What the statistics of a Solution are called in the table.
WORK = {
    "ngram": "K",
    "nhessian": "H",
    "nfactor": "chol",
    "nsolve": "solve",
    "nhvp": "hvp",
    "nrejected": "rejected",
    "nfailed": "failed",
}


def gradient_flow(problem, rtol, atol, method, limit):
    """The trajectory on the grid, evaluations, steps and other work."""
    sol = gf.gradient_flow(
        problem.model(),
        problem.w0,
        (0, problem.t_end),
        weight_decay=problem.weight_decay,
        method=method,
        rtol=rtol,
        atol=atol,
        t_eval=problem.grid,
        save_states=True,
        max_time=limit,
    )
    if sol.status == "time_limit":
        raise LimitReached
    if not sol.success:
        raise RuntimeError(sol.message)
    work = {name: sol.stats[key] for key, name in WORK.items() if sol.stats[key]}
    return sol.w, sol.stats["nfev"], sol.stats["nsteps"], work
