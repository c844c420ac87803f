"""Run a solver on a problem under a time limit, the best of several times, and measure its error."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from benchmarks import descent, ours
from benchmarks.flow import Flow, LimitReached, Run
from benchmarks.reference import reference
from benchmarks.solvers import PEERS, memory_needed

OURS = {"grokflow BDF": "BDF", "grokflow Radau": "Radau"}
AUTO = "grokflow auto"  # BDF, or exact steps where the loss is quadratic
METHODS = OURS | {AUTO: "auto", "grokflow ROCK2": "ROCK2"}
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


def at(name, problem, settings):
    """One run, with its tolerance as note."""
    run = measure(name, problem, settings)
    if run.status == "ok":
        run.note = f"rtol={settings.rtol:.1e}"
    return run


def cheapest(name, problem, error, settings):
    """The run at the loosest rtol, in half decades, that is no less accurate than `error`."""
    step = 10**0.5

    def by(factor):
        return replace(settings, rtol=settings.rtol * factor, atol=None)

    run = at(name, problem, settings)
    if run.status == "ok" and run.error > error:
        while run.status == "ok" and run.error > error:
            settings = by(1 / step)
            run = at(name, problem, settings)
        return run
    while run.status == "ok":
        settings = by(step)
        looser = at(name, problem, settings)
        if looser.status != "ok" or looser.error > error or looser.seconds > 1.5 * run.seconds:
            break
        run = looser
    return run
