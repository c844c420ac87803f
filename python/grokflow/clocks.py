"""The clocks of a run: when the fast phase ends, when weight decay takes over, when something is learnt."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from grokflow._validate import FloatArray, as_number, as_positive
from grokflow.curves import first_crossing, stays_below, value_at
from grokflow.trajectory import Trajectory, require_trajectory

MUCH = 100.0  # how many times smaller "much smaller" is


@dataclass(frozen=True)
class Clocks:
    """Characteristic times of a run, nan where they were not reached.

    Attributes
    ----------
    t_gf : float
        ||grad F(w)|| has fallen to ``eps`` times its first value: the flow is close to a critical point of F.
    t_wd : float
        ||grad F(w)|| = lam ||w||: the gradient is as small as the weight decay, and the slow phase begins.
        The state at this time is called the landing.
    t_final : float
        The last time of the run.
    separation : float
        ||grad F(w0)|| / (lam ||w_GF||), with w_GF the landing (or the last state before it).
    """

    t_gf: float
    t_wd: float
    t_final: float
    separation: float

    @property
    def expected(self) -> bool:
        """Whether grokking is to be expected: lam at least 100 times below ||grad F(w0)|| / ||w_GF||."""
        return self.separation >= MUCH


def clocks(sol: Trajectory, eps: float = 1e-3) -> Clocks:
    """Return the clocks of a run from its recorded ``grad_norm`` and ``norm``, by log-log interpolation.

    Parameters
    ----------
    sol : Solution
        A run that observed "grad_norm" and "norm", as it does by default.
    eps : float, default 1e-3
        The fraction of ||grad F(w0)|| that defines ``t_gf``.

    Returns
    -------
    Clocks

    Raises
    ------
    ValueError
        `sol` is a drift, "grad_norm" or "norm" was not observed (or "weight_decay", of a schedule), or
        ``eps`` is not between 0 and 1.

    Notes
    -----
    With a weight decay by parameter block the largest one is taken for lam.

    References
    ----------
    Boursier, Pesme, Dragomir, arXiv 2505.20172, Appendix E.
    """
    require_trajectory(sol)
    eps = as_number("eps", eps)
    if not 0.0 < eps < 1.0:
        raise ValueError(f"eps is {eps}; it must lie between 0 and 1")
    if "s_span" in sol.settings:
        raise ValueError("clocks are those of a flow, and sol is a drift, returned by norm_flow")
    missing = [name for name in ("grad_norm", "norm") if name not in sol.observed]
    if missing or not len(sol.t):
        what = " and ".join(missing) or "any time"
        raise ValueError(
            f"clocks need recorded gradient norms: this run did not record {what}; add it to observe="
        )
    lam = rate_of(sol)
    gradient, norm = sol["grad_norm"], sol["norm"]
    t_gf = first_crossing(sol.t, gradient, eps * gradient[0])
    t_wd = first_crossing(sol.t, gradient, lam * norm)
    landing = min(t for t in (t_wd, t_gf, sol.t[-1]) if not math.isnan(t))
    pull = value_at(sol.t, lam * norm, landing)
    separation = float(gradient[0] / pull) if pull > 0.0 else math.inf
    return Clocks(t_gf, t_wd, sol.t_final, separation)


def crossing_time(
    sol: Trajectory, name: str, *, below: float | None = None, above: float | None = None
) -> float:
    """Return the time from which on an observable stays below, or above, a level.

    Parameters
    ----------
    sol : Solution
    name : str
        What was observed, a number that is not negative.
    below, above : float
        The level, positive: one of the two.

    Returns
    -------
    float
        On straight lines in log-log axes between the records; nan if the run does not end on that side.

    Raises
    ------
    KeyError
        It was not observed.
    ValueError
        Not one of `below` and `above` is given, or the observable has several components.

    Examples
    --------
    >>> import grokflow as gf
    >>> problem = gf.models.LinearRegression([[1.0, 0.0]], [1.0])
    >>> sol = gf.gradient_flow(problem, [1.0, 1.0], (0, 1e3), weight_decay=1e-2)
    >>> round(crossing_time(sol, "norm", below=1.2))
    41
    """
    require_trajectory(sol)
    if (below is None) == (above is None):
        raise ValueError(f"below is {below} and above is {above}; give one of them")
    values = sol[name]
    if values.ndim > 1:
        raise ValueError(f"{name!r} has {values.shape[1]} components; a single number crosses a level")
    if below is not None:
        return stays_below(sol.t, values, as_positive("below", below))
    with np.errstate(divide="ignore"):
        return stays_below(sol.t, 1.0 / values, 1.0 / as_positive("above", above))


def rate_of(sol: Trajectory) -> FloatArray:
    """Return the largest rate of decay at the recorded times."""
    decay = sol.settings["weight_decay"]
    if not isinstance(decay, dict):
        return np.full(len(sol.t), float(decay))
    if "schedule" not in decay:
        return np.full(len(sol.t), max(decay.values()))
    if "weight_decay" not in sol.observed:
        raise ValueError("clocks of a schedule need its rates: add 'weight_decay' to observe=")
    return sol["weight_decay"]
