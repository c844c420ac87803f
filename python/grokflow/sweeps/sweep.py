"""A sweep: the same function at every point of a grid."""

from __future__ import annotations

import hashlib
import inspect
import itertools
import json
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from grokflow._validate import FloatArray, as_array, as_path, as_positive, require_sorted
from grokflow.problems import Problem
from grokflow.sweeps.budget import OutOfTime, within
from grokflow.sweeps.rows import FAILED, Folder, Point, Row, row_of
from grokflow.threads import get_num_threads, set_num_threads

if TYPE_CHECKING:
    import xarray

SCALARS = (bool, int, float, str)


def sweep(
    run: Callable[..., Any],
    over: Mapping[str, Iterable[Any]],
    *,
    executor: Executor | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    times: ArrayLike | None = None,
    max_time: float | None = None,
    progress: bool = False,
    **options: Any,
) -> xarray.Dataset:
    """Call a function at every point of a grid of its arguments, and gather what it returns.

    Runs are independent, so their results do not depend on where, or in which order, they are computed: they
    are those of single calls, bit for bit. A run that raises an exception does not stop the others.

    Parameters
    ----------
    run : callable
        Called as ``run(**point, **options)``, where `point` has one value for each name of `over`. It returns
        numbers: one, an array, or a dict of such; or a `Solution`, of which the observed curves are taken; or
        a `TwoPhase`. With ``run=gf.gradient_flow`` (or `two_phase`) the option ``problem`` may be a function
        of some of the swept names that returns ``(problem, w0)``.
    over : dict of str to sequence
        The values of each argument that is swept: numbers, texts or truth values.
    executor : concurrent.futures.Executor, optional
        Where runs are computed: processes, ``dask_client.get_executor()``, ``MPIPoolExecutor()``... By
        default threads of this process, one for each processor. Each run computes with one thread.
    checkpoint : path, optional
        A folder that keeps each result as soon as it is there. The same call, also with more values, finds
        them there, and only does what is missing, failed, new, or has run out of another `max_time`. It does
        not see that a function has changed.
    times : array_like, shape (T,), optional
        The common grid of times of the solutions, whose curves are interpolated linearly; nan outside their
        span. By default their own times, which then have to be the same.
    max_time : float, optional
        Seconds for each run. Solvers of this library in it end by then, with what they have; anything else is
        stopped a second later and leaves the status "time_limit" and nan: by a kill where processes of a
        `ProcessPoolExecutor` compute; elsewhere by an exception, and what hangs in compiled code, or waits,
        is left behind.
    progress : bool, default False
        Show how many runs are done (needs rich).
    **options
        Further arguments of `run`, the same in all runs.

    Returns
    -------
    xarray.Dataset
        Its first dimensions are the swept names. Beside what `run` returned there are ``status`` ("finished",
        that of a `Solution`, "incomplete" of a `TwoPhase`, "time_limit" or "failed") and ``message``; numbers
        of failed runs are nan.

    Raises
    ------
    ImportError
        xarray, or rich with `progress`, is missing.
    TypeError, ValueError
        Before anything runs: an argument is wrong, or `run` cannot be sent to where the executor computes. At
        the end: runs have returned arrays of different shapes.
    """
    _xarray()
    points = grid_points(over)
    if not callable(run):
        raise TypeError(f"run is {run!r}; it must be a function")
    grid = None if times is None else as_array("times", times, 1)
    if grid is not None:
        require_sorted("times", grid)
    job = _Job(run, options, grid, None if max_time is None else as_positive("max_time", max_time))
    job.require(points[0])
    if executor is not None:
        if not callable(getattr(executor, "submit", None)):
            raise TypeError(f"executor is {executor!r}; it must be a concurrent.futures.Executor, or None")
        _require_picklable(executor, job)
    folder = None if checkpoint is None else Folder(as_path(checkpoint, "checkpoint"), job.label(), max_time)
    kept = [folder.load(point) if folder else None for point in points]
    rows = {i: row for i, row in enumerate(kept) if row is not None}
    missing = [i for i in range(len(points)) if i not in rows]
    with _single_threads(), _bar(len(points), len(rows), progress) as advance:
        for i, row in _compute(executor, job, [(i, points[i]) for i in missing]):
            rows[i] = row
            if folder and row.status != FAILED:
                folder.save(points[i], row)
            advance()
    axes = {name: list(dict.fromkeys(point[name] for point in points)) for name in over}
    dataset: xarray.Dataset = _dataset(axes, [rows[i] for i in range(len(points))])
    return dataset


