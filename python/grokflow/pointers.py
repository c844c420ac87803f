"""Compiled functions of the user's: their addresses, and the signatures that they must have."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping
from typing import Any

FUNCTION = "int (const double *, double *, void *)"
PRODUCT = "int (const double *, const double *, double *, void *)"
SIGNATURES = {  # as in grokflow/callbacks.h
    "residual": FUNCTION,
    "jvp": PRODUCT,
    "vjp": PRODUCT,
    "loss": FUNCTION,
    "gradient": FUNCTION,
    "hvp": PRODUCT,
}
NAMES = {
    ctypes.c_int: "int",
    ctypes.c_double: "double",
    ctypes.c_void_p: "void *",
    ctypes.POINTER(ctypes.c_double): "double *",
    None: "void",
}
_ANY_FUNCTION = ctypes.CFUNCTYPE(None).__mro__[1]  # the base of all pointers to functions

_capsule = ctypes.pythonapi
_capsule.PyCapsule_GetPointer.restype = _capsule.PyCapsule_GetContext.restype = ctypes.c_void_p
_capsule.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
_capsule.PyCapsule_GetContext.argtypes = [ctypes.py_object]


def pointers_of(functions: Mapping[str, Any]) -> dict[str, tuple[int, int]] | None:
    """Return address and data of each function, if all are compiled; None, if none is.

    Raises
    ------
    TypeError
        Some are compiled and some are not, or one has no signature, or another, or cannot be compiled.
    ValueError
        A pointer is null.
    """
    for name, function in functions.items():
        if isinstance(function, (int, ctypes.c_void_p)) or type(function).__name__ == "PyCapsule":
            expected = f", which must be {SIGNATURES[name]}" if name in SIGNATURES else ""
            raise TypeError(
                f"{name} is {function!r}; it must be a function: an address has no signature{expected}; give "
                "the @cfunc itself, a ctypes function pointer with argtypes, or a scipy.LowLevelCallable"
            )
    compiled = {name: _is_compiled(function) for name, function in functions.items()}
    if not any(compiled.values()):
        return None
    if not all(compiled.values()):
        one, other = (
            next(name for name, is_one in compiled.items() if is_one == what) for what in (True, False)
        )
        raise TypeError(f"{one} is a compiled function and {other} is not; give all of one kind")
    wrong = functions.keys() - SIGNATURES.keys()
    if wrong:
        raise TypeError(f"{min(wrong)} cannot be a compiled function; give {', '.join(SIGNATURES)}")
    return {name: _pointer(name, function) for name, function in functions.items()}


def _is_compiled(function: Any) -> bool:
    return isinstance(function, _ANY_FUNCTION) or _is_numba(function) or _is_low_level(function)


def _is_numba(function: Any) -> bool:
    return isinstance(getattr(function, "ctypes", None), _ANY_FUNCTION)


def _is_low_level(function: Any) -> bool:
    kind = type(function)
    return kind.__name__ == "LowLevelCallable" and kind.__module__.startswith("scipy.")


def _pointer(name: str, function: Any) -> tuple[int, int]:
    data = None
    if _is_low_level(function):
        signature = function.signature
        capsule = tuple.__getitem__(function, 0)
        address = _capsule.PyCapsule_GetPointer(capsule, signature.encode())
        data = _capsule.PyCapsule_GetContext(capsule)
    else:
        function = function.ctypes if _is_numba(function) else function
        signature = _signature(function)
        address = ctypes.cast(function, ctypes.c_void_p).value
    if _plain(signature) != _plain(SIGNATURES[name]):
        raise TypeError(f"{name} has the signature {signature}; it must be {SIGNATURES[name]}")
    if not address:
        raise ValueError(f"{name} is a null pointer")
    return address, data or 0


def _signature(function: Any) -> str:
    if function.argtypes is None:
        return "int (?), as its argtypes are not set"
    arguments = ", ".join(NAMES.get(kind, kind.__name__) for kind in function.argtypes)
    result = NAMES.get(function.restype, getattr(function.restype, "__name__", "?"))
    return f"{result} ({arguments})"


def _plain(signature: str) -> str:
    """Without const and blanks, which no call depends on."""
    return re.sub(r"\bconst\b|\s", "", signature)
