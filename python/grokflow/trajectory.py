"""What a flow leaves: times, states, what was observed, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grokflow._manual import ENDS
from grokflow.problems import Problem

MODE_CHANGE = np.dtype([("t", "f8"), ("neuron", "i8"), ("sample", "i8"), ("kind", "U7")])


@dataclass(frozen=True, eq=False, repr=False)
class Trajectory:
    """The data of a `Solution`, which documents them: all that clocks and figures see."""

    t: NDArray[np.float64]
    w: NDArray[np.float64] | None
    observed: dict[str, NDArray[np.float64]]
    final: NDArray[np.float64]
    t_final: float
    t_events: list[NDArray[np.float64]] = field(default_factory=list)
    w_events: list[NDArray[np.float64]] = field(default_factory=list)
    status: str = "finished"
    message: str = ""
    stats: dict[str, int | float | str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    monitor: dict[str, NDArray[Any]] = field(default_factory=dict)
    mode_changes: NDArray[np.void] = field(default_factory=lambda: np.empty(0, MODE_CHANGE))
    problem: Problem | None = None

    @property
    def success(self) -> bool:
        """Whether the flow came to the end of the time span, to a terminal event, or to rest."""
        return self.status in ENDS

    @property
    def rank_changes(self) -> list[tuple[float, int, int]]:
        """Where the rank of the Hessian changed along a drift: (s, rank before, rank after) of each."""
        if not self.monitor:
            return []
        rank = self.monitor["rank"]
        return [
            (float(self.monitor["s"][i + 1]), int(rank[i]), int(rank[i + 1]))
            for i in np.flatnonzero(np.diff(rank))
        ]

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        """Return the observed values called ``name``, shape (T,) or (T, k)."""
        if not isinstance(name, str) or name not in self.observed:
            raise KeyError(f"{name!r} was not observed; observed are {sorted(self.observed)}")
        return self.observed[name]

    def __getstate__(self) -> dict[str, Any]:
        """The problem may hold functions of the user's, which cannot be pickled."""
        return {**self.__dict__, "problem": None}


def require_trajectory(sol: object) -> None:
    """Raise TypeError if `sol` is no result of a run."""
    if not isinstance(sol, Trajectory):
        raise TypeError(f"sol is {sol!r}; it must be a Solution")
