"""What else the drift makes small: weighted norms, functions of one's own, the trace of the Hessian."""

import grokflow as gf
import numpy as np
import pytest
from limit_problems import PROBLEMS, hyperbola, landed

each_problem = pytest.mark.parametrize("name", PROBLEMS)
SHORT = {"t_eval": [0.3, 1.0], "rtol": 1e-9, "atol": 1e-11}


def test_a_mapping_of_equal_weights_is_the_norm():
    problem, w = landed("tanh")
    norm = gf.norm_flow(problem, w, (0, 1), **SHORT)
    weighted = gf.norm_flow(problem, w, (0, 1), regularizer={"*": 1.0}, **SHORT)
    assert weighted.w == pytest.approx(norm.w, abs=1e-12)
    faster = gf.norm_flow(
        problem, w, (0, 0.5), regularizer={"*": 2.0}, t_eval=[0.15, 0.5], rtol=1e-9, atol=1e-11
    )
    assert faster.w == pytest.approx(norm.w, abs=1e-8)


@each_problem
def test_functions_of_ones_own_give_the_same_drift(name):
    problem, w = landed(name)
    weights = np.where(np.arange(len(w)) < problem.blocks[next(iter(problem.blocks))].stop, 1.0, 0.25)
    own = gf.Regularizer(value=lambda w: w @ (weights * w) / 2.0, gradient=lambda w: weights * w)
    mapping = {next(iter(problem.blocks)): 1.0, "*": 0.25}
    a, b = (gf.norm_flow(problem, w, (0, 1), regularizer=R, **SHORT) for R in (own, mapping))
    assert a.w == pytest.approx(b.w, abs=1e-12)
    assert a["regularizer"] == pytest.approx(b["regularizer"], rel=1e-12)
    assert (np.diff(a["regularizer"]) < 0).all()
    assert a.settings["regularizer"] != b.settings["regularizer"] == mapping


def test_a_weighted_norm_in_closed_form():
    """On u v = 1 with R = u^2 / 2: du/ds = -u / (1 + u^-4)."""
    sol = gf.norm_flow(own_hyperbola(), [2.0, 0.5], (0, 1), regularizer={"u": 1.0, "v": 0.0}, **SHORT)
    u = sol.w[:, 0]
    assert np.log(2.0 / u) + (u**-4 - 2.0**-4) / 4.0 == pytest.approx(sol.t, abs=1e-7)


def own_hyperbola():
    return gf.LeastSquares(
        residual=lambda w: [w[0] * w[1] - 1.0],
        jacobian=lambda w: [[w[1], w[0]]],
        num_params=2,
        num_residuals=1,
        parameters={"u": 1, "v": 1},
    )


@each_problem
def test_the_trace_of_the_hessian(name):
    """On the manifold it is c tr K; the drift takes the gradient of that, here by central differences."""
    problem, w = landed(name)

    def trace(w):
        return problem.scale * np.sum(problem.jacobian(w) ** 2)

    def slope(w, h=1e-4):
        return np.array([(trace(w + h * e) - trace(w - h * e)) / (2.0 * h) for e in np.eye(len(w))])

    assert trace(w) == pytest.approx(np.trace(problem.hessian(w)), rel=1e-10)
    own = gf.Regularizer(value=trace, gradient=slope)
    a, b = (
        gf.norm_flow(problem, w, (0, 1), regularizer=R, t_eval=[0.3, 1.0]) for R in ("hessian_trace", own)
    )
    assert a.w == pytest.approx(b.w, abs=1e-5)
    assert a["regularizer"] == pytest.approx([trace(w) for w in a.w], rel=1e-12)
    assert (np.diff(a["regularizer"]) <= 1e-12).all()


def test_the_trace_of_a_problem_of_ones_own_comes_by_differences():
    """On u v = 1 it is u^2 + v^2, twice what the norm makes small: its drift is twice as fast."""
    w = [3.0, 1.0 / 3.0]
    trace = gf.norm_flow(hyperbola(), w, (0, 0.5), regularizer="hessian_trace", t_eval=[0.2, 0.5])
    norm = gf.norm_flow(hyperbola(), w, (0, 1.0), t_eval=[0.4, 1.0])
    assert trace.w == pytest.approx(norm.w, abs=1e-5)


@pytest.mark.parametrize(
    ("regularizer", "error", "message"),
    [
        ("l2", ValueError, "regularizer is 'l2'"),
        (3.0, (TypeError, ValueError), "regularizer is 3.0"),
        ({"x": 1.0}, ValueError, "regularizer names 'x'"),
        ({"u": 1.0}, ValueError, "regularizer names no rate for 'v'"),
        ({"*": -1.0}, ValueError, "must not be negative"),
        (gf.Regularizer(value=lambda w: 0.0, gradient=lambda w: w[:3]), ValueError, r"has shape \(3,\)"),
        (gf.Regularizer(value=lambda w: 0.0, gradient=lambda w: w * np.nan), ValueError, "is nan at index 0"),
        (gf.Regularizer(value=lambda w: "x", gradient=lambda w: w), TypeError, "value"),
    ],
)
def test_misuse(regularizer, error, message):
    problem, w = landed("diagonal")
    with pytest.raises(error, match=message):
        gf.norm_flow(problem, w, (0, 1), regularizer=regularizer)


def test_a_regularizer_that_fails_on_the_way_keeps_the_trajectory():
    problem, w = landed("diagonal")

    def gradient(w):
        if np.linalg.norm(w) < 0.95 * start:
            raise RuntimeError("my own fault")
        return w

    start = np.linalg.norm(w)
    own = gf.Regularizer(value=lambda w: w @ w / 2.0, gradient=gradient)
    with pytest.raises(RuntimeError, match="my own fault") as caught:
        gf.norm_flow(problem, w, (0, 10), regularizer=own, t_eval=None)
    assert caught.value.solution.status == "interrupted"
    assert np.isfinite(caught.value.solution.w).all()


def test_both_parts_must_be_functions():
    with pytest.raises(TypeError, match="gradient is 3; it must be a function"):
        gf.Regularizer(value=lambda w: 0.0, gradient=3)


def test_no_trace_without_residuals():
    blind = gf.Objective(
        loss=lambda w: 0.0, gradient=lambda w: 0.0 * w, hessian=lambda w: np.zeros((2, 2)), num_params=2
    )
    with pytest.raises(ValueError, match="'hessian_trace' needs residuals"):
        gf.norm_flow(blind, np.ones(2), (0, 1), regularizer="hessian_trace")
