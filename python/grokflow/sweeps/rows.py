"""What one run of a sweep has returned, as arrays with named dimensions, and its file."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from grokflow._validate import FloatArray
from grokflow.files import write_atomically
from grokflow.limit.two_phase import TwoPhase
from grokflow.solution import Solution

Point = dict[str, Any]  # name of an argument -> a number, a text or a truth value
FAILED = "failed"  # the status of a run that raised an exception
OUT_OF_TIME = ("time_limit", "incomplete")  # what another budget may change
HEADER = "json"


@dataclass(frozen=True)
class Row:
    """Name -> (dimensions, array); coordinates likewise; how the run ended, and why."""

    values: dict[str, tuple[tuple[str, ...], FloatArray]] = field(default_factory=dict)
    coords: dict[str, FloatArray] = field(default_factory=dict)
    status: str = "finished"
    message: str = ""


def row_of(result: object, times: FloatArray | None) -> Row:
    """Return what a run has returned; the curves of a solution at `times`, or at its own.

    Raises
    ------
    TypeError, ValueError
        It is neither a solution, nor made of numbers.
    """
    if isinstance(result, Solution):
        return _of_solution(result, times)
    if isinstance(result, TwoPhase):
        numbers = {
            "slope": result.slope,
            "distance": list(result.distance.values()),
            "horizon": list(result.horizon.values()),
            "t_gf": [clock.t_gf for clock in result.clocks.values()],
            "t_wd": [clock.t_wd for clock in result.clocks.values()],
        }
        return Row(_arrays(numbers), {}, "finished" if result.success else "incomplete", result.message)
    return Row(_arrays(result if isinstance(result, Mapping) else {"value": result}))


def _of_solution(sol: Solution, times: FloatArray | None) -> Row:
    grid = sol.t if times is None else times
    values: dict[str, tuple[tuple[str, ...], FloatArray]] = {}
    for name, recorded in sol.observed.items():
        columns = recorded.reshape(len(sol.t), -1).T
        curves = [np.interp(grid, sol.t, column, left=np.nan, right=np.nan) for column in columns]
        shape = (len(grid), *recorded.shape[1:])
        values[name] = (("time", f"{name}_component")[: recorded.ndim], np.array(curves).T.reshape(shape))
    values["t_final"] = ((), np.array(sol.t_final))
    return Row(values, {"time": np.asarray(grid)}, sol.status, sol.message)


def _arrays(numbers: Mapping[Any, Any]) -> dict[str, tuple[tuple[str, ...], FloatArray]]:
    values = {}
    for name, value in numbers.items():
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"run returned {name} = {value!r}; it must return numbers, arrays or a Solution")
        values[str(name)] = (tuple(f"{name}_{i}" for i in range(array.ndim)), array.astype(np.float64))
    return values


class Folder:
    """Where rows are kept, each in a file of its own that is whole or absent."""

    def __init__(self, path: Path, label: str, max_time: float | None = None) -> None:
        """Open or make the folder of the runs that `label` describes, each with so many seconds.

        Raises
        ------
        ValueError
            It holds the rows of others.
        OSError
            It cannot be made or read.
        """
        self._path, self._max_time = path, max_time
        path.mkdir(parents=True, exist_ok=True)
        written = path / "sweep.json"
        if not written.exists():
            write_atomically(written, label.encode())
        kept = written.read_text(encoding="utf-8")
        if kept != label:
            raise ValueError(f"{path} holds rows of {kept}, not of {label}; choose another checkpoint folder")

    def load(self, point: Point) -> Row | None:
        """Return the row that was kept; None if none can be read, or it ran out of another time."""
        try:
            with np.load(self._file(point)) as arrays:
                header = json.loads(str(arrays[HEADER]))
                if header["status"] in OUT_OF_TIME and header.get("max_time") != self._max_time:
                    return None
                dims, coords = header["dims"], header["coords"]
                values = {name: (tuple(dims[name]), arrays[f"value {name}"]) for name in dims}
                kept = {name: arrays[f"coord {name}"] for name in coords}
                return Row(values, kept, header["status"], header["message"])
        except (OSError, KeyError, ValueError, zipfile.BadZipFile):
            return None

    def save(self, point: Point, row: Row) -> None:
        header = {
            "point": point,
            "max_time": self._max_time,
            "status": row.status,
            "message": row.message,
            "dims": {name: list(dims) for name, (dims, _) in row.values.items()},
            "coords": list(row.coords),
        }
        stream = io.BytesIO()
        arrays: dict[str, Any] = {HEADER: np.array(json.dumps(header))}
        arrays |= {f"value {name}": array for name, (_, array) in row.values.items()}
        arrays |= {f"coord {name}": array for name, array in row.coords.items()}
        np.savez(stream, **arrays)
        write_atomically(self._file(point), stream.getvalue())

    def _file(self, point: Point) -> Path:
        text = json.dumps(point, sort_keys=True)
        return self._path / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.npz"
