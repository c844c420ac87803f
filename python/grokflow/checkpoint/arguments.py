"""The arguments of a run as JSON and arrays, and back.

Functions cannot be stored: their place is marked, and whoever takes the run up again gives them anew. A
model of the library is stored by the arguments that it was made with.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grokflow import losses, methods, models, schedules
from grokflow.models.model import Model

Arrays = list[NDArray[Any]]
SETTINGS = {"method": methods, "loss": losses, "schedule": schedules}


def encode(value: Any, arrays: Arrays) -> Any:
    """Return `value` as JSON; arrays in it are appended to `arrays` and named by their place there."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {"mapping": [[encode(key, arrays), encode(entry, arrays)] for key, entry in value.items()]}
    if isinstance(value, Sequence):
        return [encode(entry, arrays) for entry in value]
    if isinstance(value, Model):
        return {
            "model": type(value).__name__,
            "arguments": encode(value._arguments, arrays),
            "drawn": encode(value._drawn, arrays),
        }
    kind = type(value).__name__
    for name, home in SETTINGS.items():
        if is_dataclass(value) and getattr(home, kind, None) is type(value):
            given = {f.name: encode(getattr(value, f.name), arrays) for f in fields(value)}
            return {name: kind, "arguments": given}
    return {"function": f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', kind)}"}


def decode(value: Any, arrays: Arrays) -> Any:
    """Return what `encode` was given, with a `Missing` in the place of each function."""
    if isinstance(value, list):
        return [decode(entry, arrays) for entry in value]
    if not isinstance(value, dict):
        return value
    if "float" in value:
        return float(value["float"])
    if "array" in value:
        return arrays[value["array"]]
    if "mapping" in value:
        return {decode(key, arrays): decode(entry, arrays) for key, entry in value["mapping"]}
    if "model" in value:
        arguments = decode(value["arguments"], arrays)
        missing = missing_in(arguments)
        if missing is not None:
            return Missing(missing)
        model = getattr(models, value["model"])(**arguments)
        model._drawn.update(decode(value["drawn"], arrays))
        return model
    for name, home in SETTINGS.items():
        if name in value:
            given = {key: decode(entry, arrays) for key, entry in value["arguments"].items()}
            missing = missing_in(given)
            return getattr(home, value[name])(**given) if missing is None else Missing(missing)
    return Missing(value["function"])


class Missing:
    """Stands for a function that a checkpoint could not hold."""

    def __init__(self, name: str) -> None:
        self.name = name


def missing_in(value: Any) -> str | None:
    """Return the name of a function that is missing in an argument, or None."""
    if isinstance(value, Missing):
        return value.name
    entries = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((name for name in map(missing_in, entries) if name is not None), None)
