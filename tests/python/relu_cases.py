"""Flows of networks with kinks, solved by hand: when a kink sticks, slides and leaves, in closed form.

All have one input and, but for copies, one neuron: f(x) = u act(<y, (x, 1)>), y = (v, b), F = sum r^2 / 2.
While y moves along a unit vector e, y = zeta e + const, and only residuals r_i = u d_i zeta - y_i move it,
with d_i = act' <e, (x_i, 1)>, u and zeta obey the equations of a `Hinge`.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np


@dataclass(frozen=True)
class Hinge:
    """du/dt = -kappa zeta r - lam u and dzeta/dt = -kappa u r - lam zeta, with r = kappa u zeta - target.

    C = (u + zeta) (u - zeta) decays as exp(-2 lam t). Where lam or C is 0 it stays, and A = (u + zeta)^2
    obeys a Riccati equation: dA/dt = -(kappa^2 / 2) (A - A+) (A - A-). u + zeta has to be positive.
    """

    kappa: float
    target: float
    u: float
    zeta: float
    weight_decay: float = 0.0

    @classmethod
    def of_several(cls, distances, targets, u, zeta):
        """All these residuals u d_i zeta - y_i together: they act as one, but for a constant in F."""
        d = np.asarray(distances, dtype=float)
        kappa = sqrt(d @ d)
        return cls(kappa, d @ np.asarray(targets, dtype=float) / kappa, u, zeta)

    @property
    def _constants(self):
        C = self.u**2 - self.zeta**2
        assert self.weight_decay * abs(C) < 1e-15
        middle = 2 * (self.target - self.weight_decay / self.kappa) / self.kappa
        root = sqrt(middle**2 + C**2)
        return C, middle + root, middle - root

    def time_at(self, zeta):
        """Return when zeta has this value, and u is positive."""
        return self.time_of(zeta + sqrt(zeta**2 + self._constants[0]))

    def time_of(self, total):
        """Return when u + zeta has this value."""
        _, high, low = self._constants
        G = [(A - high) / (A - low) for A in ((self.u + self.zeta) ** 2, total**2)]
        return np.log(G[0] / G[1]) * 2 / (self.kappa**2 * (high - low))

    def at(self, t):
        """Return u and zeta at time t."""
        C, high, low = self._constants
        A = (self.u + self.zeta) ** 2
        G = (A - high) / (A - low) * np.exp(-(self.kappa**2) / 2 * (high - low) * t)
        a = np.sqrt((high - G * low) / (1 - G))
        return (a + C / a) / 2, (a - C / a) / 2


@dataclass(frozen=True)
class Case:
    """A problem (arguments of `TwoLayerNetwork`), its start, and what is known of the flow from there.

    `changes` are (t, neuron, sample, kind), in order; `states` are (t, w).
    """

    X: list
    y: list
    w0: list
    changes: list
    states: list
    activation: dict
    weight_decay: float = 0.0
    width: int = 1
    t_after: float = 0.0  # how long it runs after the last of these

    def network(self, models):
        """Return the network, from `grokflow.models` or `reference.models`."""
        X = np.array(self.X, dtype=float)[:, None]
        return models.TwoLayerNetwork(X, self.y, width=self.width, scale="sum", **self.activation)

    @property
    def t_end(self):
        return self.states[-1][0] + self.t_after


RELU = {"activation": "relu"}


def row(x):
    return np.array([x, 1.0])


def weights(u, y):
    return np.array([u, *y])


def stick_and_slide(copies=1):
    """The kink moves to the data point at -2, sticks there, and slides as the other residual vanishes."""
    pull = row(2) / sqrt(5)
    first = Hinge(sqrt(5), 0.3, 1.5, row(1) @ pull)  # y = (1, 1): off at -2, on at 2
    stick = first.time_at(first.zeta - sqrt(5) / 3)  # from y = (1, 1) to (1, 2) / 3, where -2 v + b = 0
    u, _ = first.at(stick)
    slide = Hinge(4 / sqrt(5), 0.3, u, sqrt(5) / 3)  # y = rho (1, 2) / sqrt(5)

    def w(t):
        u, zeta = first.at(t) if t < stick else slide.at(t - stick)
        y = row(1) + (zeta - first.zeta) * pull if t < stick else zeta * np.array([1, 2]) / sqrt(5)
        parts = [np.repeat(part, copies) / sqrt(copies) for part in (u, *y)]
        return np.concatenate(parts)

    return Case(
        X=[-2, 2],
        y=[-2, 0.3],
        w0=w(0.0),
        changes=[(stick, j, 0, "stick") for j in range(copies)],
        states=[(t, w(t)) for t in (0.5 * stick, 0.999 * stick, stick + 0.1, stick + 1.0, 20.0)],
        activation=RELU,
        width=copies,
    )


def release():
    """The neuron is balanced and starts on the data point at -2. Decay takes r at 2 through 0: it lets go."""
    lam, rho = 0.1, 1.0
    slide = Hinge(4 / sqrt(5), 1.0, rho, rho, lam)
    leave = slide.time_at(sqrt(1.0 / slide.kappa))

    def w(t):
        u, zeta = slide.at(t)
        return weights(u, zeta * np.array([1, 2]) / sqrt(5))

    return Case(
        X=[-2, 2],
        y=[-1, 1],
        w0=w(0.0),
        changes=[(0.0, 0, 0, "stick"), (leave, 0, 0, "release")],
        states=[(t, w(t)) for t in (0.3 * leave, leave)],
        activation=RELU,
        weight_decay=lam,
        t_after=1.0,
    )


def turn():
    """A neuron slides on the data point at -2 until its outer weight changes sign, and is repelled then.

    It takes the side off: only the other data point moves it from there on.
    """
    slide = Hinge(4 / sqrt(5), 0.3, -0.5, 1.0)  # y = zeta (1, 2) / sqrt(5)
    turn = slide.time_of(sqrt(0.75))  # u^2 - zeta^2 stays, and u is 0
    y, pull = sqrt(0.75 / 5) * np.array([1, 2]), row(2) / sqrt(5)
    leave = Hinge(sqrt(5), 0.3, 0.0, y @ pull)

    def w(t):
        if t < turn:
            u, zeta = slide.at(t)
            return weights(u, zeta * np.array([1, 2]) / sqrt(5))
        u, zeta = leave.at(t - turn)
        return weights(u, y + (zeta - leave.zeta) * pull)

    return Case(
        X=[-2, 2],
        y=[2, 0.3],
        w0=w(0.0),
        changes=[(0.0, 0, 0, "stick"), (turn, 0, 0, "split")],
        states=[(t, w(t)) for t in (0.5 * turn, 0.999 * turn, turn + 0.1, turn + 1.0, 20.0)],
        activation=RELU,
    )


def death():
    """The only data point that the neuron sees pushes it off; then nothing moves."""
    s = sqrt(1.25)
    hinge = Hinge(s, -1.0, 1.0, 0.5)
    end, along, across = hinge.time_at(0.0), row(0.5) / s, np.array([1, -0.5]) / s

    def w(t):
        u, zeta = hinge.at(min(t, end))
        return weights(u, 0.7 * across + (zeta if t < end else 0.0) * along)

    states = [(t, w(t)) for t in (0.5 * end, end, 10.0)]
    return Case(X=[0.5], y=[-1], w0=w(0.0), changes=[(end, 0, 0, None)], states=states, activation=RELU)


def leaky_crossing(below=0.25):
    """The slope changes as the neuron crosses its only data point."""
    s = sqrt(1.25)
    first = Hinge(s, -1.0, 1.0, 0.5)
    cross = first.time_at(0.0)
    second = Hinge(below * s, -1.0, first.at(cross)[0], 0.0)
    along, across = row(0.5) / s, np.array([1, -0.5]) / s

    def w(t):
        u, zeta = first.at(t) if t < cross else second.at(t - cross)
        return weights(u, 0.7 * across + zeta * along)

    return Case(
        X=[0.5],
        y=[-1],
        w0=w(0.0),
        changes=[(cross, 0, 0, "cross")],
        states=[(t, w(t)) for t in (0.5 * cross, cross, cross + 0.5, 30.0)],
        activation={"activation": "leaky_relu", "negative_slope": below},
    )


def absolute_value():
    """|z| is pushed to 0 from both sides: the neuron sticks for ever."""
    s = sqrt(1.25)
    hinge = Hinge(s, -1.0, 1.0, 0.5)  # of -z: the neuron comes from below
    stick, along, across = hinge.time_at(0.0), row(0.5) / s, np.array([1, -0.5]) / s

    def w(t):
        u, zeta = hinge.at(min(t, stick))
        return weights(u, 0.7 * across - (zeta if t < stick else 0.0) * along)

    return Case(
        X=[0.5],
        y=[-1],
        w0=w(0.0),
        changes=[(stick, 0, 0, "stick")],
        states=[(t, w(t)) for t in (0.5 * stick, stick, 10.0)],
        activation={"activation": "abs"},
    )


def pin():
    """|z| is pushed to 0 at both data points: the neuron slides from one to the other, and is 0 then."""
    slide = Hinge(sqrt(2), -0.5, 1.0, 0.6)
    end = slide.time_at(0.0)

    def w(t):
        u, zeta = slide.at(min(t, end))
        return weights(u, (zeta if t < end else 0.0) * np.array([1, 1]) / sqrt(2))

    return Case(
        X=[-1, 1],
        y=[-1, -0.5],
        w0=w(0.0),
        changes=[(0.0, 0, 0, "stick"), (end, 0, 1, "pin")],
        states=[(t, w(t)) for t in (0.5 * end, end, 10.0)],
        activation={"activation": "abs"},
    )


def split():
    """Both sides of the data point at -2, where the neuron starts, repel it: it goes to the side off."""
    s, along, across = sqrt(5), row(2) / sqrt(5), np.array([1, -2]) / sqrt(5)
    start = np.array([0.3, 0.6])
    hinge = Hinge(s, 3.0, 1.0, start @ along)

    def w(t):
        u, zeta = hinge.at(t)
        return weights(u, (start @ across) * across + zeta * along)

    states = [(t, w(t)) for t in (0.01, 0.3, 10.0)]
    return Case(
        X=[-2, 2], y=[2, 3], w0=w(0.0), changes=[(0.0, 0, 0, "split")], states=states, activation=RELU
    )


CASES = {
    "stick and slide": stick_and_slide(),
    "stick and slide, twice at once": stick_and_slide(copies=2),
    "release": release(),
    "turn": turn(),
    "death": death(),
    "leaky crossing": leaky_crossing(),
    "absolute value": absolute_value(),
    "pin": pin(),
    "split": split(),
}
