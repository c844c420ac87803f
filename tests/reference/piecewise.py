"""The gradient flow of two-layer networks whose activation has a kink, in NumPy.

The solution is Filippov's (Differential Equations with Discontinuous Righthand Sides, 1988). A mode says of
each pre-activation z_ij = <y_j, x_i>, with y_j = (v_j, b_j) and x_i = (X_i, 1), whether it is off (-1: it is
negative), on (1), or slides (0: it stays 0). Inside a mode the flow is smooth. It ends where a pre-activation
reaches 0, or a multiplier of one that slides leaves [0, 1], or the outer weight u_j of a neuron that slides
changes its sign: where it was attracted it is repelled then. Every mode of that neuron is tried then, with
u_j / |u_j| for u_j where its field is proportional to u_j: where there is one output, and the decay of y_j,
at one rate, does not move z_ij = 0. Samples with equal inputs are one: their forces add up.

Of a `Trained` network w is what is trained. The rest of a y_j stays; surfaces are planes of what moves of it.
"""

import itertools
from dataclasses import dataclass
from functools import partial

import numpy as np

from reference import flows
from reference.observe import observables

TOUCH = 1e-12  # a pre-activation of this size, relative to the weights, is 0
LEAVE = 1e-12  # a multiplier this far beyond its bounds, times the jump and relative to the field's terms, is
ZERO = 1e-9  # a velocity of this size, relative to its terms, is 0
MODE_CHANGE = [("t", float), ("neuron", int), ("sample", int), ("kind", "U7")]
STEP = 1e-30  # of a derivative by complex steps, which is exact


@dataclass(frozen=True)
class Solution(flows.Solution):
    """A trajectory and its changes of mode: t, neuron, sample and kind of each."""

    mode_changes: np.ndarray | None = None


