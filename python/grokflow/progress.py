"""A run to its end, with a progress bar whose interesting times are spread over decades."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from grokflow._options import Request, as_span
from grokflow._validate import FloatArray
from grokflow.driver import Driver, KeptRun, attach

SLOWEST = 1e-12  # t / t_end at which the bar begins to move

D = TypeVar("D", bound=Driver)
R = TypeVar("R")


def to_end(
    start: Callable[[Request], D], result: Callable[[D], R], request: Request, name: str, time: str = "t"
) -> R:
    """Return the `result` of the run that `start` makes of the request; `name` and `time` as in `shown`.

    An exception carries what was recorded also where it comes after the last step: Ctrl-C may come anywhere.
    """
    driver = None
    try:
        with shown(request, name, time) as watched:
            driver = start(watched)
            if request.journal is None:
                driver.advance(to_end=True)
            else:
                request.journal.drive(name, KeptRun(driver))
        return result(driver)
    except BaseException as error:
        if driver is not None:
            attach(error, driver.solution(interrupted_by=error))
        raise


@contextmanager
def shown(request: Request, name: str, time: str = "t") -> Iterator[Request]:
    """Yield `request` with a callback that moves a bar by the logarithm of time, if it asks for progress.

    Before the bar stand the `name` of the run and the `time` that it has reached, called t or s. Without a
    span it is not known when the run ends, and the bar only shows that it goes on.

    Raises
    ------
    ImportError
        If the request asks for progress and rich is missing.
    """
    if not request.progress:
        yield request
        return
    callback = request.callback
    try:
        from rich.progress import Progress
    except ImportError:
        raise ImportError('progress=True needs rich: pip install "grokflow[app]"') from None
    span = None if request.t_span is None else as_span(request.t_span)
    with Progress(transient=True) as bar:
        task = bar.add_task(name, total=None if span is None else 1.0)

        def watch(t: float, w: FloatArray) -> bool | None:
            done = 0.0
            if span is not None:
                fraction = max((t - span.t0) / (span.t1 - span.t0), SLOWEST)
                done = 1.0 - math.log(fraction) / math.log(SLOWEST)
            bar.update(task, completed=done, description=f"{name}, {time} = {t:.3g}")
            return callback(t, w) if callback is not None else None

        yield replace(request, callback=watch)
