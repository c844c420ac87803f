"""Halving the step divides the error by 2^order, at the ends of steps and between them."""

import numpy as np
import pytest
from dense_flow import compiled_options
from grokflow._backend import core

RATE, BEGIN, END = 5.0, 2.0, 4.0  # errors are taken after the start has been forgotten
METHODS = [("BDF", order, order) for order in range(1, 6)] + [("Radau", 5, 4), ("ROCK2", 2, 2)]


def circle(t):
    return np.array([np.cos(t), np.sin(t)])


def follow(t, y):
    """dy/dt for y = (cos t, sin t), of which no derivative vanishes, and which all other paths approach."""
    return -RATE * (y - circle(t)) + circle(t + np.pi / 2)


def largest_errors(method, order, h, rtol):
    """At the ends of steps, and between them."""
    options = compiled_options(
        t1=END, method=method, max_order=order, rtol=rtol, atol=np.array([rtol]), max_step=h, max_steps=1000
    )
    run = core.ode(follow, lambda t, y: -RATE * np.eye(2), "dense", 0.0, END, circle(0.0), options)
    ends, between = [], []
    while run.advance(False) == "running":
        if run.previous_t < BEGIN:
            continue
        assert run.order == order
        assert run.t - run.previous_t == pytest.approx(h)
        ends.append(run.w - circle(run.t))
        between += [run.interpolate(t) - circle(t) for t in np.linspace(run.previous_t, run.t, 6)[1:-1]]
    return np.abs(ends).max(), np.abs(between).max()


@pytest.mark.parametrize(("method", "at_ends", "dense"), METHODS)
def test_order(method, at_ends, dense):
    """At steps of one size, which the tolerance keeps at the highest order."""
    h = {"BDF": 1 / 32, "Radau": 1 / 8, "ROCK2": 1 / 32}[method]
    rtol = 10 * h ** (at_ends + 1) if method == "BDF" else 1.0
    coarse, fine = (largest_errors(method, at_ends, step, rtol) for step in (h, h / 2))
    assert np.log2(np.divide(coarse, fine)) == pytest.approx([at_ends, dense], abs=0.1)