class Modes:
    """A network's flow in a mode, the ends of a mode, and the mode that follows."""

    def __init__(self, problem, D):
        self.problem = problem
        self.trained = getattr(problem, "trained", slice(None))
        self.start = getattr(problem, "start", None)
        self.net = problem = getattr(problem, "of", problem)
        self.D = np.zeros(max(block.stop for block in problem.blocks.values()))
        self.D[self.trained] = D
        moves = np.zeros(self.D.size, dtype=bool)
        moves[self.trained] = True
        _, first, group = np.unique(problem.X, axis=0, return_index=True, return_inverse=True)
        self.samples = np.sort(first)  # i counts distinct inputs; each by its first sample
        self.group = np.searchsorted(self.samples, first[group.ravel()])  # the i of each sample
        self.bias = "b" in problem.blocks
        self.X = np.hstack([problem.X[self.samples], np.ones((self.samples.size, int(self.bias)))])
        self.below, self.above = problem.slopes
        self.m = problem.unflatten(np.zeros(self.D.size))["b" if self.bias else "V"].shape[0]
        self.outputs = problem.blocks["u"].stop // self.m
        self.mode = np.zeros((len(self.X), self.m), dtype=int)
        self.slope = np.zeros(self.mode.shape)  # of the activation; where it slides, z is 0
        self.projectors = np.tile(np.eye(self.X.shape[1]), (self.m, 1, 1))
        self.sign = np.ones(self.m)  # of u_j while neuron j slides
        self.own = self.inner(moves)[0]  # what is trained of a y_j
        self.normals = self.X * self.own
        rates = self.inner(self.D)
        self.skew = rates - self.own.all() * rates[:, :1]  # the rate of all of y_j leaves z_ij = 0 alone
        self.changes = []

    def whole(self, w):
        """Return all parameters of the network, shape (..., d), of those that are trained."""
        if w.shape[-1] == self.D.size:
            return w
        out = np.broadcast_to(self.start, (*w.shape[:-1], self.D.size)).astype(w.dtype)
        out[..., self.trained] = w
        return out

    def inner(self, w):
        """Return y, shape (..., m, p + 1), or p without biases."""
        V = w[..., self.net.blocks["V"]].reshape(*w.shape[:-1], self.m, -1)
        if not self.bias:
            return V
        return np.concatenate([V, w[..., self.net.blocks["b"], None]], axis=-1)

    def outer(self, w):
        """Return u, shape (..., m, outputs)."""
        return w[..., self.net.blocks["u"]].reshape(*w.shape[:-1], self.m, self.outputs)

    def flat(self, u, y, a):
        """Return the parameters with these parts; there may be no a."""
        inner = [y[..., :-1], y[..., -1]] if self.bias else [y]
        parts = [part.reshape(*y.shape[:-2], -1) for part in (u, *inner)]
        return np.concatenate([*parts, a], axis=-1)

    def force(self, w):
        """Return c r, shape (..., surfaces, outputs), added up for equal inputs."""
        w = self.whole(w)
        z = np.einsum("...jq,iq->...ij", self.inner(w), self.X)
        outputs = self.net.s * np.einsum("...ij,...jo->...io", self.slope * z, self.outer(w))
        if "a" in self.net.blocks:
            outputs = outputs + w[..., None, self.net.blocks["a"]]
        r = outputs[..., self.group, :] - self.net._targets.reshape(-1, self.outputs)
        return self.net.scale * np.einsum("...no,ni->...io", r, np.eye(self.samples.size)[self.group])

    def rhs(self, w):
        """Return dw/dt in this mode, shape (..., d); the inner weights keep to the surfaces slid on."""
        w = self.whole(w)
        y, f, decay = self.inner(w), self.force(w), self.D * w
        z = np.einsum("...jq,iq->...ij", y, self.X)
        s, slope = self.net.s, self.slope
        du = -s * np.einsum("...io,...ij->...jo", f, slope * z) - self.outer(decay)
        dy = -s * np.einsum("...io,...jo,ij,iq->...jq", f, self.outer(w), slope, self.X)
        dy = np.einsum("jqk,...jk->...jq", self.projectors, dy - self.inner(decay))
        block = self.net.blocks.get("a", slice(0, 0))
        da = (-f.sum(axis=-2) if "a" in self.net.blocks else 0.0) - decay[..., block]
        return self.flat(du, dy, da)[..., self.trained]

    def jacobian(self, w):
        return self.rhs(w + 1j * STEP * np.eye(w.size)).imag.T / STEP

    def multipliers(self, j, field, w, f):
        """Return theta and 1 - theta of the surfaces that neuron j slides on, times the jump, over all terms.

        They hold its velocity orthogonal to the surfaces. Theta itself would pass through infinity with f.
        """
        S = np.flatnonzero(self.mode[:, j] == 0)
        low = np.linalg.lstsq(self.normals[S].T, field, rcond=None)[0]
        terms = self.terms(j, w, f)
        return low / terms, (self.jumps(j, w, f)[S] - low) / terms

    def gain(self, j, w):
        """Return what multiplies forces in the field of y_j: u_j, or its sign if that is a factor of it."""
        return self.sign[j : j + 1] if self.is_proportional(j) else self.outer(w)[j]

    def is_proportional(self, j):
        """Whether all of the field of y_j is proportional to u_j."""
        return self.outputs == 1 and not self.skew[j].any()

    def jumps(self, j, w, f):
        """Return what moves y_j less on each surface when it is switched on."""
        return self.net.s * (self.above - self.below) * f @ self.gain(j, w)

    def field(self, j, w, f):
        """Return the velocity of y_j across surfaces, with all that it slides on switched off."""
        slope = np.where(self.mode[:, j] > 0, self.above, self.below)
        pulled = slope * (f @ self.gain(j, w))
        return -self.net.s * pulled @ self.normals - self.skew[j] * self.inner(w)[j]

    def terms(self, j, w, f):
        """Return the size of the terms that add up to it."""
        forces = np.abs(self.net.s * f @ self.gain(j, w)) @ np.linalg.norm(self.X, axis=1)
        return forces + np.linalg.norm(self.skew[j] * self.inner(w)[j]) + np.finfo(float).tiny

    def ends(self, w):
        """Return for each neuron the smallest of the functions that are positive while its mode lasts."""
        w, f = self.whole(w), self.force(w)
        least = np.min(self.mode * self.distances(w) + TOUCH, axis=0)
        for j in np.flatnonzero((self.mode == 0).any(axis=0)):
            low, high = self.multipliers(j, self.field(j, w, f), w, f)
            least[j] = min(least[j], *(low + LEAVE), *(high + LEAVE))
            if self.outputs == 1:
                least[j] = min(least[j], self.sign[j] * w[j] + TOUCH)
        return least

    def distances(self, w):
        """Return the distances of y_j from the surfaces z_ij = 0, in units of |w|."""
        w = self.whole(w)
        return self.X @ self.inner(w).T / np.linalg.norm(self.normals, axis=1)[:, None] / np.linalg.norm(w)

    def begin(self, w):
        """Enter the mode of w; what touches a surface is still to be resolved."""
        for j, distance in enumerate(self.distances(w).T):
            self.enter(j, np.where(distance > 0, 1, -1))

    def enter(self, j, sides):
        self.mode[:, j] = sides
        self.slope[:, j] = np.choose(np.add(sides, 1), (self.below, 0.0, self.above))
        S = self.normals[self.mode[:, j] == 0]
        self.projectors[j] = np.eye(self.X.shape[1]) - np.linalg.pinv(S) @ S

    def arriving(self, j, w, f):
        """Return the signs of the rates of z_ij with which neuron j moves in its mode."""
        rates = self.normals @ (self.projectors[j] @ self.field(j, w, f))
        slack = ZERO * self.terms(j, w, f) * np.linalg.norm(self.normals, axis=1)
        return np.where(np.abs(rates) <= slack, 0, np.sign(rates))

    def consistent(self, j, w, f, touching, forced, came):
        """Yield (sides, velocity, terms) of each mode in which neuron j stays.

        First those that go on as it came, and then those that go as it is driven with all surfaces off.
        """
        before = self.mode[:, j].copy()
        off = before.copy()
        off[touching] = -1
        self.enter(j, off)
        came, driven = came[touching], self.arriving(j, w, f)[touching]

        def strangeness(sides):
            return np.sum((came != 0) * (came != sides)), np.sum(driven != sides)

        for choice in sorted(itertools.product((-1, 1, 0), repeat=len(touching)), key=strangeness):
            sides = before.copy()
            sides[touching] = choice
            S = self.normals[sides == 0]
            if any(sides[i] != side for i, side in forced.items()) or np.linalg.matrix_rank(S) < len(S):
                continue
            if (self.jumps(j, w, f)[sides == 0] < 0).any():  # a surface that repels: nothing stays on it
                continue
            self.enter(j, sides)
            field = self.field(j, w, f)
            velocity = self.projectors[j] @ field
            low, high = self.multipliers(j, field, w, f)
            terms = self.terms(j, w, f)
            slack = ZERO * terms * np.linalg.norm(self.normals, axis=1)
            moves = sides * (self.normals @ velocity) >= -slack
            free = [i for i in touching if i not in forced and sides[i] != 0]
            if moves[free].all() and (low >= -LEAVE / 2).all() and (high >= -LEAVE / 2).all():
                yield sides, velocity, terms
        self.enter(j, before)

    def change(self, t, w, start=False):
        """Put every neuron that is at the end of its mode into the next one; return w, on the surfaces."""
        w = self.whole(w)
        y, f, distances = self.inner(w).copy(), self.force(w), self.distances(w)
        for j in np.flatnonzero(start | (self.ends(w) <= 0)):
            before = self.mode[:, j].copy()
            slides = (before == 0).any()
            turns = slides and self.outputs == 1 and self.sign[j] * w[j] <= 0
            if self.outputs == 1:
                self.sign[j] = -self.sign[j] if turns else self.sign[j] if slides else np.sign(w[j]) or 1.0
            near = (np.abs(distances[:, j]) <= 3 * TOUCH) | (before == 0)
            multipliers = zip(*self.multipliers(j, self.field(j, w, f), w, f), strict=True)
            forced = {
                i: -1 if low < high else 1
                for i, (low, high) in zip(np.flatnonzero(before == 0), multipliers, strict=True)
                if min(low, high) < -LEAVE / 2 and not turns
            }
            S, still = self.normals[near], np.where(self.own, 0.0, y[j])
            moved, pinned = y[j] - still, np.linalg.matrix_rank(S) == self.own.sum()
            moved -= moved if pinned else np.linalg.pinv(S) @ (S @ moved)
            y[j] = still + moved - np.linalg.pinv(S) @ (self.X[near] @ still)
            if pinned:  # others may meet there: without offsets all do, at y = 0
                near |= np.abs(self.X @ y[j]) <= 3 * TOUCH * np.linalg.norm(w)
            came = np.zeros(near.size) if start else self.arriving(j, w, f)
            found = list(self.consistent(j, w, f, np.flatnonzero(near), forced, came))
            if not found:
                raise RuntimeError(f"no mode follows at t = {t} for neuron {j} at {np.flatnonzero(near)}")
            sides, velocity, terms = found[0]
            split = any(np.linalg.norm(v - velocity) > 1e3 * ZERO * terms for _, v, _ in found)
            split = split and not came[near].any()
            self.enter(j, sides)
            for i in np.flatnonzero(near):
                kind = "split" if split else kind_of(before[i], sides[i], pinned, start)
                if kind:
                    self.changes.append((t, j, self.samples[i], kind))
        return self.flat(self.outer(w), y, w[self.net.blocks.get("a", slice(0, 0))])[self.trained]


