"""Checks of arguments, so that misuse is told before any work, with what was got and how to mend it."""

from __future__ import annotations

import math
import operator
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.float64]


def as_array(name: str, value: ArrayLike, ndim: int) -> FloatArray:
    """Return `value` as a C-contiguous float64 array of finite numbers, without a copy where it is one.

    Raises
    ------
    TypeError
        If the entries are not real numbers.
    ValueError
        If `value` is empty, ragged, masked, or not of `ndim` dimensions, or if an entry is nan or infinite.
    """
    array = as_real(name, value)
    if array.ndim != ndim:
        raise ValueError(f"{name} has shape {array.shape}; it must have {ndim} dimension{'s'[: ndim != 1]}")
    return finite(name, array)


def as_vector(name: str, value: ArrayLike, size: int) -> FloatArray:
    """Return `value` as a C-contiguous float64 vector of `size` finite numbers."""
    array = as_real(name, value)
    if array.shape != (size,):
        got = f"has shape {array.shape}" if array.size else "is empty"
        raise ValueError(f"{name} {got}; it must be ({size},)")
    return finite(name, array)


def as_real(name: str, value: ArrayLike) -> NDArray[Any]:
    """Return `value` as an array of booleans, integers or floating-point numbers."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(f"{name} has masked entries; fill or drop them first")
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} is ragged; its rows must have equal lengths") from None
    except Exception as error:  # whatever the object says of itself
        raise TypeError(f"{name} is a {type(value).__name__}, which is no array: {error}") from error
    if array.dtype.kind not in "biuf":
        got = "None" if value is None else f"dtype {array.dtype}"
        raise TypeError(f"{name} is {got}; it must hold real numbers (float64)")
    return array


def require_entries(name: str, array: NDArray[Any]) -> None:
    """Raise ValueError if `array` is empty."""
    if array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}; it must not be empty")


def finite(name: str, array: NDArray[Any]) -> FloatArray:
    """Return real numbers, one at least, as C-contiguous float64, if all of them are finite."""
    require_entries(name, array)
    with np.errstate(over="ignore"):  # of longer numbers; it is told below
        array = np.ascontiguousarray(array, dtype=np.float64)
    good = np.isfinite(array)
    if not good.all():
        index = np.unravel_index(int(np.argmin(good)), array.shape)
        where = ", ".join(str(int(i)) for i in index)
        raise ValueError(f"{name}[{where}] is {array[index]}; all entries must be finite")
    return array


def as_indices(name: str, value: ArrayLike, bound: int) -> NDArray[np.int64]:
    """Return `value` as a vector of integers in 0 <= i < bound."""
    array = as_real(name, value)
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}; it must have 1 dimension")
    require_entries(name, array)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} is dtype {array.dtype}; indices must be integers")
    outside = (array < 0) | (array >= bound)
    if outside.any():
        i = int(np.argmax(outside))
        raise ValueError(f"{name}[{i}] is {array[i]}; indices must lie in 0 <= i < {bound}")
    return np.ascontiguousarray(array, dtype=np.int64)


def as_number(name: str, value: object) -> float:
    """Return `value` as a finite float."""
    if isinstance(value, str | bytes | bool | np.bool_) or value is np.ma.masked:
        raise TypeError(f"{name} is {value!r}; it must be a real number")
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {value!r}; it must be a real number") from None
    except OverflowError:  # an integer of more than 308 digits
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} is {number}; it must be finite")
    return number


def as_positive(name: str, value: object) -> float:
    """Return `value` as a finite float greater than zero."""
    number = as_number(name, value)
    if number <= 0:
        raise ValueError(f"{name} is {number}; it must be positive")
    return number


def as_count(name: str, value: object, most: int | None = None, least: int = 1) -> int:
    """Return `value` as an integer of at least `least`, and of at most `most`."""
    try:
        count = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} is {value!r}; it must be an integer") from None
    if isinstance(value, bool):
        raise TypeError(f"{name} is {value}; it must be an integer")
    if abs(count) > sys.float_info.max:  # nor could it be printed
        raise ValueError(f"{name} is an integer of {count.bit_length()} bits, beyond what a machine counts")
    if count < least:
        raise ValueError(f"{name} is {count}; it must be at least {least}")
    if most is not None and count > most:
        raise ValueError(f"{name} is {count}; it must be at most {most}")
    return count


def is_list(value: object) -> TypeGuard[Sequence[Any]]:
    """Whether `value` is a list of things, as a list, a tuple or an array is, and no text."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview)


def as_widths(widths: object) -> tuple[int, ...]:
    """Return `widths` as integers of at least 1, one for each layer between input and output."""
    if not is_list(widths):
        raise TypeError(f"widths is {widths!r}; it must be a sequence of integers, e.g. (1000, 1000)")
    if len(widths) == 0:
        raise ValueError("widths is empty; give the neurons of one hidden layer at least, e.g. (1000,)")
    return tuple(as_count(f"widths[{i}]", width) for i, width in enumerate(widths))


