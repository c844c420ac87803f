"""What the compiled side asks of Python around a call of the user's function: the paths that are not hot."""

from __future__ import annotations

import traceback as tracebacks
from types import FrameType, TracebackType
from typing import Any, NoReturn

import numpy as np

from grokflow._backend import core
from grokflow._validate import FloatArray
from grokflow._warnings import warn
from grokflow.callbacks import CallbackError, PrecisionWarning


def convert(name: str, value: object, shape: tuple[int, ...]) -> tuple[FloatArray, bool]:
    """Return what callback `name` returned as contiguous float64, and whether it was less than double."""
    if value is None:
        raise CallbackError(name, "returned None; did you forget `return`?")
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise CallbackError(name, f"returned a {type(value).__name__}, which is no array: {error}") from error
    if array.dtype.kind not in "biuf":
        hint = "; its imaginary part is not dropped for you" if array.dtype.kind == "c" else ""
        raise CallbackError(name, f"returned dtype {array.dtype}, expected real numbers (float64){hint}")
    if array.shape != shape:
        got = f"shape {array.shape}" if array.ndim else "a number"
        expected = f"shape {shape}" if shape else "a number"
        raise CallbackError(name, f"returned {got}, expected {expected}")
    single = array.dtype.kind == "f" and array.dtype.itemsize < 8
    return np.asarray(array, dtype=np.float64, order="C"), single


def warn_precision(name: str) -> None:
    """Say that callback `name` returned single precision."""
    warn(f"{name} returned single precision (float32); rtol below 1e-6 cannot be met", PrecisionWarning)


def raise_asymmetric(name: str, asymmetry: float, tolerance: float) -> NoReturn:
    """Refuse a matrix A with the relative asymmetry max|A - A^T| / max|A|."""
    raise CallbackError(
        name,
        f"is not symmetric: max|A - A^T| / max|A| is {asymmetry:.3g}, at most {tolerance:g} is round-off",
    )


def raise_kept(name: str, argument: str) -> NoReturn:
    """Refuse a callback that began to keep its arguments after calls in which it did not."""
    raise RuntimeError(
        f"{name} kept its argument {argument}, which is valid only during the call; "
        f"keep {argument}.copy() instead"
    )


def frames_of(error: BaseException, traceback: TracebackType | None) -> list[FrameType]:
    """Return the frames that `error`, and the exceptions it was raised from or during, keep alive."""
    frames = [frame for frame, _ in tracebacks.walk_tb(traceback)]
    seen, waiting = set(), [error]
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        frames += [frame for frame, _ in tracebacks.walk_tb(current.__traceback__)]
        waiting += [other for other in (current.__cause__, current.__context__) if other is not None]
    return list(dict.fromkeys(frames))


def replace_locals(frames: list[FrameType], lent: FloatArray) -> None:
    """Put copies in place of `lent` and its parts in the locals of `frames`: a debugger still sees them."""
    for frame in frames:
        names: dict[str, Any] = frame.f_locals
        for name, value in list(names.items()):
            if isinstance(value, np.ndarray) and np.may_share_memory(value, lent):
                names[name] = value.copy()
        core.store_locals(frame)


def clear_locals(frames: list[FrameType]) -> None:
    """Empty `frames`: something in their locals refers to an argument that will not be valid."""
    for frame in frames:
        try:
            frame.clear()
        except RuntimeError:  # still running, as a generator may be: the caller has a last resort
            continue
