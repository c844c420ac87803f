"""A warning names the line of the user's that has asked for what it is about, and is given once."""

import grokflow as gf
import numpy as np
import pytest

X = np.eye(2, 4)
W = np.full(4, 0.5)
LINEAR = gf.models.LinearRegression(X, np.ones(2))
KINKED = gf.models.MLP(X, np.ones(2), (3,), activation="relu")
W_KINKED = KINKED.initial_weights()
FEW = {"max_steps": 3}


def single(function):
    """Return a least-squares problem, one function of which returns single precision."""
    functions = {"residual": lambda w: X @ w - 1.0, "jvp": lambda w, v: X @ v, "vjp": lambda w, u: X.T @ u}
    double = functions[function]
    functions[function] = lambda *a: double(*a).astype(np.float32)
    return gf.LeastSquares(**functions, num_params=4, num_residuals=2)


CALLS = [
    ("rtol is 1e-20", lambda: gf.gradient_flow(LINEAR, W, (0, 1), weight_decay=0.1, rtol=1e-20, **FEW)),
    ("rtol is 1e-20", lambda: gf.Integrator(LINEAR, W, (0, 1), weight_decay=0.1, rtol=1e-20)),
    ("rtol is 1e-20", lambda: gf.limit_map(LINEAR, W, rtol=1e-20, **FEW)),
    ("rtol is 1e-20", lambda: gf.norm_flow(LINEAR, [1.0, 1.0, 0.5, 0.5], (0, 1), rtol=1e-20, **FEW)),
    ("rtol is 1e-20", lambda: gf.two_phase(LINEAR, W, [1e-2, 1e-3], rtol=1e-20, s_end=1.0)),
    ("has kinks", lambda: gf.gradient_flow(KINKED, W_KINKED, (0, 1), weight_decay=0.1, **FEW)),
    ("has kinks", lambda: gf.Integrator(KINKED, W_KINKED, (0, 1), weight_decay=0.1)),
    ("has kinks", lambda: gf.limit_map(KINKED, W_KINKED, **FEW)),
    ("has kinks", lambda: gf.two_phase(KINKED, W_KINKED, [1e-2, 1e-3], **FEW)),
    ("has kinks", lambda: gf.first_order_residual(KINKED, W_KINKED, 1e-2)),
    ("residual returned single", lambda: single("residual").loss(W)),
    ("residual returned single", lambda: gf.gradient_flow(single("residual"), W, (0, 1), weight_decay=0.1)),
    ("residual returned single", lambda: gf.limit_map(single("residual"), W)),
    ("vjp returned single", lambda: gf.two_phase(single("vjp"), W, [1e-2, 1e-3])),
    ("jvp returned single", lambda: gf.check_problem(single("jvp"), W)),
]


@pytest.mark.parametrize(("message", "call"), CALLS)
def test_a_warning_names_the_line_of_the_user(message, call):
    with pytest.warns(UserWarning, match=message) as caught:
        call()
    here = [(__file__, call.__code__.co_firstlineno)]
    assert [(warning.filename, warning.lineno) for warning in caught] == here


def test_a_function_of_the_user_is_a_line_of_the_user():
    """Not that of the flow which calls it."""
    problem = single("residual")
    observe = {"other": lambda t, w: problem.loss(w)}
    with pytest.warns(gf.PrecisionWarning) as caught:
        gf.gradient_flow(LINEAR, W, (0, 1), weight_decay=0.1, observe=observe)
    assert [warning.lineno for warning in caught] == [observe["other"].__code__.co_firstlineno]


def test_a_line_of_code_without_a_module():
    """As a notebook or a debugger may run it."""
    with pytest.warns(gf.PrecisionWarning) as caught:
        exec(compile("\n\nproblem.loss(w)", "<cell>", "exec"), {"problem": single("residual"), "w": W})
    assert [(warning.filename, warning.lineno) for warning in caught] == [("<cell>", 3)]