def as_generator(seed: object) -> np.random.Generator:
    """Return the random numbers that begin with `seed`: what NumPy's `default_rng` takes."""
    try:
        if is_list(seed):  # NumPy looks into each entry, and dies where they do not end
            seed = np.asarray(seed)
            if seed.dtype.kind not in "iu":
                raise TypeError("no integers")
        return np.random.default_rng(seed)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        needed = "it must be an integer that is not negative, or a numpy.random.Generator"
        raise type(error)(f"seed is {seed!r}; {needed}") from None


def as_flag(name: str, value: object) -> bool:
    """Return `value`, True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {value!r}; it must be True or False")
    return bool(value)


def require_sorted(name: str, times: FloatArray) -> None:
    """Raise ValueError if a time is below the one before."""
    down = np.flatnonzero(np.diff(times) < 0)
    if down.size:
        i = int(down[0])
        raise ValueError(
            f"{name} is not sorted: {name}[{i}] = {times[i]:g} > {name}[{i + 1}] = {times[i + 1]:g}"
        )


def as_path(path: object, name: str = "path") -> Path:
    """Return `path` as one."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{name} is {path!r}; it must be a path")
    text = os.fspath(path)
    if not text or "\0" in text:
        raise ValueError(f"{name} is {text!r}, which names no file")
    return Path(path)


def as_choice(name: str, value: object, choices: Sequence[str]) -> str:
    """Return `value` if it is one of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} is {value!r}; choose from {', '.join(map(repr, choices))}")
    return value


def as_scale(scale: object, num_losses: int, num_samples: int | None = None) -> float:
    """Return the factor c of a sum of `num_losses` losses, several for each of the samples if they differ.

    That is one over the losses for "mean", over the samples for "samples", 1 for "sum", or the number given.
    """
    if not isinstance(scale, str):
        return as_positive("scale", scale)
    counts = {"mean": num_losses, "sum": 1, "samples": num_samples or num_losses}
    return 1.0 / counts[as_choice("scale", scale, list(counts))]


def as_inputs(name: str, X: ArrayLike, columns: int | None = None) -> FloatArray:
    """Return `X` as a matrix with one sample per row."""
    inputs = as_real(name, X)
    if inputs.ndim == 1:
        raise ValueError(f"{name} has 1 dimension; it must be (samples, features), e.g. {name}[:, None]")
    inputs = as_array(name, inputs, 2)
    if columns is not None and inputs.shape[1] != columns:
        raise ValueError(f"{name} has {inputs.shape[1]} columns; the training inputs have {columns}")
    return inputs


def as_targets(name: str, y: ArrayLike, samples: int) -> FloatArray:
    """Return `y` as a vector with one target per sample."""
    targets = as_real(name, y)
    if targets.ndim == 2 and targets.shape[1] > 1:
        raise ValueError(f"{name} has {targets.shape[1]} columns; this model has a single output")
    if targets.shape not in [(samples,), (samples, 1)]:
        raise ValueError(
            f"{name} has shape {targets.shape}; it must be ({samples},), one target per row of X"
        )
    return finite(name, targets.reshape(-1))


def as_output_targets(name: str, y: ArrayLike, samples: int) -> FloatArray:
    """Return `y` with one target per sample, shape (samples,), or one per output, (samples, outputs)."""
    targets = as_real(name, y)
    if targets.ndim not in (1, 2) or targets.shape[0] != samples:
        raise ValueError(
            f"{name} has shape {targets.shape}; it must be ({samples},) or ({samples}, outputs), "
            "one row per row of X"
        )
    return finite(name, targets)


def as_entries(
    prefix: str, rows: ArrayLike, cols: ArrayLike, values: ArrayLike, shape: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]:
    """Return copies of the entries of a matrix, checked to lie in `shape` and to differ."""
    i = as_indices(f"{prefix}rows", rows, shape[0])
    j = as_indices(f"{prefix}cols", cols, shape[1])
    if j.size != i.size:
        raise ValueError(f"{prefix}cols has {j.size} entries; {prefix}rows has {i.size}")
    numbers = as_vector(f"{prefix}values", values, i.size)
    order = np.lexsort((j, i))
    same = (np.diff(i[order]) == 0) & (np.diff(j[order]) == 0)
    if same.any():
        first, second = sorted(order[int(np.argmax(same)) :][:2])
        raise ValueError(
            f"the {prefix}entry ({i[first]}, {j[first]}) occurs twice, at {first} and {second}; keep one"
        )
    return i.copy(), j.copy(), numbers.copy()
