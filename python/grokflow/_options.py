"""The arguments of a flow, checked before any work and put into the form that the core takes."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from grokflow._arithmetic import warn_of_flushing
from grokflow._backend import core
from grokflow._validate import (
    FloatArray,
    as_array,
    as_count,
    as_number,
    as_positive,
    as_real,
    as_vector,
    is_list,
    require_sorted,
)
from grokflow._warnings import warn
from grokflow.checkpoint.journal import Journal
from grokflow.deadline import seconds_left
from grokflow.memory import get_memory_limit, require_memory
from grokflow.methods import BDF, STIFF, Curvature, Method, as_method
from grokflow.patterns import key_of, stands_for
from grokflow.problems import Problem
from grokflow.schedules import Schedule
from grokflow.snapshots import Snapshots, as_snapshot_path

Observable: TypeAlias = str | Callable[[float, FloatArray], ArrayLike]
Observe: TypeAlias = Sequence[str] | Mapping[str, Observable] | None
Event: TypeAlias = Callable[[float, FloatArray], float]
Callback: TypeAlias = Callable[[float, FloatArray], bool | None]
WeightDecay: TypeAlias = float | Mapping[str, float]
Decay: TypeAlias = WeightDecay | Schedule | Callable[[float], float]

RATES = ("weight_decay", "slow_time")  # what a schedule can be observed by
ZERO = 1e-280  # |w| below which rtol |w| comes near the smallest numbers
STATE_BUDGET = 256 * 2**20  # bytes of states that save_states="auto" keeps
EXPECTED_SAMPLES = 400  # of a log grid, or of the solver's own steps
COUNT, INT = 2**63 - 1, 2**31 - 1  # the largest numbers that the core counts to
VECTORS = 20  # of d numbers that a method and its record keep
MAX_STEPS = 1_000_000  # far beyond what a well-posed problem takes: every run ends
SOON = 1e-9  # seconds for a run that begins when the time is over
FINEST = 100 * float(np.finfo(np.float64).eps)  # the smallest relative tolerance that a flow can keep


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a run is asked for beside the problem and the start; see `gradient_flow` for the meaning.

    The public functions spell these keywords, with their defaults, and hand one of these down.
    """

    t_span: object = None
    method: str | Method = "auto"
    curvature: str | Curvature = "auto"
    rtol: float
    atol: ArrayLike | None = None
    t_eval: object = "log"
    observe: Observe = None
    save_states: object = "auto"
    events: object = None
    first_step: object = None
    max_step: object = math.inf
    max_steps: object = None
    max_time: object = None
    callback: Callback | None = None
    progress: bool = False
    journal: Journal | None = None

    @classmethod
    def of(cls, arguments: Mapping[str, Any], **others: Any) -> Request:
        """Return what is among the `arguments` of a function (its `locals()` at the head), and `others`."""
        given = {field.name: arguments[field.name] for field in fields(cls) if field.name in arguments}
        return cls(**{**given, **others})


@dataclass(frozen=True)
class Span:
    """Start and end of the integration."""

    t0: float
    t1: float

    def __str__(self) -> str:
        return f"({self.t0:g}, {self.t1:g})"


def as_span(t_span: Any, name: str = "t_span") -> Span:
    """Return `t_span` as two finite numbers, the second not below the first."""
    try:
        if isinstance(t_span, Set | Mapping):
            raise TypeError("without order")
        t0, t1 = t_span
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {t_span!r}; it must be a pair of numbers, start and end") from None
    span = Span(as_number(f"{name}[0]", t0), as_number(f"{name}[1]", t1))
    if span.t1 < span.t0:
        raise ValueError(f"{name} is {span}, which is reversed; the flow runs forward in time")
    return span


def as_decay(
    weight_decay: WeightDecay, problem: Problem, name: str = "weight_decay"
) -> list[tuple[int, int, float]]:
    """Return (begin, end, rate) for consecutive ranges of the parameters; `name` is that of the argument."""
    if not isinstance(weight_decay, Mapping):
        return [(0, problem.num_params, as_rate(name, weight_decay))]
    unknown = [
        key for key in weight_decay if key != "*" and not any(stands_for(key, b) for b in problem.blocks)
    ]
    if unknown:
        raise ValueError(f"{name} names {unknown[0]!r}; this problem has the blocks {list(problem.blocks)}")
    keys = {block: key_of(block, weight_decay) for block in problem.blocks}
    missing = [block for block, key in keys.items() if key not in weight_decay]
    if missing:
        raise ValueError(f"{name} names no rate for {missing[0]!r}; add it, or '*' for all the others")
    rates = {key: as_rate(f"{name}[{key!r}]", rate) for key, rate in weight_decay.items()}
    return [(part.start, part.stop, rates[keys[block]]) for block, part in problem.blocks.items()]


def as_rate(name: str, value: object) -> float:
    """Return `value` as a finite float that is not negative."""
    rate = as_number(name, value)
    if rate < 0:
        raise ValueError(f"{name} is {rate}; it must not be negative")
    return rate


