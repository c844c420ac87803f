"""A progress bar for a run whose interesting times are spread over decades."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from grokflow._options import Callback, as_span
from grokflow._validate import FloatArray

SLOWEST = 1e-12  # t / t_end at which the bar begins to move


@contextmanager
def progress_callback(
    show: bool, t_span: tuple[float, float], callback: Callback | None
) -> Iterator[Callback | None]:
    """Yield `callback`, wrapped to move a bar by the logarithm of time if `show`.

    Raises
    ------
    ImportError
        If `show` and rich is missing.
    """
    if not show:
        yield callback
        return
    try:
        from rich.progress import Progress
    except ImportError:
        raise ImportError('progress=True needs rich: pip install "grokflow[app]"') from None
    span = as_span(t_span)
    with Progress(transient=True) as bar:
        task = bar.add_task("gradient flow", total=1.0)

        def watch(t: float, w: FloatArray) -> bool | None:
            fraction = max((t - span.t0) / (span.t1 - span.t0), SLOWEST)
            bar.update(
                task, completed=1.0 - math.log(fraction) / math.log(SLOWEST), description=f"t = {t:.3g}"
            )
            return callback(t, w) if callback is not None else None

        yield watch