@dataclass(frozen=True)
class _Job:
    """One run, wherever it is computed."""

    run: Callable[..., Any]
    options: Mapping[str, Any]
    times: FloatArray | None
    max_time: float | None

    def row(self, point: Point) -> Row:
        return self.compute(point) if self.max_time is None else within(self.max_time, self.compute, point)

    def compute(self, point: Point) -> Row:
        set_num_threads(1)
        try:
            return row_of(self.run(**self.arguments(point)), self.times)
        except (OutOfTime, KeyboardInterrupt):
            raise
        except BaseException as error:
            return Row(status=FAILED, message=f"{type(error).__name__}: {error}")

    def arguments(self, point: Point) -> dict[str, Any]:
        """Return the arguments of `run`, with the problem that a function in its place makes."""
        if self.factory is None:
            return {**self.options, **point}
        mine = {name: point[name] for name in inspect.signature(self.factory).parameters if name in point}
        problem, w0 = self.factory(**mine)
        rest = {name: value for name, value in point.items() if name not in mine}
        return {**self.options, **rest, "problem": problem, "w0": w0}

    @property
    def factory(self) -> Callable[..., Any] | None:
        """The function in the place of a problem, if there is one."""
        given = self.options.get("problem")
        return given if callable(given) and not isinstance(given, Problem) else None

    def label(self) -> str:
        """Return what tells this function and its options from others; functions are told by their names."""
        return json.dumps(_label({"run": self.run, "options": self.options, "times": self.times}))

    def require(self, point: Point) -> None:
        """Raise TypeError if `run` does not take these arguments."""
        names = set(point) | set(self.options)
        if self.factory is not None:
            names -= set(inspect.signature(self.factory).parameters) & set(point)
            names.add("w0")
        try:
            inspect.signature(self.run).bind(**dict.fromkeys(names))
        except TypeError as error:
            raise TypeError(f"run cannot be called with {', '.join(sorted(names))}: {error}") from None
        except ValueError:
            pass  # a function that does not tell its arguments


