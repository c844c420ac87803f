"""A run of the core, driven from Python: how it begins, and what surrounds its steps."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._manual import ENDS, explained
from grokflow._options import Decay, FlowOptions, Request, as_options, as_span
from grokflow._validate import FloatArray, as_vector
from grokflow._warnings import warn
from grokflow.callbacks import CallbackError, PrecisionWarning
from grokflow.costs import measure
from grokflow.methods import ROCK2, Strategy, as_curvature, as_method
from grokflow.problems import Problem
from grokflow.provenance import provenance
from grokflow.regularizers import Regularization, describe, rattling, with_penalty
from grokflow.schedules import as_schedule, told
from grokflow.solution import Solution
from grokflow.trajectory import MODE_CHANGE

TOLD_SLACK = 2.0  # a tolerance met up to less is not worth a word
LOOSEST = 0.05  # rtol that can be asked for


class Driver:
    """A run of the core, and the `Solution` that it has reached so far."""

    def __init__(self, run: core.FlowRun, options: FlowOptions, problem: Problem | None = None) -> None:
        self._run = run
        self._problem = problem
        self._settings = options.settings
        self._snapshots = options.snapshots
        self._regularizer = options.regularizer
        self._seconds = 0.0
        self._since: float | None = None

    def advance(self, *, to_end: bool) -> str:
        """Take one step, or all; an exception of the user's passes, with `solution` attached."""
        with Driving(self) as run:
            return run.advance(bool(to_end))

    def _noise(self) -> str:
        """Return in a sentence that the tolerance was not met, and which one can be."""
        rtol = self._settings["rtol"] * self._run.slack
        advice = (
            f"ask for rtol = {rtol:.1g}."
            if rtol <= LOOSEST
            else "no rtol can be met where weights drown in it; ask for a larger atol, which lets them go."
        )
        return (
            "The gradient is not smooth enough for the tolerance: it carries noise (round-off; single "
            f"precision in a callback?) or jumps. It was met up to a factor {self._run.slack:.2g}: {advice}"
        )

    def _elapsed(self) -> float:
        """The seconds that steps have taken so far."""
        return self._seconds + (0.0 if self._since is None else time.perf_counter() - self._since)

    def solution(self, interrupted_by: BaseException | None = None) -> Solution:
        """Return what has been recorded so far.

        Raises
        ------
        MemoryError
            The states do not fit into memory a second time; its attribute `solution` holds all the rest.
        """
        rest = self._without_states(interrupted_by)
        try:
            return dataclasses.replace(rest, w=self._states(len(rest.t)))
        except MemoryError as error:
            if interrupted_by is not None:
                return rest
            attach(error, rest)
            raise

    def _without_states(self, interrupted_by: BaseException | None) -> Solution:
        run = self._run
        status, message = run.status, run.message
        if interrupted_by is not None and status == "running":
            status = "interrupted"
            message = f"Stopped at t = {run.t:.6g} by {type(interrupted_by).__name__}."
        if run.slack > TOLD_SLACK:
            message = f"{message} {self._noise()}"
        if run.slack > TOLD_SLACK or status not in (*ENDS, "running", "interrupted"):
            message = f"{message} {rattling(self._regularizer, run.w)}".rstrip()
        message = explained(status, message)
        times, observed, events = run.times(), run.observed(), run.events()
        return Solution(
            t=times,
            w=None,
            observed={name: observed[name] for name in self._settings["observe"]},
            final=run.w,
            t_final=run.t,
            t_events=[t for t, _ in events],
            w_events=[w for _, w in events],
            status=status,
            message=message,
            stats=run.stats()
            | dict(self._problem._notes if self._problem else {})
            | {"seconds": self._elapsed()}
            | self._costs(),  # type: ignore[operator]
            settings=self._settings,
            mode_changes=np.array(run.mode_changes(), dtype=MODE_CHANGE),
            problem=self._problem,
        )

    def _costs(self) -> dict[str, float]:
        return {} if self._problem is None else dict(self._problem._costs)

    def _states(self, count: int) -> FloatArray | None:
        """The states at the `count` recorded times, if they were kept."""
        if self._snapshots is not None:
            states = self._snapshots.states()
            return None if states is None else states[:count]
        return self._run.states() if self._settings["save_states"] else None


