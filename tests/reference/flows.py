"""The gradient flow dw/dt = -grad F(w) - D w in NumPy: short, obviously right, slow.

A `problem` has `loss(w)`, `gradient(w)` and `hessian(w)`, and `blocks` if the weight decay differs by block.
"""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial

import numpy as np

from reference.observe import observables

# Radau IIA of order 5, three stages: Hairer and Wanner, Solving ODEs II, table IV.5.6.
_R6 = np.sqrt(6)
_A = np.array(
    [
        [(88 - 7 * _R6) / 360, (296 - 169 * _R6) / 1800, (-2 + 3 * _R6) / 225],
        [(296 + 169 * _R6) / 1800, (88 + 7 * _R6) / 360, (-2 - 3 * _R6) / 225],
        [(16 - _R6) / 36, (16 + _R6) / 36, 1 / 9],
    ]
)


@dataclass(frozen=True)
class Solution:
    """The trajectory: t (T,), w (T, d), observed {name: (T,) or (T, k)}; the rest as in grokflow."""

    t: np.ndarray
    w: np.ndarray
    observed: dict
    final: np.ndarray
    t_final: float
    t_events: list
    w_events: list
    status: str
    settings: dict = field(default_factory=dict)
    monitor: dict = field(default_factory=dict)

    def __getitem__(self, name):
        return self.observed[name]

    @property
    def success(self):
        return self.status in ("finished", "event", "stationary")


def decay_rates(problem, weight_decay):
    """Return the diagonal of D (d,): one number for all, or {block or pattern: number}."""
    if not isinstance(weight_decay, dict):
        return weight_decay
    patterns = [key for key in weight_decay if key != "*"] + ["*"]
    rates = [
        weight_decay[name if name in weight_decay else next(p for p in patterns if fnmatchcase(name, p))]
        for name in problem.blocks
    ]
    return np.repeat(rates, [block.stop - block.start for block in problem.blocks.values()])


def linear_flow(problem, w0, t, weight_decay):
    """Return w (T, d) at the times t after w0 where the loss is quadratic: mode by mode of H + D."""
    D = decay_rates(problem, weight_decay) * np.ones(len(w0))
    rates, V = np.linalg.eigh(problem.hessian(w0) + np.diag(D))
    parts = V.T @ (-problem.gradient(w0) - D * w0)
    s = np.outer(t, np.where(rates == 0, 1e-300, rates))
    return (
        w0
        + (np.asarray(t)[:, None] * np.where(s == 0, 1, -np.expm1(-s) / np.where(s == 0, 1, s)) * parts) @ V.T
    )


def radau_step(rhs, jacobian, w, h, tolerance):
    """Return w(t + h), or None where Newton's method does not converge.

    The stages Z solve Z_i = h sum_j A_ij rhs(w + Z_j): Newton's method with the exact Jacobian of all three.
    """
    d = w.size
    Z = np.zeros((3, d))
    for _ in range(15):
        residual = Z - h * _A @ np.array([rhs(w + z) for z in Z])
        J = [jacobian(w + z) for z in Z]
        M = np.eye(3 * d) - h * np.block([[a * J[j] for j, a in enumerate(row)] for row in _A])
        dZ = np.linalg.solve(M, residual.ravel()).reshape(3, d)
        Z -= dZ
        if not np.isfinite(Z).all():
            return None
        if np.max(np.abs(dZ) / tolerance) < 1e-4:  # the next correction would be its square
            return w + Z[2]
    return None


def gradient_flow(
    problem,
    w0,
    t_span,
    *,
    weight_decay,
    rtol=1e-6,
    atol=1e-9,
    t_eval="log",
    observe=None,
    events=None,
    regularizer="norm",
):
    """Integrate from w0 (d,) over t_span = (t0, t1) by Radau IIA, and return a `Solution`."""
    from reference import limit, piecewise  # which build on this module

    options = {"rtol": rtol, "atol": atol, "t_eval": t_eval, "observe": observe, "events": events}
    if isinstance(regularizer, dict):
        weight_decay = {block: weight_decay * weight for block, weight in regularizer.items()}
    elif regularizer == "l1" or isinstance(regularizer, limit.L1):
        weights = weight_decay * limit.weights_of(regularizer, problem)
        return piecewise.follow(piecewise.SignModes(problem, weights), w0, t_span, **options)
    elif regularizer != "norm":
        R, lam = limit.as_regularizer(regularizer, problem), weight_decay
        weight_decay = 0.0
    if getattr(problem, "slopes", None):
        modes = piecewise.Modes(problem, decay_rates(problem, weight_decay))
        return piecewise.follow(modes, w0, t_span, **options)
    D = decay_rates(problem, weight_decay)
    smooth = not isinstance(regularizer, dict) and regularizer != "norm"

    def penalty(w):
        return lam * R.evaluate(w)[1] if smooth else np.zeros(w.size)

    def rhs(w):
        return -problem.gradient(w) - D * w - penalty(w)

    def jacobian(w, h=1e-6):
        slopes = [(penalty(w + h * e) - penalty(w - h * e)) / (2 * h) for e in np.eye(w.size)]
        return -problem.hessian(w) - D * np.eye(w.size) - np.transpose(slopes)

    sol = integrate(
        partial(radau_step, rhs, jacobian),
        5,
        w0,
        t_span,
        rtol=rtol,
        atol=atol,
        t_eval=t_eval,
        observe=observables(problem, observe),
        events=events,
    )
    sol.settings["weight_decay"] = weight_decay
    return sol