def grid_points(over: Mapping[str, Iterable[Any]]) -> list[Point]:
    """Return every combination of the values, the last name fastest."""
    if not isinstance(over, Mapping) or not over:
        raise TypeError(f"over is {over!r}; it must be a dict that names arguments of run, with their values")
    axes = {}
    for name, values in over.items():
        if not isinstance(name, str) or isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
            raise TypeError(f"over[{name!r}] is {values!r}; it must be a sequence of values")
        axes[name] = [value.item() if isinstance(value, np.generic) else value for value in values]
        wrong = [value for value in axes[name] if not isinstance(value, SCALARS) or value != value]
        if wrong:
            raise TypeError(f"over[{name!r}] has {wrong[0]!r}; values are numbers, texts or truth values")
        if not axes[name] or len(set(axes[name])) < len(axes[name]):
            what = "is empty" if not axes[name] else "names a value twice"
            raise ValueError(f"over[{name!r}] {what}")
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _label(value: Any) -> Any:
    if value is None or isinstance(value, SCALARS):
        return value
    if isinstance(value, Mapping):
        return {str(name): _label(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_label(item) for item in value]
    if isinstance(value, np.ndarray):
        return hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def _require_picklable(executor: Executor, job: _Job) -> None:
    """Raise TypeError if the executor cannot send the job to where it computes."""
    if isinstance(executor, ThreadPoolExecutor):
        return
    try:
        _dumps(executor)(job)
    except Exception as error:
        raise TypeError(
            f"{type(executor).__name__} cannot send run or its options to another process ({error}): define "
            "functions at the top of a module, not as lambda or inside another; or use threads "
            "(executor=None), or Dask, which sends such functions as well"
        ) from error


def _dumps(executor: Executor) -> Callable[[Any], bytes]:
    """Return how an executor sends things: Dask, Ray and loky send functions that pickle cannot."""
    names = {kind.__module__ for kind in type(executor).__mro__}
    if not any(name == "concurrent.futures.process" or name.startswith("mpi4py.") for name in names):
        with suppress(ImportError):
            from cloudpickle import dumps

            return dumps  # type: ignore[no-any-return]
    return pickle.dumps


def _compute(
    executor: Executor | None, job: _Job, work: list[tuple[int, Point]]
) -> Iterator[tuple[int, Row]]:
    """Yield (index, row) of each run as it is done; an executor that loses a run has made it fail."""
    own = ThreadPoolExecutor(os.cpu_count()) if executor is None else None
    futures: dict[Future[Row], int] = {}
    try:
        for i, point in work:
            futures[(own or executor).submit(_Job.row, job, point)] = i  # type: ignore[union-attr]
        for future in as_completed(futures):
            error = future.exception()
            if error is None:
                yield futures.pop(future), future.result()
            else:
                yield futures.pop(future), Row(status=FAILED, message=f"{type(error).__name__}: {error}")
    finally:
        for future in futures:
            future.cancel()
        if own:
            own.shutdown(wait=True)


@contextmanager
def _single_threads() -> Iterator[None]:
    before = get_num_threads()
    try:
        yield
    finally:
        set_num_threads(before)


@contextmanager
def _bar(total: int, done: int, shown: bool) -> Iterator[Callable[[], None]]:
    if not shown:
        yield lambda: None
        return
    try:
        from rich.progress import Progress
    except ImportError:
        raise ImportError('progress=True needs rich: pip install "grokflow[app]"') from None
    with Progress(transient=True) as bar:
        task = bar.add_task("sweep", total=total, completed=done)
        yield lambda: bar.advance(task)


def _xarray() -> ModuleType:
    try:
        import xarray
    except ImportError as error:
        raise ImportError('sweep needs xarray: pip install "grokflow[xarray]"') from error
    return xarray


def _dataset(axes: dict[str, list[Any]], rows: list[Row]) -> Any:
    """Return the rows, which go through the grid with the last axis fastest, as an `xarray.Dataset`."""
    xarray = _xarray()
    shape = tuple(len(values) for values in axes.values())
    names = tuple(axes)
    told = {
        what: (names, np.array([getattr(row, what) for row in rows]).reshape(shape))
        for what in ("status", "message")
    }
    variables: dict[str, Any] = {}
    coords: dict[str, Any] = {}
    for row in rows:
        for name, grid in row.coords.items():
            if not np.array_equal(coords.setdefault(name, grid), grid):
                raise ValueError(
                    "runs have recorded different times: give all the same t_eval, or a common grid (times)"
                )
        for name, (dims, array) in row.values.items():
            kept = variables.setdefault(name, (names + dims, np.full(shape + array.shape, np.nan)))
            if kept[1].shape[len(shape) :] != array.shape:
                raise ValueError(
                    f"runs have returned {name} of shapes {kept[1].shape[len(shape) :]} and {array.shape}"
                )
    for i, row in enumerate(rows):
        at = np.unravel_index(i, shape)
        for name, (_, array) in row.values.items():
            variables[name][1][at] = array
    return xarray.Dataset(told | variables, coords=axes | coords)
