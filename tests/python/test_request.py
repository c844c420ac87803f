"""The public functions spell the keywords of a run; each is handed down to what checks it."""

import inspect
from dataclasses import fields

import grokflow as gf
import numpy as np
import pytest
from grokflow._options import Request

PROBLEM = gf.models.LinearRegression(np.eye(2, 3), np.ones(2))
W = np.array([1.0, 1.0, 0.5])
CALLS = {
    gf.gradient_flow: ((PROBLEM, W, (0, 1)), {"weight_decay": 0.1}),
    gf.Integrator: ((PROBLEM, W, (0, 1)), {"weight_decay": 0.1}),
    gf.limit_map: ((PROBLEM, W), {}),
    gf.norm_flow: ((PROBLEM, W, (0, 1)), {}),
    gf.two_phase: ((PROBLEM, W, [0.1]), {}),
}
NAMES = {field.name for field in fields(Request)} - {"t_span", "progress", "journal"}
PAIRS = [
    (function, name) for function in CALLS for name in inspect.signature(function).parameters if name in NAMES
]


@pytest.mark.parametrize(("function", "name"), PAIRS)
def test_a_keyword_arrives(function, name):
    """None of them may be a set."""
    arguments, keywords = CALLS[function]
    with pytest.raises((TypeError, ValueError), match=name):
        function(*arguments, **keywords, **{name: {1.5}})


def test_every_flow_takes_every_keyword():
    for function in (gf.gradient_flow, gf.Integrator, gf.norm_flow):
        assert {name for called, name in PAIRS if called is function} == NAMES
