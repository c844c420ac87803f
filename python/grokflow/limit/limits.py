"""The two iterated limits of a flow with weight decay, side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grokflow._validate import FloatArray
from grokflow.limit.minimum import minimum_norm
from grokflow.problems import Problem
from grokflow.regularizers import Regularization


@dataclass(frozen=True, eq=False)
class Limits:
    """Where a flow ends for vanishing decay, and where for decay that vanishes after it has ended.

    Attributes
    ----------
    lam_first : ndarray, shape (d,)
        ``lim_t lim_lam w``: the landing of the flow without decay.
    t_first : ndarray, shape (d,)
        ``lim_lam lim_t w``: where the drift comes to rest, the KKT point of the norm on the manifold.
    distance : float
        Between the two, over the norm of the first; 0 where the limits commute.
    quantities : dict of str to (float, float)
        Losses, accuracies and the norm at both.
    status : str
        What the second is: "minimum", "saddle" or "max_steps", as of :func:`minimum_norm`.
    """

    lam_first: FloatArray
    t_first: FloatArray
    distance: float
    quantities: dict[str, tuple[float, float]]
    status: str

    def __repr__(self) -> str:
        rows = [("", "lim_t lim_lam", "lim_lam lim_t")]
        rows += [(name, f"{a:.6g}", f"{b:.6g}") for name, (a, b) in self.quantities.items()]
        table = "\n".join(f"  {name:<16}{a:>14}{b:>16}" for name, a, b in rows)
        return f"Limits: apart by {self.distance:.3g} of the norm, {self.status}\n{table}"


def both_limits(
    problem: Problem, landed: FloatArray, slow_end: FloatArray, regularizer: Regularization
) -> Limits:
    """Return both, of a drift that has come to `slow_end`."""
    found = minimum_norm(problem, slow_end, regularizer=regularizer)
    values = {
        name: (problem.quantity(name, landed), problem.quantity(name, found.w)) for name in problem.quantities
    }
    return Limits(
        lam_first=landed,
        t_first=found.w,
        distance=float(np.linalg.norm(found.w - landed) / (np.linalg.norm(landed) or 1.0)),
        quantities={
            name: (float(a), float(b))
            for name, (a, b) in values.items()
            if name != "grad_norm" and np.ndim(a) == 0
        },
        status=found.status,
    )
