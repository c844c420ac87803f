"""Steps at the margin: a first step that is too large, a clock with few digits left, a solution that blows up."""

import grokflow as gf
import numpy as np
import pytest
from grokflow.flows import _integrate_ode as integrate


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
