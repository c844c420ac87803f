"""Networks whose activation has a kink: the exact flow against closed forms, its twin, and its laws."""

import grokflow as gf
import numpy as np
import pytest
import reference.flows
import reference.models
from relu_cases import CASES, Hinge

RTOL, ATOL = 1e-8, 1e-11


def run(how, network, w0, t_span, *, weight_decay, rtol=RTOL, atol=ATOL, t_eval=None, **options):
    """Integrate a function models -> network by the library or by its twin."""
    if how == "reference":
        flow, models = reference.flows.gradient_flow, reference.models
    else:
        flow, models = gf.gradient_flow, gf.models
    sol = flow(
        network(models), w0, t_span, weight_decay=weight_decay, rtol=rtol, atol=atol, t_eval=t_eval, **options
    )
    assert sol.success, sol.message
    return sol


@pytest.fixture(params=["reference"])
def how(request):
    return request.param


# ---------------------------------------------------------------- solved by hand


@pytest.mark.parametrize("hinge", [Hinge(1.7, 0.4, 1.2, 0.9), Hinge(0.8, 1.0, 1.3, 1.3, 0.2)])
def test_hinge_solves_its_equations(hinge):
    t, h = np.linspace(0, 3, 7), 1e-5
    (u, zeta), after, before = hinge.at(t), hinge.at(t + h), hinge.at(t - h)
    r = hinge.kappa * u * zeta - hinge.target
    for i, (x, other) in enumerate([(u, zeta), (zeta, u)]):
        slope = (after[i] - before[i]) / (2 * h)
        np.testing.assert_allclose(slope, -hinge.kappa * other * r - hinge.weight_decay * x, atol=1e-9)
    assert hinge.at(0.0) == pytest.approx((hinge.u, hinge.zeta))
    assert hinge.time_at(hinge.at(0.7)[1]) == pytest.approx(0.7)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_case_solved_by_hand(how, case):
    times = [t for t, _ in case.states]
    sol = run(how, case.network, case.w0, (0, case.t_end), weight_decay=case.weight_decay, t_eval=times)
    for w, (t, exact) in zip(sol.w, case.states, strict=True):
        np.testing.assert_allclose(w, exact, atol=20 * RTOL, err_msg=f"at t = {t}")
    found = sol.mode_changes
    assert [(c["neuron"], c["sample"]) for c in found] == [(j, i) for _, j, i, _ in case.changes]
    for change, (t, _, _, kind) in zip(found, case.changes, strict=True):
        assert change["t"] == pytest.approx(t, abs=20 * RTOL)
        assert kind in (None, change["kind"])
