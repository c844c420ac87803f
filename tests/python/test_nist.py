"""Nonlinear regression as a flow: the Statistical Reference Datasets of NIST, with their certified values.

Residuals that stay, and no Hessian-vector products: Gauss-Newton alone does not contract at these minimisers.
"""

import json
from functools import cache
from pathlib import Path

import grokflow as gf
import numpy as np
import pytest

DATA = Path(__file__).parents[1] / "data" / "nist_strd.json"
DATASETS = {case["name"]: case for case in json.loads(DATA.read_text())["datasets"]}
FUNCTIONS = {name: getattr(np, name) for name in ("exp", "sin", "cos", "arctan", "pi")}
WAYS = [
    ("BDF", "dense"),
    ("BDF", "gram"),
    ("BDF", "krylov"),
    ("Radau", "dense"),
    ("Radau", "gram"),
    pytest.param("Radau", "krylov", marks=pytest.mark.slow),
]


@cache
def regression(name):
    """Return the problem in units of the certified parameters, which are signs then, and both starts."""
    case = DATASETS[name]
    certified = np.array(case["certified"], dtype=float)
    units, y = np.abs(certified), np.array(case["y"])
    x = np.array(case["x"])
    inputs = {"x": x[0]} if len(x) == 1 else {f"x{i + 1}": row for i, row in enumerate(x)}
    model = compile(case["model"], name, "eval")

    def predict(w):
        parameters = {f"b{i + 1}": value for i, value in enumerate(w * units)}
        return eval(model, FUNCTIONS | inputs | parameters)

    def jacobian(w):  # by complex steps, exact to round-off
        return np.array([predict(w + 1e-30j * e).imag for e in np.eye(len(w))]).T / 1e-30

    targets = np.log(y) if case["log"] else y
    problem = gf.LeastSquares(
        residual=lambda w: predict(w) - targets,
        jacobian=jacobian,
        num_params=len(units),
        num_residuals=len(y),
        scale="sum",
    )
    return problem, np.array(case["start1"]) / units, np.array(case["start2"]) / units, np.sign(certified)


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.parametrize(("method", "curvature"), WAYS)
def test_the_flow_ends_at_the_certified_minimiser(name, method, curvature):
    problem, _, start, certified = regression(name)
    end = 30 / DATASETS[name]["slowest"]
    sol = gf.gradient_flow(
        problem,
        start,
        (0, end),
        weight_decay=0.0,
        method=method,
        curvature=curvature,
        rtol=1e-8,
        atol=1e-12,
        observe={},
        t_eval=[end],
        max_steps=3000,
    )
    assert sol.success, sol.message
    np.testing.assert_allclose(sol.final, certified, rtol=1e-8)
    if name != "Lanczos1":  # whose certified sum, 1.4e-25, eleven digits of the parameters do not determine
        assert 2 * problem.loss(sol.final) == pytest.approx(float(DATASETS[name]["rss"]), rel=1e-9)


@pytest.mark.parametrize("name", ["Eckerle4", "MGH09", "MGH10", "Nelson"])
def test_the_first_start_takes_longer(name):
    """Up to t = 5e8; elsewhere the flow from there ends at another stationary point, or runs off."""
    problem, start, _, certified = regression(name)
    options = {"weight_decay": 0.0, "curvature": "dense", "rtol": 1e-10, "atol": 1e-14, "observe": {}}
    sol = gf.gradient_flow(problem, start, (0, 1e10), t_eval=[1e10], **options)
    assert sol.success, sol.message
    np.testing.assert_allclose(sol.final, certified, rtol=1e-8)
