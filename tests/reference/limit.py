"""The limit of vanishing weight decay: where the flow lands, and the drift along the manifold from there."""

from types import SimpleNamespace

import numpy as np

from reference.flows import decay_rates, gradient_flow, integrate
from reference.observe import observables
from reference.piecewise import SignDriftModes, drift_jacobian, follow
from reference.tangent import normal_space, onto_manifold, tangent_projection


def limit_map(problem, w0, *, rtol=1e-6, atol=1e-9, rtol_rank=None, t_max=np.inf):
    """Follow the unregularised flow, decade by decade, until Newton's method sees no way left to go."""
    w, t, norm, status = np.array(w0, dtype=float), 0.0, np.inf, "degenerate"
    for end in [*(10.0**k for k in range(19) if 10.0**k < t_max), min(t_max, 1e18)]:
        norm = np.linalg.norm(w)
        w = gradient_flow(
            problem, w, (t, end), weight_decay=0.0, rtol=rtol / 10, atol=atol / 10, t_eval=[end], observe=[]
        ).final
        t = end
        space = tangent_projection(problem, w, w, rtol_rank=rtol_rank)
        if space.distance <= 0.1 * rtol * np.linalg.norm(w):
            status = "saddle" if space.num_negative else "landed"
        if status == "landed":
            break
    if status == "degenerate" and t_max < np.inf:
        status = "finished"
    elif status == "degenerate" and np.linalg.norm(w) > 1.001 * norm:
        status = "no_minimiser"
    return SimpleNamespace(w=w, t=t, status=status, loss=problem.loss(w), rank=space.rank, eta=space.eta,
                           largest=space.largest, gap=space.gap)  # fmt: skip


class Regularizer:
    """R(w) and its gradient, by functions of one's own."""

    def __init__(self, *, value, gradient):
        self.value, self.gradient = value, gradient

    def evaluate(self, w):
        return float(self.value(w)), np.array(self.gradient(w), dtype=float)


class L1:
    """sum_i weights_i |w_i|, one weight for all or {block or pattern: number}."""

    def __init__(self, weights=1.0):
        self.weights = weights


def weights_of(regularizer, problem):
    """Return the weights of "l1" or an `L1` (d,)."""
    given = regularizer.weights if isinstance(regularizer, L1) else 1.0
    return np.broadcast_to(decay_rates(problem, given), max(block.stop for block in problem.blocks.values()))


def as_regularizer(regularizer, problem):
    """Return R for "norm", weights by block, or "hessian_trace": tr(c J J^T), its gradient by differences."""
    if isinstance(regularizer, Regularizer):
        return regularizer
    if regularizer == "hessian_trace":

        def trace(w):
            return problem.scale * np.sum(problem.jacobian(w) ** 2)

        def slope(w, h=1e-5):
            return np.array([(trace(w + h * e) - trace(w - h * e)) / (2 * h) for e in np.eye(w.size)])

        return Regularizer(value=trace, gradient=slope)
    if regularizer == "l1" or isinstance(regularizer, L1):
        weights = weights_of(regularizer, problem)
        return Regularizer(value=lambda w: weights @ np.abs(w), gradient=lambda w: weights * np.sign(w))
    weights = 1.0 if regularizer == "norm" else decay_rates(problem, regularizer)
    return Regularizer(value=lambda w: np.sum(weights * w**2) / 2, gradient=lambda w: weights * w)


