"""The activation kernels: accuracy, limits, derivatives."""

import math

import numpy as np
import pytest
import reference.models
from grokflow._backend import core

POLYNOMIAL_LIMITS = {
    (1.0, -0.25, 0.5): ((math.inf, -math.inf, 1), (math.inf, math.inf, 1)),
    (0.0, 1.0, 0.0, 0.3, 0.0): ((-math.inf, math.inf, -math.inf), (math.inf, math.inf, math.inf)),
}
PARAMETERS = {
    "leaky_relu": (0.01, -0.3, 0.0),
    "smooth_relu": (0.01, 1e-6, 30.0),
    "polynomial": tuple(POLYNOMIAL_LIMITS),
}
KERNELS = [(name, value) for name in core.activation_names() for value in PARAMETERS.get(name, (0.0,))]
LIMITS = {  # value, first and second derivative at -inf and at +inf
    "tanh": ((-1, 0, 0), (1, 0, 0)),
    "erf": ((-1, 0, 0), (1, 0, 0)),
    "softplus": ((0, 0, 0), (math.inf, 1, 0)),
    "gelu": ((0, 0, 0), (math.inf, 1, 0)),
    "sigmoid": ((0, 0, 0), (1, 0, 0)),
    "quadratic": ((math.inf, -math.inf, 2), (math.inf, math.inf, 2)),
    "identity": ((-math.inf, 1, 0), (math.inf, 1, 0)),
    "relu": ((0, 0, 0), (math.inf, 1, 0)),
    "abs": ((math.inf, -1, 0), (math.inf, 1, 0)),
    "smooth_relu": ((0, 0, 0), (math.inf, 1, 0)),
}


def sample_points():
    """Both signs of everything from the subnormal numbers to beyond saturation."""
    rng = np.random.default_rng(0)
    size = np.concatenate(
        [
            np.exp(rng.uniform(math.log(5e-324), 0.0, 20_000)),
            rng.uniform(0, 3, 100_000),
            rng.uniform(0, 45, 20_000),
            np.linspace(0.6249, 0.6251, 1001),
            [0.0, 5e-324, 1e-310, 0.625, 1.0, 20.0, 22.0, 1e5, 1e300],
        ]
    )
    return np.concatenate([size, -size])


def errors_in_ulp(computed, exact):
    return np.abs((computed - exact) / np.spacing(np.abs(exact.astype(float)))).astype(float)


def test_tanh_is_within_two_ulp():
    z = sample_points()
    computed = core.activation("tanh", z)[0]
    assert errors_in_ulp(computed, np.tanh(z.astype(np.longdouble))).max() <= 2.0
    assert np.array_equal(np.signbit(computed), np.signbit(z))


def test_erf_is_within_three_ulp():
    z = sample_points()
    exact = np.vectorize(math.erf)(z)  # itself within 1 ulp
    assert errors_in_ulp(core.activation("erf", z)[0], exact).max() <= 4.0


def test_softplus_is_within_three_ulp():
    z = np.clip(sample_points(), -700, None)  # below, exp(z) is flushed to 0
    t = z.astype(np.longdouble)
    exact = np.maximum(t, 0) + np.log1p(np.exp(-np.abs(t)))
    assert errors_in_ulp(core.activation("softplus", z)[0], exact).max() <= 3.0


def test_sigmoid_is_within_three_ulp():
    z = np.clip(sample_points(), -700, None)
    exact = 1 / (1 + np.exp(-z.astype(np.longdouble)))
    assert errors_in_ulp(core.activation("sigmoid", z)[0], exact).max() <= 3.0


@pytest.mark.parametrize("width", [1e-300, 1e-12, 0.1, 1e12])
def test_smooth_relu_is_within_the_rounding_of_its_argument(width):
    z = width * np.clip(sample_points(), -700, 700)
    t = z.astype(np.longdouble)
    exact = np.maximum(t, 0) + width * np.log1p(np.exp(-np.abs(t / width)))
    a, a1, a2 = core.activation("smooth_relu", z, width)
    normal = exact > 1e-307
    assert (errors_in_ulp(a, exact) <= 4.0 + 2.0 * np.abs(z / width))[normal].all()
    np.testing.assert_allclose(a2 * width, a1 * (1 - a1), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("width", [1e-12, 1e-3, 1.0])
def test_smooth_relu_exceeds_relu_by_less_than_the_width(width):
    z = np.concatenate([sample_points(), width * sample_points()])
    excess = core.activation("smooth_relu", z, width)[0] - np.maximum(z, 0)
    with np.errstate(over="ignore"):
        bound = width * np.exp(-np.abs(z) / width)
    assert (excess >= 0).all()
    assert (excess <= bound * (1 + 1e-12) + np.spacing(np.abs(z))).all()
    assert core.activation("smooth_relu", np.zeros(1), width)[0][0] == pytest.approx(width * math.log(2))


@pytest.mark.parametrize(("name", "parameter"), KERNELS)
def test_agrees_with_the_reference(name, parameter):
    z = sample_points()
    z = z[np.abs(z) < 1e4]
    for computed, expected in zip(
        core.activation(name, z, parameter), reference.models.activation(name, z, parameter), strict=True
    ):
        np.testing.assert_allclose(computed, expected, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize(("name", "parameter"), KERNELS)
def test_derivatives_by_taylor_slope(name, parameter, order):
    z = np.random.default_rng(1).uniform(-3, 3, 400)
    z = z[np.abs(z) > 0.1]  # the kink of relu
    if name == "smooth_relu":
        z *= parameter
    h = 10.0 ** -np.arange(1.5, 3.0, 0.5) * (parameter if name == "smooth_relu" else 1.0)
    at_z = core.activation(name, z, parameter)
    remainder = [
        np.abs(core.activation(name, z + step, parameter)[order] - at_z[order] - step * at_z[order + 1]).max()
        for step in h
    ]
    if max(remainder) > 1e-14:  # else the function is piecewise linear, and the remainder vanishes
        slope = np.polyfit(np.log(h), np.log(remainder), 1)[0]
        assert slope == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(("name", "parameter"), KERNELS)
def test_limits_at_infinity(name, parameter):
    computed = np.array(core.activation(name, np.array([-math.inf, math.inf]), parameter)).T
    if name == "leaky_relu":
        below = 0 if parameter == 0 else math.copysign(math.inf, -parameter)
        limits = (below, parameter, 0), (math.inf, 1, 0)
    elif name == "polynomial":
        limits = POLYNOMIAL_LIMITS[parameter]
    else:
        limits = LIMITS[name]
    np.testing.assert_array_equal(computed, np.array(limits, dtype=float))


@pytest.mark.parametrize(("name", "parameter"), KERNELS)
def test_nan_propagates(name, parameter):
    z = np.zeros(130)
    z[[3, 128]] = math.nan
    value = core.activation(name, z, parameter)[0]
    assert np.flatnonzero(np.isnan(value)).tolist() == [3, 128]


@pytest.mark.parametrize(("name", "parameter"), KERNELS)
def test_result_does_not_depend_on_position(name, parameter):
    z = np.random.default_rng(2).normal(size=301)
    whole = core.activation(name, z, parameter)
    for start, stop in [(0, 1), (1, 65), (37, 300), (64, 301)]:
        for part, all_of_it in zip(core.activation(name, z[start:stop], parameter), whole, strict=True):
            assert np.array_equal(part, all_of_it[start:stop])
