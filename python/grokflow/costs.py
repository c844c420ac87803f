"""What functions of one's own take, measured once a problem: that is how their curvature is chosen."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from grokflow._options import Request
from grokflow._validate import FloatArray
from grokflow.callbacks import CallbackProblem
from grokflow.methods import Strategy
from grokflow.problems import Problem

SMALL = 100  # unknowns, up to which it does not matter
QUICK = 0.1  # seconds in all, up to which five calls are timed, and else two
LONG = 10.0  # seconds, after which K is not formed again to be measured warm


def measure(problem: Problem, w: FloatArray, wanted: Strategy, request: Request) -> None:
    """Let a problem of one's own know its cost at `w`, where the strategy depends on that.

    A measured time decides on what is computed: so it is a part of the checkpoint, of the problem, and of
    the `stats` of each run.
    """
    if not (isinstance(problem, CallbackProblem) and problem._timed):
        return
    journal = request.journal
    if journal is not None and journal.costs:
        problem._set_costs(journal.costs)
    n, d = problem.num_residuals, problem.num_params
    in_kernel_space = 0 < n <= d
    if not problem._costs and wanted.name in ("auto", "krylov") and (n if in_kernel_space else d) > SMALL:
        costs = {"gradient_seconds": _seconds(lambda: problem._core.gradient(w))}
        has_gram = not {"gram", "jacobian"}.isdisjoint(problem.functions)
        if wanted.name == "auto" and in_kernel_space and has_gram and 32 * n * n <= wanted.memory_budget:
            costs["gram_seconds"] = _seconds(problem._core.linearize(w).gram, LONG)
        problem._set_costs(costs)
    if journal is not None:
        journal.costs = problem._costs


def _seconds(work: Callable[[], object], long: float = math.inf) -> float:
    """Return the shortest of some times: the first call may load and compile, and is the only one if long."""
    times = [_time(work)]
    while times[0] <= long and (len(times) < 2 or (len(times) < 5 and sum(times) < QUICK)):
        times.append(_time(work))
    return min(times)


def _time(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