class DriftModes(Modes):
    """The same for the drift on the manifold, where the forces keep r = 0: -K^-1 J D w."""

    def jacobian_at(self, w):
        """Return J along the surfaces slid on, shape (n, d), by the slopes of the mode."""
        w = self.whole(w)
        J, index = self.net.jacobian(w), self.inner(np.arange(w.size))
        for j, projector in enumerate(self.projectors):
            inner = self.net.s * self.slope[self.group, j, None] * self.X[self.group] @ projector
            J[:, index[j]] = np.kron(inner, self.outer(w)[j, :, None])
        return J[:, self.trained]

    def force(self, w):
        J = self.jacobian_at(w)
        decay = (self.D * self.whole(w))[self.trained]
        forces = (-np.linalg.pinv(J @ J.T) @ J @ decay).reshape(-1, self.outputs)
        return np.eye(self.samples.size)[self.group].T @ forces


def drift_jacobian(problem, D, w):
    """Return J of the mode in which the drift goes on from w, shape (n, d)."""
    modes = DriftModes(problem, D)
    for j, distance in enumerate(modes.distances(w).T):
        modes.enter(j, np.where(distance > 3 * TOUCH, 1, -1))  # the sign of round-off decides nothing
    before = None
    while not np.array_equal(before, modes.mode):  # a change of one neuron may end the mode of another
        before = modes.mode.copy()
        modes.change(0.0, w, start=True)
    return modes.jacobian_at(w)


