"""What a function of the user's has returned: converted, warned of or refused, as the compiled side asks."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from grokflow._validate import FloatArray
from grokflow._warnings import warn
from grokflow.callbacks import CallbackError, PrecisionWarning


def convert(name: str, value: object, shape: tuple[int, ...]) -> tuple[FloatArray, bool]:
    """Return what callback `name` returned as contiguous float64, and whether it was less than double."""
    array = real(name, value)
    if array.shape != shape:
        got = f"shape {array.shape}" if array.ndim else "a number"
        expected = f"shape {shape}" if shape else "a number"
        raise CallbackError(name, f"returned {got}, expected {expected}")
    single = array.dtype.kind == "f" and array.dtype.itemsize < 8
    return np.asarray(array, dtype=np.float64, order="C"), single


def observed(name: str, value: object) -> FloatArray:
    """Return what observable `name` returned, a number or a vector, as contiguous float64."""
    array = real(f"observable {name!r}", value)
    if array.ndim > 1:
        raise CallbackError(
            f"observable {name!r}", f"returned shape {array.shape}; it must be a number or a vector"
        )
    return np.asarray(array, dtype=np.float64, order="C")


def pair(name: str, value: object) -> tuple[Any, Any]:
    """Return what callback `name` returned as a pair."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise CallbackError(name, f"returned a {type(value).__name__}, expected a pair")
    return value[0], value[1]


def real(name: str, value: object) -> NDArray[Any]:
    """Return what `name` returned as an array of real numbers."""
    if value is None:
        raise CallbackError(name, "returned None; did you forget `return`?")
    try:
        array = np.asarray(value)
    except Exception as error:  # whatever the object says of itself
        hint = "; return x.detach().cpu().numpy()" if hasattr(value, "detach") else ""
        fault = f"returned a {type(value).__name__}, which is no array: {error}{hint}"
        raise CallbackError(name, fault) from error
    if array.dtype.kind not in "biuf":
        hint = "; its imaginary part is not dropped for you" if array.dtype.kind == "c" else ""
        raise CallbackError(name, f"returned dtype {array.dtype}, expected real numbers (float64){hint}")
    return array


def warn_precision(name: str) -> None:
    """Say that callback `name` returned single precision."""
    warn(f"{name} returned single precision (float32); rtol below 1e-6 cannot be met", PrecisionWarning)


def raise_asymmetric(name: str, asymmetry: float, tolerance: float) -> NoReturn:
    """Refuse a matrix A with the relative asymmetry max|A - A^T| / max|A|."""
    raise CallbackError(
        name,
        f"is not symmetric: max|A - A^T| / max|A| is {asymmetry:.3g}, at most {tolerance:g} is round-off",
    )