def recorded_times(t_eval, t, t1):
    """Return the times to record: t_eval, or for "log" 14 a decade from the first step on, and both ends."""
    if not isinstance(t_eval, str):
        return t_eval
    grid = t + 10 ** (np.arange(np.ceil(14 * np.log10((t1 - t) * 1e-6)), 14 * np.log10(t1 - t)) / 14)
    return [t, *grid[grid < t1], t1]


def integrate(one_step, order, w0, t_span, *, rtol, atol, t_eval, observe, events, watch=None):
    """Integrate by one_step(w, h, tolerance), which returns the new state, or None where it fails.

    Each step is compared with two steps of half its size, and their difference has to be within
    atol + rtol |w|. Steps end at the times t_eval (None: record the steps themselves) and, by bisection, at
    events. `watch(t, w)`, told of the start and of each step, ends the run by returning a status.
    """
    t, t1 = map(float, t_span)
    w = np.array(w0, dtype=float)
    h, status = (t1 - t) * 1e-6, "finished"
    t_eval = recorded_times(t_eval, t, t1)
    events = [] if events is None else [events] if callable(events) else list(events)
    t_events, w_events = [[] for _ in events], [[] for _ in events]
    stops = [t1] if t_eval is None else [*t_eval, t1]
    ts, ws = ([t], [w]) if t_eval is None else ([], [])
    if watch:
        status = watch(t, w) or status
    while True:
        while t_eval is not None and len(ts) < len(t_eval) and t_eval[len(ts)] <= t:
            ts.append(t)
            ws.append(w)
        if t >= t1 or status != "finished":
            break
        stop = next(s for s in stops if s > t)
        step = min(h, stop - t)
        tolerance = atol + rtol * np.abs(w)
        coarse = one_step(w, step, tolerance)
        half = one_step(w, step / 2, tolerance)
        fine = None if half is None else one_step(half, step / 2, tolerance)
        error = np.inf if coarse is None or fine is None else np.max(np.abs(fine - coarse) / tolerance)
        if error <= 1:
            t_new = stop if step == stop - t else t + step
            for i, event in enumerate(events):
                root = (t, w) if t == t_span[0] and event(t, w) == 0 else None
                root = root or _locate(event, one_step, t, w, step, fine, tolerance)
                if root is not None:
                    t_events[i].append(root[0])
                    w_events[i].append(root[1])
                    if getattr(event, "terminal", False):
                        (t_new, fine), status = root, "event"
            t, w = t_new, fine
            if t_eval is None:
                ts.append(t)
                ws.append(w)
            if watch and status == "finished":
                status = watch(t, w) or status
        h = step * (
            0.1 if not np.isfinite(error) else min(5.0, 0.9 * max(error, 1e-10) ** (-1 / (order + 1)))
        )
        if h < 1e-15 * max(abs(t), (t1 - t) * 1e-15):
            status = "step_too_small"
    observed = {name: np.array([f(s, x) for s, x in zip(ts, ws, strict=True)]) for name, f in observe.items()}
    ws = np.array(ws).reshape(len(ts), w.size)
    return Solution(np.array(ts), ws, observed, w, t, t_events, w_events, status)


def _locate(event, one_step, t, w, h, w_end, tolerance):
    """Return (t, w) where event(t, w) crosses zero in a step of size h, or None, by bisection of the step."""
    before, after = event(t, w), event(t + h, w_end)
    if before == 0 or before * after > 0 or (after - before) * getattr(event, "direction", 0) < 0:
        return None
    low, high = 0.0, h
    while high - low > 1e-13 * max(abs(t), h):
        middle = (low + high) / 2
        same_side = event(t + middle, one_step(w, middle, tolerance)) * before > 0
        low, high = (middle, high) if same_side else (low, middle)
    return t + high, one_step(w, high, tolerance)
