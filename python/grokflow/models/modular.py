"""Modular addition, the task on which grokking was found."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grokflow._validate import FloatArray, as_count, as_generator, as_positive
from grokflow.memory import require_memory

Samples = tuple[FloatArray, FloatArray]


def modular_addition(p: int, fraction: float = 0.5, seed: int = 0) -> tuple[Samples, Samples]:
    """Return the table of ``(a + b) mod p``, split at random into training and test samples.

    Parameters
    ----------
    p : int
        The modulus, at least 2. The table has p^2 entries.
    fraction : float, default 0.5
        The share of the entries that are training samples, in 0 < fraction < 1.
    seed : int, default 0
        Of the split.

    Returns
    -------
    train, test : tuple (X, Y)
        X, shape (n, 2 p), holds the one-hot codes of a and b side by side; Y, shape (n, p), that of their
        sum. A prediction is right where its largest entry is that of Y.

    Raises
    ------
    TypeError
        If `p` is no integer.
    ValueError
        If `p` is below 2, or `fraction` leaves no training or no test sample.

    References
    ----------
    Power, Burda, Edwards, Babuschkin, Misra, arXiv:2201.02177. Gromov, Grokking modular arithmetic,
    arXiv:2301.02679, shows that a two-layer network with the quadratic activation and the squared loss groks.

    Examples
    --------
    >>> (X, Y), test = modular_addition(5, fraction=0.6)
    >>> X.shape, Y.shape, test[0].shape
    ((15, 10), (15, 5), (10, 10))
    """
    modulus, share = as_count("p", p), as_positive("fraction", fraction)
    if modulus < 2:
        raise ValueError(f"p is {p}; it must be at least 2")
    require_memory(f"the table has {modulus**2} entries of {3 * modulus} numbers", 3 * modulus**3)
    count = round(min(share, 1.0) * modulus**2)
    if not 0 < count < modulus**2:
        raise ValueError(f"fraction is {fraction}, which gives {count} of {modulus**2} samples to training")
    entries = as_generator(seed).permutation(modulus**2)
    train, test = (_one_hot(part, modulus) for part in np.split(entries, [count]))
    return train, test


def _one_hot(entries: NDArray[np.int64], p: int) -> Samples:
    a, b = np.divmod(entries, p)
    codes = np.eye(p)
    return np.hstack([codes[a], codes[b]]), codes[(a + b) % p]
