"""The table of modular addition: its laws, its split, and misuse."""

import grokflow as gf
import numpy as np
import pytest
from reference import modular as reference


def test_agrees_with_the_reference():
    ours, twin = gf.modular_addition(7, 0.3, 5), reference.modular_addition(7, 0.3, 5)
    for mine, other in zip(ours, twin, strict=True):
        np.testing.assert_array_equal(mine[0], other[0])
        np.testing.assert_array_equal(mine[1], other[1])


@pytest.mark.parametrize(("p", "fraction"), [(2, 0.5), (5, 0.6), (23, 0.5), (97, 0.4)])
def test_train_and_test_make_up_the_table(p, fraction):
    (X, Y), (X_test, Y_test) = gf.modular_addition(p, fraction)
    assert len(X) == round(fraction * p * p)
    a, b = np.split(np.vstack([X, X_test]), 2, axis=1)
    total = np.vstack([Y, Y_test])
    for code in (a, b, total):
        assert (code.sum(axis=1) == 1).all()
    a, b, total = (code.argmax(axis=1) for code in (a, b, total))
    np.testing.assert_array_equal(total, (a + b) % p)
    assert sorted(a * p + b) == list(range(p * p))


def test_seed_makes_the_split():
    first, same, other = (gf.modular_addition(11, seed=seed)[0][0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


@pytest.mark.parametrize(
    ("arguments", "error", "name"),
    [
        ((2.5,), TypeError, "p is"),
        ((1,), ValueError, "p is 1"),
        ((0,), ValueError, "p is 0"),
        ((5, 0.0), ValueError, "fraction"),
        ((5, 1.0), ValueError, "fraction"),
        ((5, 0.001), ValueError, "fraction"),
        ((5, np.nan), ValueError, "fraction"),
    ],
)
def test_misuse(arguments, error, name):
    with pytest.raises(error, match=name):
        gf.modular_addition(*arguments)
