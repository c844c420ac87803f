"""Warnings that name the user's line."""

from __future__ import annotations

import sys
import warnings

PACKAGE = __name__.partition(".")[0]


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn of what the first line outside this package, on the way back to the user, has asked for."""
    frame, level = sys._getframe(), 1
    while (caller := frame.f_back) and str(frame.f_globals.get("__name__")).partition(".")[0] == PACKAGE:
        frame, level = caller, level + 1
    warnings.warn(message, category, stacklevel=level)
