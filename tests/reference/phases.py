"""Both phases of training with small weight decay, and the flows that they describe, side by side."""

from types import SimpleNamespace

import numpy as np

from reference.clocks import clocks
from reference.flows import gradient_flow
from reference.limit import (
    first_order_residual,
    horizon,
    limit_map,
    minimum_norm,
    norm_flow,
    step_beside,
)


class TwoPhase:
    """What `two_phase` has found; attributes as in grokflow."""

    def __init__(self, **found):
        self.__dict__.update(found)

    def composite(self, weight_decay, t=None, *, normal_correction=False):
        """Return w_fast(t) + w_slow(lam t) - Phi(w0), shape (T, d), integrated to the very times t."""
        t = self.flows[weight_decay].t if t is None else np.asarray(t, dtype=float)
        early = t[t < self.landing.t]
        s = np.minimum(weight_decay * t, self.s_end)
        fast = gradient_flow(self.problem, self.w0, (0, self.landing.t), weight_decay=0.0, t_eval=early,
                             observe=[], **self.tolerance).w  # fmt: skip
        slow = norm_flow(self.problem, self.landing.w, (0, self.s_end), regularizer=self.regularizer,
                         t_eval=s, observe=[], **self.tolerance).w  # fmt: skip
        slow[: len(early)] += fast - self.landing.w
        for w in slow[len(early) :] if normal_correction else ():
            w += step_beside(self.problem, w, self.decays[weight_decay])
        return slow

    def limits(self):
        """Return the landing, and the KKT point of the regularizer downhill from the drift's end."""
        end = minimum_norm(self.problem, self.slow.final, regularizer=self.regularizer)
        distance = np.linalg.norm(end.w - self.landing.w) / np.linalg.norm(self.landing.w)
        return SimpleNamespace(lam_first=self.landing.w, t_first=end.w, distance=distance)

    def predicted_loss(self, weight_decay):
        """Return the least loss, and (c/2) ||r||^2 of the first order residual at the states of the drift."""
        decay = self.decays[weight_decay]
        r = [first_order_residual(self.problem, w, decay) for w in self.slow.w]
        return self.problem.loss(self.slow.w[0]) + self.problem.scale / 2 * np.sum(np.square(r), axis=1)

    def grokking_times(self, train_tol, test_tol, by="loss"):
        """Return {lam: train, test, delay, predicted_delay, horizon}."""

        def learned(sol, part, tol):
            values = sol[named(part)]
            return stays_below(sol.t, 1 - values if by == "accuracy" else values, tol)

        def named(part):
            return f"{part}_{by}" if f"{part}_{by}" in self.fast.observed else by

        def predicted(lam, part, tol):
            s = learned(self.slow, part, tol)
            if np.isnan(s) or s > self.horizon[lam]:
                return np.nan
            near = self.slow.t <= self.horizon[lam] if s == 0 else np.abs(self.slow.t - s) < 0.4 * s
            rows = np.flatnonzero(near)
            rows = slice(max(rows[0] - 1, 0), rows[-1] + 1 + (s > 0))
            corrected = [w + step_beside(self.problem, w, self.decays[lam]) for w in self.slow.w[rows]]
            values = np.array([self.problem.quantity(named(part), w) for w in corrected])
            moved = stays_below(self.slow.t[rows], 1 - values if by == "accuracy" else values, tol)
            if s == 0:  # in the fast phase, or by the jump at its end, or once decay lets it
                t = learned(self.fast, part, tol)
                return np.maximum(self.landing.t if np.isnan(t) else t, moved / lam)
            return moved / lam if abs(moved - s) <= 0.2 * s else np.nan

        found = {}
        for lam, sol in self.flows.items():
            train, test = learned(sol, "train", train_tol), learned(sol, "test", test_tol)
            first, second = (
                predicted(lam, part, tol) for part, tol in (("train", train_tol), ("test", test_tol))
            )
            found[lam] = SimpleNamespace(
                train=train,
                test=test,
                delay=test - train,
                predicted_delay=second - first,
                horizon=self.horizon[lam] / lam,
            )
        return found


def two_phase(problem, w0, weight_decay=(1e-3, 1e-4, 1e-5), *, s_end=10.0, eps=0.1, kappa=10.0, rtol=1e-6,
              atol=1e-9, observe=None, regularizer="norm"):  # fmt: skip
    """Run every flow, the landing and the drift, and return a `TwoPhase`."""
    tolerance = {"rtol": rtol, "atol": atol}
    w0 = np.array(w0, dtype=float)
    decays = {max(decay.values()) if isinstance(decay, dict) else decay: decay for decay in weight_decay}
    decays = dict(sorted(decays.items(), reverse=True))
    flows = {}
    for lam, decay in decays.items():
        flows[lam] = gradient_flow(
            problem, w0, (0, s_end / lam), weight_decay=decay, observe=observe, regularizer=regularizer,
            **tolerance,
        )  # fmt: skip
    landing = limit_map(problem, w0, **tolerance)
    fast = gradient_flow(problem, w0, (0, landing.t), weight_decay=0.0, observe=observe, **tolerance)
    top, decay = next(iter(decays.items()))
    if isinstance(decay, dict):
        regularizer = {b: rate / top for b, rate in decay.items()}
    options = {"regularizer": regularizer, "observe": observe, **tolerance}
    slow = norm_flow(problem, landing.w, (0, s_end), **options)
    horizons = {lam: horizon(slow, lam, kappa) for lam in flows}
    reach = min([s_end, *(s for s in horizons.values() if s > eps)])
    distance, fitted = {}, {}
    for lam, sol in flows.items():
        s = np.minimum(lam * sol.t, s_end)
        drift = norm_flow(problem, landing.w, (0, s_end), t_eval=s, **options).w
        apart = np.linalg.norm(sol.w - drift, axis=1) / np.linalg.norm(drift, axis=1).max()
        late = s >= eps * (1 - 1e-9)
        distance[lam] = apart[late].max()
        if horizons[lam] > eps and apart[late & (s <= reach * (1 + 1e-9))].max(initial=0.0) > 5 * rtol:
            fitted[lam] = apart[late & (s <= reach * (1 + 1e-9))].max()
    slope = np.nan
    if len(fitted) > 1:
        slope = np.polyfit(np.log(list(fitted)), np.log(list(fitted.values())), 1)[0]
    return TwoPhase(
        problem=problem,
        w0=w0,
        fast=fast,
        landing=landing,
        slow=slow,
        flows=flows,
        distance=distance,
        slope=slope,
        horizon=horizons,
        clocks={lam: clocks(sol) for lam, sol in flows.items()},
        s_end=s_end,
        decays=decays,
        regularizer=regularizer,
        tolerance=tolerance,
    )


def stays_below(t, values, tol):
    """Return the first time from which on `values`, a power law between the records, are below `tol`."""
    last = next((i for i in reversed(range(len(t))) if values[i] >= tol), None)
    if last is None:
        return t[0]
    if last == len(t) - 1:
        return np.nan
    if t[last] == 0:  # no logarithm: a line over t
        return t[1] * np.log(values[0] / tol) / np.log(values[0] / values[1])
    fall = np.log(values[last + 1] / values[last]) / np.log(t[last + 1] / t[last])
    return t[last] * (tol / values[last]) ** (1 / fall)
