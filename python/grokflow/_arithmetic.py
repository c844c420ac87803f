"""What another library may have done to the arithmetic of this thread."""

from __future__ import annotations

import sys

from grokflow._warnings import warn


def warn_of_flushing() -> None:
    """Say that subnormal numbers count as zero here, if they do."""
    smallest = sys.float_info.min
    if smallest * 0.5 == 0.0:
        warn(
            f"numbers below {smallest:.2g} are flushed to zero in this thread: a library that was built with "
            "-ffast-math has set the processor so; load it after the computation, or build it without",
            RuntimeWarning,
        )
