"""How much memory the library may ask for: more is refused before it is taken."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from grokflow._validate import as_positive

SHARE = 0.8  # of what there is, by default
SMALL = 16 * 2**20  # bytes that are asked for without a look

_limit: float | None = None


class MemoryLimitError(MemoryError, ValueError):
    """A computation would take more memory than it may; nothing has been computed yet."""


def set_memory_limit(limit: float | None) -> None:
    """Set how many bytes a single computation may ask for, from now on, in the whole process.

    Models, matrices (Jacobians, kernels, Hessians), flows and the states that they record are measured before
    they are made, and what exceeds the limit raises MemoryError. The budgets of curvatures
    (``gf.Auto(memory_budget=)``) are cut to it. What functions of your own allocate is not seen.

    Parameters
    ----------
    limit : float or None
        In bytes. None is the default: four fifths of the memory of the machine, or of the container or the
        process where these have limits (cgroups, which are read once; ``ulimit -v``).

    Raises
    ------
    TypeError
        If `limit` is no number.
    ValueError
        If `limit` is not positive.
    """
    global _limit
    _limit = None if limit is None else as_positive("limit", limit)


def get_memory_limit() -> float:
    """Return how many bytes a single computation may ask for; see :func:`set_memory_limit`."""
    return SHARE * available() if _limit is None else _limit


def require_memory(what: str, numbers: float) -> None:
    """Raise MemoryLimitError if `numbers` of double precision are more than the limit."""
    need = 8 * numbers
    if (_limit is not None or need > SMALL) and need > get_memory_limit():
        raise MemoryLimitError(
            f"{what}, which take {gibibytes(need)} of memory or more; this process may use "
            f"{gibibytes(get_memory_limit())} (see grokflow.set_memory_limit)"
        )


def gibibytes(size: float) -> str:
    """Return a size in bytes as text."""
    return f"{min(size, 1e300) / 2**30:.3g} GiB"


def available() -> float:
    """Return the bytes of memory of this machine, container or process; infinity where none tells."""
    return min([math.inf, *_machine(), *_container(), *_process()])


def _machine() -> Iterator[float]:
    try:
        yield float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return


@cache  # reading these files takes longer than all else that starts a flow
def _container(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> tuple[float, ...]:
    """The limits of all control groups that this process was in when this was first asked for."""
    try:
        groups = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return ()
    limits = []
    for _, controllers, path in groups:
        if controllers and "memory" not in controllers.split(","):
            continue
        base, name = (root / "memory", "memory.limit_in_bytes") if controllers else (root, "memory.max")
        group = base / path.strip("/")
        for folder in [group, *group.parents]:
            if base in (folder, *folder.parents):
                try:
                    limits.append(float((folder / name).read_text()))  # "max" is no number: there is no limit
                except (OSError, ValueError):
                    continue
    return tuple(limits)


def _process() -> Iterator[float]:
    if sys.platform != "win32":
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if soft != resource.RLIM_INFINITY:
            yield float(soft)
