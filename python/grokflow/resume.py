"""Runs that are taken up where another process has left them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import closing, contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

from grokflow._validate import as_path, as_vector
from grokflow.checkpoint.arguments import missing_in
from grokflow.checkpoint.fingerprint import require_same
from grokflow.checkpoint.journal import Journal, start_of
from grokflow.files import contents_of
from grokflow.flows import gradient_flow
from grokflow.limit.drift import norm_flow
from grokflow.limit.landing import limit_map
from grokflow.limit.two_phase import two_phase
from grokflow.problems import Problem, as_problem

FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function for function in (gradient_flow, limit_map, norm_flow, two_phase)
}
LIMITS = {"max_steps", "max_time", "callback"}  # what may have ended a run
# What may be given anew: functions, which a file cannot hold, and limits, which may have ended the run.
MAY_CHANGE = (
    "observe",
    "events",
    "callback",
    "regularizer",
    "max_steps",
    "max_time",
    "progress",
    "checkpoint_every",
    "checkpoint_errors",
)


def resume(path: str | os.PathLike[str], problem: Problem | None = None, **changes: Any) -> Any:
    """Take up a run from its checkpoint, and return what it would have returned.

    The steps are those of a run that was not interrupted, to the last bit, if the build of the library
    (``grokflow info``) and the functions of the problem are the same. Checkpoints go on being written to
    the same file.

    Parameters
    ----------
    path : path
        A file that `checkpoint=` of :func:`gradient_flow`, :func:`limit_map`, :func:`norm_flow` or
        :func:`two_phase` has written.
    problem : Problem, optional
        What was solved. Models of :mod:`grokflow.models` are in the file; a problem of your own functions
        is needed here, the same as before: another one is told by its sizes, or by its loss or gradient at
        the start.
    **changes
        Arguments of that function to be given anew: `observe`, `events`, `callback` and `regularizer` if
        they held functions, which a file cannot; limits `max_steps` and `max_time`, which count from here
        for `max_time`, and from the start for `max_steps`; `progress`, `checkpoint_every` and
        `checkpoint_errors`.

    Returns
    -------
    Solution, Landing or TwoPhase
        As that function does. A run that had come to its end is returned at once.

    Raises
    ------
    FileError
        The file is no checkpoint, damaged (where is told), of a later format, or another run is writing to
        it.
    OSError
        It cannot be read.
    TypeError, ValueError
        A function is missing, an argument cannot be changed, or the problem is another one.

    Examples
    --------
    >>> import tempfile, grokflow as gf
    >>> problem = gf.models.LinearRegression([[1.0, 1.0]], [2.0])
    >>> path = tempfile.mkdtemp() + "/run.ckpt"
    >>> half = gf.gradient_flow(
    ...     problem, [1.0, 0.0], (0, 1e3), weight_decay=0.01, max_steps=20, checkpoint=path
    ... )
    >>> half.status
    'max_steps'
    >>> gf.resume(path, max_steps=10_000).status
    'finished'
    """
    with closing(Journal.read(Path(os.path.realpath(as_path(path))))) as journal:
        return take_up(journal, problem, changes)


def take_up(journal: Journal, problem: Problem | None, changes: Mapping[str, Any]) -> Any:
    """Go on from a journal that was read; for the rest see `resume`."""
    arguments = dict(journal.arguments)
    with contents_of(journal.path, "checkpoint"):
        function = FUNCTIONS[journal.function]
        signature(function).bind(**arguments)
        expected = journal.fingerprint
        start = as_vector("w0", start_of(arguments), expected["num_params"])
        if LIMITS & changes.keys():
            journal.forget_after_limits()
    lacking = [name for name, value in arguments.items() if missing_in(value) is not None]
    unknown = [name for name in changes if name not in {*MAY_CHANGE, *lacking} or name not in arguments]
    if unknown:
        raise ValueError(
            f"{unknown[0]} cannot be changed in a run of {journal.function} that goes on; what can be is "
            f"{', '.join(name for name in MAY_CHANGE if name in arguments)}"
        )
    given = dict(changes) if problem is None else {**changes, "problem": problem}
    arguments |= given
    for name, value in arguments.items():
        missing = missing_in(value)
        if missing is not None:
            raise ValueError(
                f"{name} held {missing}, which a file cannot: give resume the same {name}= again"
            )
    with faults_of_file(journal.path, arguments.keys() - given.keys()):
        require_same(as_problem(arguments["problem"]), start, expected)
        return function(**arguments, checkpoint=journal)


@contextmanager
def faults_of_file(path: Path, stored: Set[str]) -> Iterator[None]:
    """Turn what is said of an argument that only the file can have given into a FileError."""
    try:
        yield
    except (TypeError, ValueError) as error:
        about = re.match(r"\w+", str(error))
        if about is None or about[0] not in stored or hasattr(error, "solution"):
            raise
        with contents_of(path, "checkpoint"):
            raise
