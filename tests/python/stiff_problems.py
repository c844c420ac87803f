"""Classic stiff initial value problems y' = f(y): equations, Jacobians and reference solutions.

The references are in tests/data/stiff_problems.json, with their sources.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_DATA = json.loads((Path(__file__).parents[1] / "data" / "stiff_problems.json").read_text())["problems"]


@dataclass(frozen=True)
class StiffProblem:
    """f (m,) and its Jacobian (m, m) at y, the start, and the solution y (T, m) at the times t (T,).

    `floor` is the size below which a component is not resolved: atol = rtol * floor.
    """

    f: Callable
    jacobian: Callable
    y0: np.ndarray
    t: np.ndarray
    y: np.ndarray
    floor: float

    def up_to(self, t_end):
        """Return the same problem with the reference times t <= t_end."""
        keep = self.t <= t_end
        return StiffProblem(self.f, self.jacobian, self.y0, self.t[keep], self.y[keep], self.floor)

    def error(self, y, rtol):
        """Return max |y - reference| / (atol + rtol |reference|): the error in units of the tolerance."""
        return float(np.max(np.abs(y - self.y) / (rtol * (self.floor + np.abs(self.y)))))


def _tabulated(name, f, jacobian, floor):
    data = _DATA[name]
    y0, t, y = (np.array(data[key], dtype=float) for key in ("y0", "t", "y"))
    return StiffProblem(f, jacobian, y0, t, y, floor)


def hires():
    """High irradiance response of a plant (Schaefer 1975): eight reactions, mildly stiff."""
    linear = np.zeros((8, 8))
    for i, j, rate in [
        (0, 0, -1.71), (0, 1, 0.43), (0, 2, 8.32), (1, 0, 1.71), (1, 1, -8.75), (2, 2, -10.03), (2, 3, 0.43),
        (2, 4, 0.035), (3, 1, 8.32), (3, 2, 1.71), (3, 3, -1.12), (4, 4, -1.745), (4, 5, 0.43), (4, 6, 0.43),
        (5, 3, 0.69), (5, 4, 1.71), (5, 5, -0.43), (5, 6, 0.69), (6, 6, -1.81), (7, 6, 1.81),
    ]:  # fmt: skip
        linear[i, j] = rate
    reaction = np.array([0, 0, 0, 0, 0, -280.0, 280.0, -280.0])
    source = np.array([0.0007, 0, 0, 0, 0, 0, 0, 0])

    def f(y):
        return linear @ y + source + reaction * (y[5] * y[7])

    def jacobian(y):
        J = linear.copy()
        J[:, 5] += reaction * y[7]
        J[:, 7] += reaction * y[5]
        return J

    return _tabulated("HIRES", f, jacobian, floor=1e-4)


def rober():
    """Robertson's reaction (1966): twelve decades of time along a slow manifold, one zero eigenvalue."""

    def f(y):
        p, q, r = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
        return np.array([-p + q, p - q - r, r])

    def jacobian(y):
        return np.array(
            [
                [-0.04, 1e4 * y[2], 1e4 * y[1]],
                [0.04, -1e4 * y[2] - 6e7 * y[1], -1e4 * y[1]],
                [0, 6e7 * y[1], 0],
            ]
        )

    return _tabulated("ROBER", f, jacobian, floor=1e-12)


def orego():
    """The Oregonator of Field and Noyes (1974): a limit cycle with jumps."""

    def f(y):
        return np.array(
            [
                77.27 * (y[1] + y[0] * (1 - 8.375e-6 * y[0] - y[1])),
                (y[2] - (1 + y[0]) * y[1]) / 77.27,
                0.161 * (y[0] - y[2]),
            ]
        )

    def jacobian(y):
        return np.array(
            [
                [77.27 * (1 - 2 * 8.375e-6 * y[0] - y[1]), 77.27 * (1 - y[0]), 0],
                [-y[1] / 77.27, -(1 + y[0]) / 77.27, 1 / 77.27],
                [0.161, 0, -0.161],
            ]
        )

    return _tabulated("OREGO", f, jacobian, floor=1.0)


def vdpol():
    """Van der Pol's oscillator with eps = 1e-6: slow arcs joined by jumps."""

    def f(y):
        return np.array([y[1], ((1 - y[0] ** 2) * y[1] - y[0]) / 1e-6])

    def jacobian(y):
        return np.array([[0, 1], [(-2 * y[0] * y[1] - 1) / 1e-6, (1 - y[0] ** 2) / 1e-6]])

    return _tabulated("VDPOL", f, jacobian, floor=1.0)


def e5():
    """Reactant pyrolysis (Enright and Hull 1976): components from 1e-3 down to 1e-23, times up to 1e13."""

    def f(y):
        p1, p2, p3, p4 = 7.89e-10 * y[0], 1.1e7 * y[0] * y[2], 1.13e9 * y[1] * y[2], 1.13e3 * y[3]
        return np.array([-p1 - p2, p1 - p3, p1 - p3 - p2 + p4, p2 - p4])

    def jacobian(y):
        p1 = np.array([7.89e-10, 0, 0, 0])
        p2 = 1.1e7 * np.array([y[2], 0, y[0], 0])
        p3 = 1.13e9 * np.array([0, y[2], y[1], 0])
        p4 = np.array([0, 0, 0, 1.13e3])
        return np.array([-p1 - p2, p1 - p3, p1 - p3 - p2 + p4, p2 - p4])

    return _tabulated("E5", f, jacobian, floor=1e-24)


def kaps():
    """Kaps' problem (1981), stiffness 1e4: y = (exp(-2 t), exp(-t)) whatever the stiffness."""
    k = 1e4

    def f(y):
        return np.array([-(k + 2) * y[0] + k * y[1] ** 2, y[0] - y[1] - y[1] ** 2])

    def jacobian(y):
        return np.array([[-(k + 2), 2 * k * y[1]], [1, -1 - 2 * y[1]]])

    t = np.array([0.1, 0.5, 1.0, 3.0, 10.0])
    return StiffProblem(f, jacobian, np.ones(2), t, np.exp(np.outer(t, [-2, -1])), 1e-3)


def spiral():
    """A linear problem with eigenvalues -0.1, -1 and -10 +- 100i (class B of Enright, Hull and Lindberg)."""
    A = np.array([[-10.0, 100, 0, 0], [-100, -10, 0, 0], [0, 0, -1, 0], [0, 0, 0, -0.1]])
    t = np.array([0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 20.0])
    decay = np.exp(-10 * t)
    c, s = np.cos(100 * t), np.sin(100 * t)
    y = np.stack([decay * (c + s), decay * (c - s), np.exp(-t), np.exp(-0.1 * t)], axis=1)
    return StiffProblem(lambda y: A @ y, lambda y: A, np.ones(4), t, y, 1.0)


ALL = {p.__name__: p for p in (hires, rober, orego, vdpol, e5, kaps, spiral)}
