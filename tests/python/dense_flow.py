"""The integrators on any ODE with a dense Jacobian, without a problem behind it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from grokflow._backend import core
from grokflow._options import Request, as_options
from grokflow._validate import FloatArray, as_array
from grokflow.driver import Driver
from grokflow.methods import BDF, ROCK2, Radau
from grokflow.solution import Solution
from numpy.typing import ArrayLike


def integrate(
    f: Callable[[FloatArray], ArrayLike],
    jacobian: Callable[[FloatArray], ArrayLike],
    y0: ArrayLike,
    t_span: tuple[float, float],
    *,
    method: str | BDF | Radau | ROCK2 = "BDF",
    rtol: float = 1e-6,
    atol: ArrayLike = 1e-9,
    t_eval: ArrayLike | str | None = None,
    events: Any = None,
    max_steps: int | None = None,
    first_step: float | None = None,
    max_step: float = math.inf,
) -> Solution:
    """Integrate ``dy/dt = f(y)`` with a dense Jacobian: how the methods are held against stiff problems."""
    request = Request.of(locals(), observe={}, save_states=True)
    start = as_array("y0", y0, 1)
    options = as_options(request, start, {}, blocks={"y": slice(None)})
    flow = core.ode(
        lambda t, y: f(y), lambda t, y: jacobian(y), "dense", 0.0, np.inf, start, options.compiled
    )
    driver = Driver(flow, options)
    driver.advance(to_end=True)
    return driver.solution()


def compiled_options(**changes: Any) -> core.RunOptions:
    """Return what a short run by BDF takes, with `changes`: unchecked, as the core gets it."""
    plain = {
        "t0": 0.0,
        "t1": 1.0,
        "rtol": 1e-6,
        "atol": np.array([1e-9]),
        "method": "BDF",
        "max_order": 5,
        "first_step": 0.0,
        "max_step": math.inf,
        "max_steps": 10,
        "max_time": math.inf,
        "whole_steps": False,
        "sample_times": None,
        "keep_states": False,
        "observables": [],
        "events": [],
        "callback": None,
    }
    return core.RunOptions(**plain | changes)
