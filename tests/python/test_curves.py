"""What is read off recorded curves: power laws and exponentials are straight lines there, hence exact."""

import math

import numpy as np
import pytest
from grokflow.curves import first_crossing, nearest, stays_below, value_at

T = np.geomspace(1.0, 1e4, 5)


def test_a_power_law_is_exact_between_the_points():
    assert value_at(T, T**-3.0, 30.0) == pytest.approx(30.0**-3)
    assert first_crossing(T, T**-2.0, 1e-5) == pytest.approx(10.0**2.5)
    assert first_crossing(T, T**-2.0, 1e-3 * T**-1.0) == pytest.approx(1e3)
    assert stays_below(T, T**-2.0, 1e-5) == pytest.approx(10.0**2.5)


def test_an_exponential_is_exact_over_t():
    s = np.linspace(0.0, 5.0, 4)
    assert first_crossing(s, np.exp(-s), math.exp(-2.2), log_t=False) == pytest.approx(2.2)
    assert first_crossing(s, np.exp(-s), math.exp(-0.2)) == pytest.approx(0.2)  # no log t at its start
    assert stays_below(s, np.exp(-s), math.exp(-0.2)) == pytest.approx(0.2)


def test_the_first_crossing_and_the_last():
    values = np.array([1.0, 1e-2, 1.0, 1e-2, 1e-4])
    assert first_crossing(T, values, 0.1) == pytest.approx(10.0**0.5)
    assert stays_below(T, values, 0.1) == pytest.approx(10.0**2.5)


def test_what_is_below_from_the_start_and_what_never_is():
    for find in (first_crossing, stays_below):
        assert find(T, T**-2.0, 2.0) == 1.0
        assert math.isnan(find(T, T**-2.0, 1e-9))
    assert math.isnan(first_crossing(np.empty(0), np.empty(0), 1.0))


def test_a_fall_to_zero_is_seen_where_it_has_happened():
    """No line in a logarithmic axis leads there."""
    values = np.array([1.0, 1.0, 1.0, 0.0, 0.0])
    assert first_crossing(T, values, 0.5) == stays_below(T, values, 0.5) == 1e3
    assert value_at(T, values, 1e4) == 0.0
    assert math.isnan(value_at(T, values, math.nan))


def test_nearest():
    np.testing.assert_array_equal(nearest(T, np.array([0.0, 4.0, 7.0, 1e9])), [0, 0, 1, 4])
