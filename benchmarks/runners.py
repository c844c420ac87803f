"""Run a solver on a problem under a time limit, the best of several times, and measure its error."""

from __future__ import annotations

import time
from dataclasses import dataclass

from benchmarks import descent, ours
from benchmarks.flow import Flow, LimitReached, Run
from benchmarks.reference import reference
from benchmarks.solvers import PEERS, memory_needed

OURS = {"grokflow BDF": "BDF", "grokflow Radau": "Radau"}
METHODS = OURS | {"grokflow ROCK2": "ROCK2"}
MEMORY = 3e9  # bytes that the d x d matrices of one solver may take


@dataclass
class Settings:
    rtol: float = 1e-6
    atol: float | None = None  # None: rtol / 1000
    limit: float = 60.0  # CPU seconds for one run
    repeats: int = 5  # of a run that takes less than 2 s in all

    def tolerances(self):
        return self.rtol, self.rtol * 1e-3 if self.atol is None else self.atol


def measure(name, problem, settings):
    """One row of the table."""
    if name in PEERS and memory_needed(name, problem) > MEMORY:
        gigabytes = memory_needed(name, problem) / 1e9
        return Run(name, "memory", note=f"its {problem.d} x {problem.d} matrices need {gigabytes:.0f} GB")
    known = reference(problem)
    if name == descent.NAME:
        best = descent.descend(problem, known.sharpness, settings.limit / 3)
    else:
        best = best_of(name, problem, settings)
    if best.w is not None:
        best.error, best.w = known.error(best.w), None
    return best


def best_of(name, problem, settings):
    best, total = None, 0.0
    for _ in range(settings.repeats):
        run = once(name, problem, settings)
        total += run.seconds
        if best is None or run.seconds < best.seconds:
            best = run
        if run.status != "ok" or total > 2.0:
            break
    return best


def once(name, problem, settings):
    rtol, atol = settings.tolerances()
    flow = Flow(problem, settings.limit)
    run = Run(name)
    start = time.process_time()
    try:
        if name in METHODS:
            run.w, run.nfev, run.steps, run.work = ours.gradient_flow(
                problem, rtol, atol, METHODS[name], settings.limit
            )
        else:
            run.w, run.steps, run.work = PEERS[name](problem, rtol, atol, flow)
    except LimitReached:
        at = "" if flow.last_t is None else f" at t={flow.last_t:.3g}"
        run.status, run.note = "limit", f"stopped after {settings.limit:g} s{at}"
    except RuntimeError as error:
        run.status, run.note = "failed", str(error)
    run.seconds = time.process_time() - start
    if name in PEERS:
        run.nfev = flow.counts.pop("gradients", 0)
        del flow.counts["times"]
        run.work = {**flow.counts, **run.work}
    return run


def match(problem, settings, error):
    """grokflow BDF at the loosest rtol, in quarter decades, with an error no larger than ``error``."""
    rtol = settings.rtol
    while True:
        rtol *= 10**-0.25
        tighter = Settings(rtol, None, settings.limit, settings.repeats)
        run = measure("grokflow BDF", problem, tighter)
        if run.status != "ok" or run.error <= error or rtol < 1e-3 * settings.rtol:
            run.note = f"rtol={rtol:.1e}"
            return run
