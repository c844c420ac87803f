"""Bad values by the kind of an argument: each with its error and with words that the message must have."""

import numpy as np

NAN, INF = float("nan"), float("inf")


def at(values, index, bad):
    """Return a copy of `values` with one bad entry."""
    changed = np.array(values, dtype=float)
    changed[index] = bad
    return changed


def array(name, good):
    """Values for an argument that is an array of fixed shape."""
    good = np.asarray(good, dtype=float)
    first = tuple(0 for _ in good.shape)
    where = ", ".join("0" for _ in good.shape)
    return [
        (None, TypeError, f"{name} is None"),
        ("text", TypeError, f"{name} is dtype <U4"),
        ({}, TypeError, f"{name} is dtype object"),
        (good + 1j, TypeError, f"{name} is dtype complex128; it must hold real numbers"),
        (np.array(["2020"], dtype="M8[Y]"), TypeError, f"{name} is dtype datetime64"),
        (at(good, first, NAN), ValueError, f"{name}[{where}] is nan; all entries must be finite"),
        (at(good, first, -INF), ValueError, f"{name}[{where}] is -inf; all entries must be finite"),
        (np.ma.masked_array(good, np.ones(good.shape)), ValueError, f"{name} has masked entries"),
        ([[1.0], [1.0, 2.0]], ValueError, f"{name} is ragged"),
        (np.ones((2, 2, 2, 2)), ValueError, f"{name} has shape (2, 2, 2, 2)"),
        ([], ValueError, name),
    ]


def vector(name, size):
    """Values for a vector of so many entries."""
    wrong = np.ones(size + 1)
    return [
        *array(name, np.ones(size)),
        (wrong, ValueError, f"{name} has shape ({size + 1},); it must be ({size},)"),
    ]


def number(name):
    """Values for a finite number."""
    return [
        ("1", TypeError, f"{name} is '1'; it must be a real number"),
        (1j, TypeError, f"{name} is 1j; it must be a real number"),
        ([1.0, 2.0], TypeError, f"{name} is [1.0, 2.0]; it must be a real number"),
        (NAN, ValueError, f"{name} is nan"),
        (10**400, ValueError, f"{name} is inf"),
        (True, TypeError, f"{name} is True; it must be a real number"),
        (np.ma.masked, TypeError, f"{name} is masked; it must be a real number"),
    ]


def positive(name, *, none=False, inf=False):
    """Values for a positive number; whether None and inf are good ones."""
    return [
        *number(name),
        (0, ValueError, f"{name} is 0"),
        (-1.5, ValueError, f"{name} is -1.5; it must be positive"),
        *([] if none else [(None, TypeError, f"{name} is None")]),
        *([] if inf else [(INF, ValueError, f"{name} is inf; it must be finite")]),
    ]


def not_negative(name):
    """Values for a number that may be 0."""
    return [*number(name), (-1e-9, ValueError, f"{name} is -1e-09; it must not be negative")]


def count(name, *, none=False, huge="at most", least=1):
    """Values for an integer of at least `least`; what is said of a huge one."""
    return [
        (least - 1, ValueError, f"{name} is {least - 1}; it must be at least {least}"),
        (-3, ValueError, f"{name} is -3; it must be at least {least}"),
        (2.0, TypeError, f"{name} is 2.0; it must be an integer"),
        ("3", TypeError, f"{name} is '3'; it must be an integer"),
        (NAN, TypeError, f"{name} is nan; it must be an integer"),
        *([] if none else [(None, TypeError, f"{name} is None; it must be an integer")]),
        *([(2**70, ValueError, huge)] if huge else []),
        (True, TypeError, f"{name} is True; it must be an integer"),
        (10**5000, ValueError, f"{name} is an integer of 16610 bits"),
    ]


def function(name, *, none=False):
    """Values for a function of the user's."""
    return [
        (3, TypeError, f"{name} is 3; it must be a function"),
        ("sin", TypeError, f"{name} is 'sin'; it must be a function"),
        *([] if none else [(None, TypeError, name)]),
    ]


def choice(name, first):
    """Values for one of several words, of which `first` is one."""
    return [
        ("nothing", ValueError, f"{name} is 'nothing'; choose from"),
        (None, ValueError, f"{name} is None; choose from"),
        (7, ValueError, repr(first)),
        ([first], ValueError, f"{name} is"),
        (np.ones(2), ValueError, f"{name} is array([1., 1.])"),
    ]


def pair(name):
    """Values for the start and end of a span."""
    return [
        (None, TypeError, f"{name} is None; it must be a pair of numbers"),
        (5.0, TypeError, f"{name} is 5.0; it must be a pair of numbers"),
        ((0, 1, 2), TypeError, f"{name} is (0, 1, 2); it must be a pair of numbers"),
        ((1, 0), ValueError, f"{name} is (1, 0), which is reversed"),
        ((0, INF), ValueError, f"{name}[1] is inf; it must be finite"),
        ((NAN, 1), ValueError, f"{name}[0] is nan; it must be finite"),
        (("0", 1), TypeError, f"{name}[0] is '0'; it must be a real number"),
        ({0, 1}, TypeError, f"{name} is {{0, 1}}; it must be a pair of numbers"),
    ]
