"""Weight decay by block: by name, by pattern, and "*" for what is left."""

import grokflow as gf
import numpy as np
import pytest
from reference.flows import decay_rates

SHAPES = {"0.weight": (2, 2), "0.bias": 2, "2.weight": (1, 2), "2.bias": 1, "odd[1]": 2}
W = np.arange(1.0, 12.0)


def without_loss():
    """A problem whose flow is dw/dt = -D w."""
    return gf.Objective(
        loss=lambda w: 0.0,
        gradient=np.zeros_like,
        hvp=lambda w, v: np.zeros_like(v),
        num_params=11,
        parameters=SHAPES,
    )


@pytest.mark.parametrize(
    ("decay", "rates"),
    [
        ({"*": 0.1, "*.bias": 0.0}, [0.1] * 4 + [0.0] * 2 + [0.1] * 2 + [0.0] + [0.1] * 2),
        ({"*.bias": 0.0, "*": 0.1}, [0.1] * 4 + [0.0] * 2 + [0.1] * 2 + [0.0] + [0.1] * 2),
        ({"0.*": 0.2, "*.bias": 0.0, "*": 0.1}, [0.2] * 6 + [0.1] * 2 + [0.0] + [0.1] * 2),
        (
            {"*.bias": 0.0, "2.bias": 0.3, "?.*": 0.2, "odd*": 0.1},
            [0.2] * 4 + [0, 0, 0.2, 0.2, 0.3, 0.1, 0.1],
        ),
        ({"odd[1]": 0.5, "*": 0.0}, [0.0] * 9 + [0.5] * 2),
    ],
    ids=["* first", "* last", "the first pattern", "names first", "a name that reads as a pattern"],
)
def test_names_go_before_patterns_and_patterns_before_star(decay, rates):
    problem = without_loss()
    sol = gf.gradient_flow(problem, W, (0, 5), weight_decay=decay, rtol=1e-9, atol=1e-12)
    assert sol.final == pytest.approx(W * np.exp(-5.0 * np.array(rates)), rel=1e-7)
    assert decay_rates(problem, decay) == pytest.approx(rates)
    assert sol.settings["weight_decay"] == decay


def test_a_pattern_stands_for_a_block_at_least():
    for decay in ({"*": 0.1, "*.gamma": 0.0}, {"*": 0.1, 3: 0.0}):
        with pytest.raises(ValueError, match=r"weight_decay names .*; this problem has the blocks"):
            gf.gradient_flow(without_loss(), W, (0, 5), weight_decay=decay)
    with pytest.raises(ValueError, match=r"weight_decay names no rate for 'odd\[1\]'"):
        gf.gradient_flow(without_loss(), W, (0, 5), weight_decay={"?.*": 0.1})
