"""The clocks of a run, by bisection on the log-log interpolant of what was recorded."""

from types import SimpleNamespace

import numpy as np


def clocks(sol, eps=1e-3):
    """Return t_gf, t_wd, t_final and separation; a time is nan if it was not reached."""
    decay = sol.settings["weight_decay"]
    lam = max(decay.values()) if isinstance(decay, dict) else decay
    gradient, norm = sol["grad_norm"], sol["norm"]
    t_gf = _crossing(sol.t, np.log(gradient) - np.log(eps * gradient[0]))
    t_wd = _crossing(sol.t, np.log(gradient) - np.log(lam * norm)) if lam > 0 else np.nan
    landing = np.nanmin([t_gf, t_wd, sol.t[-1]])
    pull = lam * np.exp(np.interp(np.log(landing), _log(sol.t), np.log(norm)))
    return SimpleNamespace(
        t_gf=t_gf, t_wd=t_wd, t_final=sol.t_final, separation=gradient[0] / pull if pull > 0 else np.inf
    )


def crossing_time(sol, name, *, below=None, above=None):
    """Return the time from which on an observable is on one side of a level; nan if it does not end there."""
    gap = _log(sol[name]) - np.log(below) if above is None else np.log(above) - _log(sol[name])
    wrong = np.flatnonzero(~(gap < 0))
    last = wrong[-1] if len(wrong) else 0
    if len(wrong) and last == len(sol.t) - 1:
        return np.nan
    return _crossing(sol.t[last:], gap[last:]) if len(wrong) else sol.t[0]


def _crossing(t, gap):
    """Return the first t with gap <= 0, where gap is linear in log t between the records."""
    if not np.any(gap <= 0):
        return np.nan
    end = int(np.argmax(gap <= 0))
    low, high = _log(t)[[max(end - 1, 0), end]]
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if np.interp(middle, _log(t), gap) > 0 else (low, middle)
    return np.exp(high)


def _log(t):
    return np.log(np.maximum(t, np.finfo(float).tiny))