def kind_of(before, after, pinned, start):
    """Return what happened at one surface; None if nothing, or if the run starts beside it."""
    if before == after or (start and after != 0):
        return None
    if after == 0:
        return "pin" if pinned else "stick"
    return "release" if before == 0 else "cross"


class SignModes:
    """The flow of F + sum_i weights_i |w_i|, by the signs of w: 0 where a weight is 0 and stays there."""

    def __init__(self, problem, weights):
        self.problem, self.weights = problem, weights
        self.signs = np.zeros(weights.size)
        self.free = np.ones(weights.size)
        self.changes = []

    def begin(self, w):
        self.signs = np.sign(w)

    def gradient(self, w):
        """Return what pulls at each weight beside the norm."""
        return self.problem.gradient(w)

    def rhs(self, w):
        return -self.free * (self.gradient(w) + self.weights * self.signs)

    def jacobian(self, w):
        return -self.free[:, None] * self.problem.hessian(w) * self.free

    def ends(self, w):
        """Return for each weight a function that is positive while its sign stays, in what it is known to."""
        slack = self.weights * (1.0 + LEAVE) - np.abs(self.gradient(w))
        off = np.where(self.weights > 0, self.signs * w + TOUCH, 1.0)
        return np.where(self.free > 0, off, slack)

    def change(self, t, w, start=False):
        """A weight at 0 goes where it is pulled when it is held, if that is harder than its share of R."""
        w = w.copy()
        while (ended := (self.weights > 0) & ((w == 0) if start else (self.ends(w) <= 0))).any():
            for i in np.flatnonzero(ended):
                before, w[i], self.free[i] = self.signs[i] * self.free[i], 0.0, 0.0
                slope = self.gradient(w)[i]
                after = 0.0 if np.abs(slope) <= self.weights[i] else -np.sign(slope)
                self.signs[i], self.free[i] = after, float(after != 0)
                kind = "stick" if after == 0 else "release" if before == 0 else "cross"
                if kind == "stick" or not start:
                    self.changes.append((t, i, 0, kind))
            start = False  # where what pulls depends on the mode, a change of one may end that of another
        return w