def norm_flow(
    problem,
    w,
    s_span,
    *,
    regularizer="norm",
    on_rank_change="record",
    kkt_tol=None,
    rtol_rank=None,
    rtol=1e-6,
    atol=1e-9,
    t_eval="log",
    observe=None,
    events=None,
):
    """Integrate dw/ds = -P(w) grad R(w) by the classical Runge-Kutta method, and take each step back to M.

    That of an l1 norm goes from mode to mode, by Radau, and stays on M as far as the tolerance tells.
    """
    if regularizer == "l1" or isinstance(regularizer, L1):
        modes = SignDriftModes(problem, weights_of(regularizer, problem))
        return follow(modes, w, s_span, rtol=rtol, atol=atol, t_eval=t_eval, observe=observe, events=events)
    R = as_regularizer(regularizer, problem)
    rank = tangent_projection(problem, w, w, rtol_rank=rtol_rank).rank
    monitor = {name: [] for name in ("s", "eta", "rank", "gap", "largest")}

    def field(w):
        _, normal = normal_space(problem, w, rank)
        gradient = R.evaluate(w)[1]
        return -(gradient - normal @ (normal.T @ gradient))

    def rk4_step(w, h, tolerance):
        k1 = field(w)
        k2 = field(w + h / 2 * k1)
        k3 = field(w + h / 2 * k2)
        k4 = field(w + h * k3)
        return onto_manifold(problem, w + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), rank)

    def look(s, w):
        nonlocal rank
        gradient = R.evaluate(w)[1]
        space = tangent_projection(problem, w, gradient, rtol_rank=rtol_rank)
        for name, value in {
            "s": s,
            **{k: getattr(space, k) for k in ("eta", "rank", "gap", "largest")},
        }.items():
            monitor[name].append(value)
        if space.rank != rank and on_rank_change == "stop":
            return "rank_change"
        rank = space.rank
        if kkt_tol and np.linalg.norm(space.v) <= kkt_tol * np.linalg.norm(gradient):
            return "stationary"
        return None

    watched = observables(problem, observe)
    if observe is None:
        watched["regularizer"] = "regularizer"
    watched = {
        name: (lambda s, w: R.evaluate(w)[0]) if f == "regularizer" else f for name, f in watched.items()
    }
    sol = integrate(
        rk4_step,
        4,
        onto_manifold(problem, w, rank),
        s_span,
        rtol=rtol,
        atol=atol,
        t_eval=t_eval,
        observe=watched,
        events=events,
        watch=look,
    )
    sol.monitor.update({name: np.array(values) for name, values in monitor.items()})
    return sol


def horizon(sol, weight_decay, kappa=10.0):
    """Return the first s with eta(s) < kappa lam, by bisection of the interpolant of log eta; inf if none."""
    s, excess = sol.monitor["s"], np.log(sol.monitor["eta"]) - np.log(kappa * weight_decay)
    if not np.any(excess < 0):
        return np.inf
    high = s[np.argmax(excess < 0)]
    low = s[max(np.argmax(excess < 0) - 1, 0)]
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if np.interp(middle, s, excess) < 0 else (middle, high)
    return high


def first_order_residual(problem, w, weight_decay):
    """Return r = -(c K)^-1 J D w."""
    D = decay_rates(problem, weight_decay)
    J = drift_jacobian(problem, D, w) if getattr(problem, "slopes", None) else problem.jacobian(w)
    return -np.linalg.pinv(problem.scale * J @ J.T) @ J @ (D * w)


def step_beside(problem, w, weight_decay):
    """Return J^+ of that residual: what is normal to the manifold and leads to it."""
    D = decay_rates(problem, weight_decay)
    J = drift_jacobian(problem, D, w) if getattr(problem, "slopes", None) else problem.jacobian(w)
    return np.linalg.pinv(J) @ first_order_residual(problem, w, weight_decay)


def minimum_norm(problem, w, *, regularizer="norm", tol=1e-10, max_steps=100, rtol_rank=None):
    """Descend along -P grad R for a while, and then solve the KKT equations by Newton's method."""
    R, w, rank = as_regularizer(regularizer, problem), np.array(w, dtype=float), None
    rank = tangent_projection(problem, w, w, rtol_rank=rtol_rank).rank
    for _ in range(300):
        _, normal = normal_space(problem, w, rank)
        gradient = R.evaluate(w)[1]
        w = onto_manifold(problem, w - 0.1 * (gradient - normal @ (normal.T @ gradient)), rank)
    n, d = problem.num_residuals, w.size
    for _ in range(max_steps):
        J, gradient = problem.jacobian(w), R.evaluate(w)[1]
        mu = -np.linalg.lstsq(J.T, gradient, rcond=None)[0]
        bend = np.array([(R.evaluate(w + e)[1] - R.evaluate(w - e)[1]) / 2e-5 for e in 1e-5 * np.eye(d)])
        H = bend + np.einsum("i,ijk->jk", mu, problem.second_derivative(w))
        KKT = np.block([[H, J.T], [J, np.zeros((n, n))]])
        step = np.linalg.lstsq(KKT, -np.append(gradient + J.T @ mu, problem.residual(w)), rcond=None)[0][:d]
        w = w + step
        if np.linalg.norm(step) < tol * np.linalg.norm(w):
            break
    return SimpleNamespace(w=w, value=R.evaluate(w)[0], multipliers=mu)
