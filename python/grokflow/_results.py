"""What a function of the user's has returned: converted, warned of or refused, as the compiled side asks."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

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