class SignDriftModes(SignModes):
    """The drift of that norm on the manifold: what pulls keeps r = 0 along the weights that are free."""

    def gradient(self, w):
        J = self.problem.jacobian(w)
        free = J * self.free
        return -J.T @ np.linalg.pinv(free @ free.T) @ free @ (self.weights * self.signs)

    def jacobian(self, w, h=1e-6):
        units = h * np.eye(w.size)
        return np.array([(self.rhs(w + e) - self.rhs(w - e)) / (2 * h) for e in units]).T


def follow(modes, w0, t_span, *, rtol, atol, t_eval, observe, events):
    """Integrate as `flows.gradient_flow` does, from mode to mode."""
    problem = modes.problem
    t, t1 = map(float, t_span)
    w = np.array(w0, dtype=float)
    modes.begin(w)
    w = modes.change(t, w, start=True)
    grid = flows.recorded_times(t_eval, t, t1)
    events = [] if events is None else [events] if callable(events) else list(events)

    def end_of_mode(t, w):
        return modes.ends(w).min()

    end_of_mode.terminal = True
    parts = []
    while True:
        part = flows.integrate(
            partial(flows.radau_step, modes.rhs, modes.jacobian),
            5,
            w,
            (t, t1),
            rtol=rtol,
            atol=atol,
            t_eval=None if grid is None else [s for s in grid if s > t or not parts],
            observe={},
            events=[end_of_mode, *events],
        )
        parts.append(part)
        t, w = part.t_final, part.final
        if part.status != "event" or not part.t_events[0]:
            break
        w = modes.change(t, w)
    again = 1 if grid is None else 0  # steps are recorded with their start, where the last part has ended
    ts = np.concatenate([parts[0].t, *(part.t[again:] for part in parts[1:])])
    ws = np.concatenate([parts[0].w, *(part.w[again:] for part in parts[1:])])
    watched = observables(problem, observe)
    observed = {name: np.array([f(s, x) for s, x in zip(ts, ws, strict=True)]) for name, f in watched.items()}
    met = [
        [
            (s, x)
            for part in parts
            for s, x in zip(part.t_events[e], part.w_events[e], strict=True)
            if s <= part.t_final
        ]
        for e in range(1, len(events) + 1)
    ]
    return Solution(
        ts,
        ws,
        observed,
        w,
        t,
        [[s for s, _ in pairs] for pairs in met],
        [[x for _, x in pairs] for pairs in met],
        parts[-1].status,
        mode_changes=np.array(modes.changes, dtype=MODE_CHANGE),
    )