def as_rtol(value: object) -> float:
    """Return `value` as a positive float, no smaller than what double precision can keep."""
    rtol = as_positive("rtol", value)
    if rtol < FINEST:
        warn(f"rtol is {rtol:g}, below what double precision keeps; {FINEST:.2g} is used")
    return max(rtol, FINEST)


def as_atol(
    value: ArrayLike | None, rtol: float, w0: FloatArray, blocks: Mapping[str, slice], finest: float
) -> FloatArray:
    """Return `value` as one positive number, or one for each parameter; None: `default_atol` or `finest`."""
    if value is None:
        return np.array([max(default_atol(rtol, w0, blocks), finest)])
    if not is_list(value) and np.ndim(value) == 0:
        return np.array([as_positive("atol", value)])
    atol = as_vector("atol", value, w0.size)
    if not (atol > 0).all():
        i = int(np.argmin(atol > 0))
        raise ValueError(f"atol[{i}] is {atol[i]}; it must be positive")
    return atol


def default_atol(rtol: float, w0: FloatArray, blocks: Mapping[str, slice]) -> float:
    """Return rtol / 1000 times the size of the smallest block of w0, or of 1 if all are larger.

    Small weights are weights: out of a saddle their errors grow as they do. The size of a block is the lower
    quartile of its |w0|, which a few weights that happen to be small do not change; zeros are left out.
    """
    sizes = (np.abs(w0[block]) for block in blocks.values())
    seen = [size[size > ZERO] for size in sizes]
    quartiles = [np.partition(size, (size.size - 1) // 4)[(size.size - 1) // 4] for size in seen if size.size]
    return 1e-3 * rtol * float(min([1.0, *quartiles]))


def as_times(t_eval: object, span: Span, span_name: str) -> FloatArray | str | None:
    """Return "log", None, or sorted times inside `span`."""
    if t_eval is None or (isinstance(t_eval, str) and t_eval == "log"):
        return t_eval
    if isinstance(t_eval, str):
        raise ValueError(f"t_eval is {t_eval!r}; it must be 'log', None or an array of times")
    given = as_real("t_eval", t_eval)  # type: ignore[arg-type]
    if given.size == 0:
        return np.empty(0)
    times = as_array("t_eval", given, 1)
    require_sorted("t_eval", times)
    if times[0] < span.t0 or times[-1] > span.t1:
        outside = times[0] if times[0] < span.t0 else times[-1]
        raise ValueError(f"t_eval holds {outside:g}, which is outside {span_name} = {span}")
    return times


def as_observables(observe: Observe, known: Collection[str]) -> dict[str, Observable]:
    """Return a mapping from names to quantities of the flow, by name, or to functions f(t, w)."""
    if observe is None:
        accuracies = ("train_accuracy", "test_accuracy", "margin")
        usual = ("train_loss", "test_loss", *accuracies, "norm", "grad_norm", "regularizer", *RATES)
        return {name: name for name in usual if name in known}
    if isinstance(observe, (str, bytes)) or not isinstance(observe, (Sequence, Mapping)):
        raise TypeError(
            f"observe is {observe!r}; it must be a list of names or a mapping from names to observables"
        )
    pairs = observe.items() if isinstance(observe, Mapping) else [(name, name) for name in observe]
    for name, _ in pairs:
        if not isinstance(name, str):
            raise TypeError(f"observe names {name!r}; names must be strings")
    named: dict[str, Observable] = dict(pairs)
    for name, what in named.items():
        if isinstance(what, str) and what not in known:
            raise ValueError(
                f"unknown observable {what!r}; this problem offers {', '.join(map(repr, known))}"
            )
        if not isinstance(what, str) and not callable(what):
            raise TypeError(f"observe[{name!r}] is {what!r}; it must be a name or a function f(t, w)")
    return named


def as_events(events: object) -> list[tuple[Event, int, int]]:
    """Return (function, direction, terminal) for one event, a list of them, or None."""
    if events is None:
        return []
    listed = [events] if callable(events) else events
    if not isinstance(listed, Sequence):
        raise TypeError(f"events is {events!r}; it must be a function f(t, w) or a list of them")
    out = []
    for i, event in enumerate(listed):
        if not callable(event):
            raise TypeError(f"events[{i}] is {event!r}; it must be a function f(t, w)")
        terminal = getattr(event, "terminal", 0) or 0
        direction = as_number(f"events[{i}].direction", getattr(event, "direction", 0))
        try:
            occurrences = operator.index(bool(terminal) if isinstance(terminal, np.bool_) else terminal)
        except TypeError:
            raise TypeError(f"events[{i}].terminal is {terminal!r}; it must be a bool or a count") from None
        if not 0 <= occurrences <= INT:
            raise ValueError(f"events[{i}].terminal is {terminal}; it must lie in 0 ... {INT}")
        out.append((event, (direction > 0) - (direction < 0), int(occurrences)))
    return out


def as_step(name: str, value: object, default: float) -> float:
    """Return `value` as a positive number, possibly infinite, or `default` for None."""
    if value is None:
        return default
    if isinstance(value, float) and value == math.inf:
        return value
    return as_positive(name, value)


def keeps_states(save_states: object, times: FloatArray | str | None, size: int) -> bool:
    """Whether the states at the recorded times are kept: "auto" keeps them while they fit the budget."""
    if isinstance(save_states, (bool, np.bool_)):
        return bool(save_states)
    if not isinstance(save_states, str) or save_states != "auto":
        raise ValueError(f"save_states is {save_states!r}; it must be 'auto', True, False or a path")
    return 8 * num_samples(times) * size <= min(STATE_BUDGET, get_memory_limit())


def num_samples(times: FloatArray | str | None) -> int:
    """How many times a run will record, if only about."""
    return times.size if isinstance(times, np.ndarray) else EXPECTED_SAMPLES


@dataclass(frozen=True)
class FlowOptions:
    """What the core needs beside the problem, the settings that a result keeps, and the file for states."""

    compiled: core.RunOptions
    settings: dict[str, Any]
    snapshots: Snapshots | None
    regularizer: object = None  # of the user's own, maybe


def as_options(
    request: Request,
    w0: FloatArray,
    quantities: Mapping[str, Observable],
    *,
    blocks: Mapping[str, slice],
    methods: tuple[type[Method], ...] = STIFF,
    piecewise: bool = False,
    span_name: str = "t_span",
    finest: float = 0.0,
) -> FlowOptions:
    """Check every option of a flow from `w0`, whose named parts are `blocks`.

    `quantities` are what can be observed, by the names of the core or as functions f(t, w), `methods` those
    that can integrate the flow, `piecewise` whether it is smooth only piece by piece, `span_name` is what the
    caller calls the span of time, and `finest` the default of atol at least.
    """
    size = w0.size
    warn_of_flushing()
    require_memory(f"a flow of {size} parameters keeps {VECTORS} vectors", VECTORS * size)
    span = as_span(request.t_span, span_name)
    times = as_times(request.t_eval, span, span_name)
    chosen = as_method(request.method, methods, piecewise)
    automatic = request.method == "auto"  # then the core has the last word
    rtol = as_rtol(request.rtol)
    tolerance = as_atol(request.atol, rtol, w0, blocks, finest)
    observables = as_observables(request.observe, quantities)
    if request.callback is not None and not callable(request.callback):
        raise TypeError(f"callback is {request.callback!r}; it must be a function f(t, w)")
    first = as_step("first_step", request.first_step, 0.0)
    if first > span.t1 - span.t0 > 0:
        raise ValueError(f"first_step is {first:g}, longer than {span_name} = {span}")
    longest = as_step("max_step", request.max_step, math.inf)
    seconds = as_step("max_time", request.max_time, math.inf)
    attempts = None if request.max_steps is None else as_count("max_steps", request.max_steps, COUNT)
    save_states = request.save_states
    snapshots = None
    if isinstance(save_states, os.PathLike) or (isinstance(save_states, str) and save_states != "auto"):
        snapshots = Snapshots(as_snapshot_path(save_states), size)
    keep = snapshots is None and keeps_states(save_states, times, size)
    if keep:
        count = num_samples(times)
        require_memory(f"save_states keeps {count} states of {size} parameters", count * size)
    # Last: after a snapshot nothing of its time can fail any more.
    by_core = {
        name: quantities[what] if isinstance(what, str) else what for name, what in observables.items()
    }
    recorded = [*by_core.items(), *([("snapshots", snapshots)] if snapshots else [])]
    compiled = core.RunOptions(
        t0=span.t0,
        t1=span.t1,
        rtol=rtol,
        atol=tolerance,
        method="auto" if automatic else type(chosen).__name__,
        max_order=chosen.max_order if isinstance(chosen, BDF) else 5,
        first_step=first,
        max_step=longest,
        max_steps=MAX_STEPS if attempts is None else attempts,
        max_time=min(seconds, max(seconds_left(), SOON)),
        whole_steps=request.journal is not None,
        sample_times=times,
        keep_states=keep,
        observables=recorded,
        events=as_events(request.events),
        callback=request.callback,
    )
    settings = {
        span_name: [span.t0, span.t1],
        "method": type(chosen).__name__,
        **({} if automatic else asdict(chosen)),
        "rtol": rtol,
        "atol": tolerance.tolist() if tolerance.size > 1 else float(tolerance[0]),
        "t_eval": times.tolist() if isinstance(times, np.ndarray) else times,
        "observe": {name: what if isinstance(what, str) else None for name, what in observables.items()},
        "save_states": str(snapshots.path) if snapshots else keep,
        "first_step": first or None,
        "max_step": None if longest == math.inf else longest,
        "max_steps": attempts,
        "max_time": None if seconds == math.inf else seconds,
    }
    return FlowOptions(compiled, settings, snapshots)
