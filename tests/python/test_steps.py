"""Steps at the margin: a first one that is too large, a clock with few digits left."""

import numpy as np
import pytest
from dense_flow import compiled_options, integrate
from grokflow._backend import core


def decay(t_span=(0.0, 5.0), method="BDF", **options):
    """Return the flow dw/dt = -w from w = 1."""
    return integrate(lambda w: -w, lambda w: -np.eye(1), [1.0], t_span, method=method, **options)


@pytest.mark.parametrize("method", ["BDF", "Radau"])
@pytest.mark.parametrize("first_step", [1e-4, 1e-2, 1.0, 100.0])
def test_first_step_keeps_the_tolerance_whatever_was_asked_for(method, first_step):
    """After any number of rejections, the step accepted in the end is as accurate as any."""
    sol = decay((0.0, 1000.0), method, rtol=1e-6, atol=1e-12, first_step=first_step)
    assert sol.t[1] <= first_step
    assert abs(sol.w[1, 0] - np.exp(-sol.t[1])) < 2e-6


@pytest.mark.parametrize("method", ["BDF", "Radau"])
@pytest.mark.parametrize("t0", [1e6, 1e10, 1e14])
def test_clock_does_not_drift(method, t0):
    """However few digits of t are left to count the time since t0, the steps add up to the span."""
    sol = decay((t0, t0 + 5.0), method, t_eval="log")
    assert sol.final[0] == pytest.approx(np.exp(-5.0), rel=1e-4)
    assert (np.diff(sol.t) > 0).all()


def test_core_refuses_an_order_that_does_not_exist():
    """Python's BDF checks this too; beyond order 5 the history of the core would overflow."""
    options = compiled_options(max_order=6)
    with pytest.raises(ValueError, match="max_order is 6"):
        core.ode(lambda t, w: -w, lambda t, w: -np.eye(1), "dense", 0.0, 1.0, np.ones(1), options)
