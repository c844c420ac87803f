"""Random problems for property tests: any model, size, scale of data and loss."""

import os
from dataclasses import dataclass, field

import numpy as np
import pytest

pytest.importorskip("hypothesis")
from grokflow import models
from grokflow._backend import core
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

NAMES = (
    "LinearRegression",
    "DiagonalLinearNetwork",
    "MatrixCompletion",
    "MatrixSensing",
    "TwoLayerNetwork",
    "MLP",
)
KINKS = ("relu", "leaky_relu", "abs")
SMOOTH = tuple(name for name in core.activation_names() if name not in KINKS)
COEFFICIENTS = (0.2, 1.0, -0.5, 0.1)
SEEDS = st.integers(0, 2**32 - 1)


def effort(many):
    """A parameter `effort` of a test: the settings of a quick look, and of a long one, marked slow.

    Both try the same examples each time; EXPLORE=1 in the environment looks for others, and for more.
    """
    few, explore = max(8, many // 15), "EXPLORE" in os.environ
    many = 10 * many if explore else many // 3 + 1
    levels = {
        count: settings(
            max_examples=count,
            deadline=None,
            database=None,
            derandomize=not explore,
            suppress_health_check=list(HealthCheck),
        )
        for count in (few, many)
    }
    slow = pytest.param(levels[many], marks=pytest.mark.slow, id="many")
    return pytest.mark.parametrize("effort", [pytest.param(levels[few], id="few"), slow])


@dataclass(frozen=True)
class Case:
    """A model by its name and arguments; the first arrays among these hold its data."""

    name: str
    data: tuple
    options: dict = field(default_factory=dict)

    def make(self, module=models, data=None):
        """The model of that name in `module`, with data of one's own if there are any."""
        return getattr(module, self.name)(*(self.data if data is None else data), **self.options)


@st.composite
def cases(draw, activations=SMOOTH, names=NAMES):
    """A random `Case`, small enough for its twin."""
    size = st.integers(1, 6)
    rng = np.random.default_rng(draw(SEEDS))
    n, p, width = draw(size), draw(size), draw(size)
    X = 10.0 ** draw(st.floats(-2.0, 0.5)) * rng.standard_normal((n, p))
    y = 10.0 ** draw(st.floats(-2.0, 1.0)) * rng.standard_normal(n)
    options = {"scale": draw(st.sampled_from(["mean", "sum", "samples", 0.3]))}
    name = draw(st.sampled_from(names))
    if name in ("TwoLayerNetwork", "MLP"):
        fit = [activation for activation in activations if name != "MLP" or activation not in KINKS]
        options["activation"] = draw(st.sampled_from(fit))
        if options["activation"] == "polynomial":
            options["coefficients"] = COEFFICIENTS
    if name == "TwoLayerNetwork":
        options |= {"width": width, "output_bias": draw(st.booleans()), "output_scale": width**-0.5}
        options["bias"] = draw(st.booleans())
        if draw(st.booleans()):
            y = rng.standard_normal((n, 2))
    if name == "MLP":
        options |= {
            "widths": tuple(draw(st.lists(size, min_size=1, max_size=3))),
            "bias": draw(st.booleans()),
        }
        y = rng.standard_normal((n, *draw(st.sampled_from([(), (1,), (3,)]))))
    if name == "MatrixSensing":
        return Case(name, (rng.standard_normal((n, p, draw(size))), y), options | {"width": width})
    if name == "MatrixCompletion":
        shape = p, draw(size)
        chosen = rng.permutation(p * shape[1])[:n]
        rows, cols = np.divmod(chosen, shape[1])
        return Case(name, (rows, cols, y[: len(chosen)]), options | {"shape": shape, "width": width})
    return Case(name, (X, y), options)


def weights(problem, seed, std=1.0):
    return std * np.random.default_rng(seed).standard_normal(problem.num_params)