class Driving(AbstractContextManager["core.FlowRun"]):
    """What must surround steps: an exception of the user's passes, with `solution` attached.

    No generator: one that an interrupt has left behind is closed whenever it is collected, and an interrupt
    which comes during that would be lost.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._writing = None if driver._snapshots is None else driver._snapshots.writing()

    def __enter__(self) -> core.FlowRun:
        if self._writing is not None:
            self._writing.__enter__()
        self._driver._since = time.perf_counter()
        return self._driver._run

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        driver, run = self._driver, self._driver._run
        try:
            if isinstance(error, CallbackError) and error.t is None:
                error.t = run.t
            if error is not None:
                attach(error, driver.solution(interrupted_by=error))
        finally:
            driver._seconds, driver._since = driver._elapsed(), None
            if self._writing is not None:
                self._writing.__exit__(kind, error, trace)
        if error is None and run.status != "running" and run.slack > TOLD_SLACK:
            warn(driver._noise(), PrecisionWarning)


class KeptRun:
    """A driver as a journal sees it: its steps, and its state between two of them."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def driving(self) -> AbstractContextManager[core.FlowRun]:
        """What must surround steps."""
        return Driving(self._driver)

    def facts(self) -> dict[str, Any]:
        """What a checkpoint says beside the state of the core."""
        driver = self._driver
        states = None if driver._snapshots is None else driver._snapshots.facts()
        return {"status": driver._run.status, "seconds": driver._elapsed(), "states": states}

    def save(self, write: Callable[[memoryview], Any]) -> None:
        """Write the state of the core."""
        self._driver._run.save(write)

    def load(self, facts: Mapping[str, Any], readinto: Callable[[memoryview], int]) -> None:
        """Read facts and state, which a run with the same arguments has written."""
        driver = self._driver
        if driver._snapshots is not None:
            driver._snapshots.take_up(**facts["states"])
        driver._run.load(readinto)
        driver._seconds = float(facts["seconds"])

    def reopen(self) -> None:
        """Let a run go on that a limit or the user has ended."""
        snapshots = self._driver._snapshots
        if self._driver._run.reopen() and snapshots is not None:
            snapshots.take_up(snapshots.run, snapshots.count - 1)


def attach(error: BaseException, found: object, name: str = "solution") -> None:
    """Hang what was `found` on an exception, if the exception takes attributes."""
    try:
        setattr(error, name, found)
    except AttributeError:
        return


def begin(
    of: Problem, w0: ArrayLike, weight_decay: Decay, request: Request, regularizer: Regularization = "norm"
) -> tuple[core.FlowRun, FlowOptions]:
    """Return a gradient flow of the core at its start."""
    start, schedule = as_vector("w0", w0, of.num_params), as_schedule(weight_decay)
    rate: Any = weight_decay if schedule is None else schedule.rate
    problem, decay = with_penalty(of, rate, regularizer, start)
    chosen = strategy_of(problem, start, request)
    quantities = problem._observables
    if schedule is not None:
        quantities |= schedule._observables(as_span(request.t_span).t0)
    options = as_options(request, start, quantities, blocks=problem.blocks, piecewise=problem.is_piecewise)
    options.settings.update(
        curvature=None if chosen.name == "none" else chosen.name,
        **({"rank": chosen.rank} if chosen.name in ("krylov", "adaptive") else {}),
        weight_decay=told(weight_decay) if schedule is None else schedule._settings(),
        regularizer=describe(regularizer),
        **provenance(of, start),
    )
    options = dataclasses.replace(options, regularizer=regularizer)
    warn_of_precision(problem, options.settings["rtol"])
    t0, t1 = options.settings["t_span"]
    factor = 1.0 if schedule is None else schedule._factor(t0)
    require_finite_start(problem, start, t0, [(begin, end, factor * rate) for begin, end, rate in decay])
    changes = () if schedule is None else (schedule._factor, [t for t in schedule.breaks if t0 < t < t1])
    run = core.gradient_flow(problem._core, start, decay, *chosen, options.compiled, *changes)
    options.settings["method"] = run.method
    return run, options


def warn_of_precision(problem: Problem, rtol: float) -> None:
    """Warn where the numbers of `problem` are too coarse for `rtol`."""
    if rtol < problem._finest:
        warn(
            f"rtol is {rtol:g}, which a model in single precision cannot keep: ask for "
            f"rtol = {problem._finest:g}, or for dtype='float64'",
            PrecisionWarning,
        )


def strategy_of(problem: Problem, w0: FloatArray, request: Request) -> Strategy:
    """Return the curvature that a gradient flow uses: "none" if the method is explicit."""
    wanted = as_curvature(request.curvature)
    if not isinstance(as_method(request.method, piecewise=problem.is_piecewise), ROCK2):
        measure(problem, w0, wanted, request)
        name = core.curvature_of(problem._core, wanted.name, wanted.memory_budget)
        rank = core.krylov_rank(problem._core, wanted.rank, wanted.memory_budget)
        return wanted._replace(name=name, rank=rank)
    if wanted.name != "auto":
        raise ValueError(
            f"curvature is {request.curvature!r}, but ROCK2 solves no linear systems; leave curvature out"
        )
    return wanted._replace(name="none")


def require_finite_start(
    problem: Problem, w0: FloatArray, t0: float, decay: Sequence[tuple[int, int, float]] = ()
) -> None:
    """Raise ValueError if the flow cannot start: the right-hand side at w0 is not finite."""
    gradient = problem._core.gradient(w0)
    bad = np.flatnonzero(~np.isfinite(gradient))
    if bad.size:
        raise ValueError(
            f"the gradient at t = {t0:g} has {bad.size} entries that are nan or infinite, "
            f"the first at index {bad[0]}; scale w0 or the data down, or check the problem with check_problem"
        )
    for begin, end, rate in decay:
        with np.errstate(over="ignore"):
            fine = np.isfinite(gradient[begin:end] + rate * w0[begin:end])
        if not fine.all():
            i = begin + int(np.argmin(fine))
            raise ValueError(
                f"grad F + weight_decay * w overflows at t = {t0:g}, index {i}, where w0 is {w0[i]:g} and "
                f"the weight decay {rate:g}; scale them down"
            )
