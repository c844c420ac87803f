"""Where the flow ends on the functions of More, Garbow & Hillstrom, given residuals and a Jacobian alone."""

import json
from pathlib import Path

import grokflow as gf
import more_garbow_hillstrom as functions
import numpy as np
import pytest

DATA = Path(__file__).parents[1] / "data" / "more_garbow_hillstrom.json"
PROBLEMS = json.loads(DATA.read_text())["problems"]


def least_squares(case):
    residual, start = getattr(functions, case["name"]), np.array(case["start"])

    def jacobian(x):  # by complex steps, exact to round-off
        return np.array([residual(x + 1e-30j * e).imag for e in np.eye(len(x))]).T / 1e-30

    problem = gf.LeastSquares(
        residual=residual,
        jacobian=jacobian,
        num_params=len(start),
        num_residuals=len(residual(start)),
        scale="sum",
    )
    return problem, start


# Where Radau ends otherwise: past the saddle of BIGGS, and at rest before |J^+ r| says that it is near.
ENDS_BY_RADAU = {
    ("biggs", 6): "landed",
    ("jennrich_sampson", 2): "finished",
}


@pytest.mark.parametrize("method", ["BDF", "Radau"])
@pytest.mark.parametrize("case", PROBLEMS, ids=lambda case: f"{case['name']}-{len(case['start'])}")
def test_the_flow_ends_at_a_stationary_point_and_says_of_which_kind(case, method):
    problem, start = least_squares(case)
    assert 2 * problem.loss(start) == pytest.approx(case["sum_at_start"], rel=1e-12)
    with np.errstate(over="ignore", invalid="ignore"):  # far out, in a step that is rejected
        landing = gf.limit_map(problem, start, max_steps=20_000, method=method)
    ends = ENDS_BY_RADAU.get((case["name"], len(start)), case["ends"]) if method == "Radau" else case["ends"]
    assert landing.status == ends, landing.message
    gaps = [abs(2 * landing.loss - least) / max(least, 1e-20) for least in case["minima"]]
    assert min(gaps) < 1e-5  # published with six digits
    if case["ends"] == "degenerate":  # r and J sink together, algebraically
        return
    J, r = problem.jacobian(landing.w), problem.residual(landing.w)
    size, round_off = np.linalg.norm(J), 1e-15 * np.linalg.norm(J) * np.linalg.norm(landing.w)
    rest = 1e-9 if method == "BDF" else 1e-8  # relative; of a flow that has come to rest at its tolerance
    assert np.linalg.norm(J.T @ r) <= size * max(rest * np.linalg.norm(r), round_off)
