"""Modular addition, entry by entry."""

import numpy as np


def modular_addition(p, fraction=0.5, seed=0):
    entries = np.random.default_rng(seed).permutation(p * p)
    count = round(fraction * p * p)
    return table(entries[:count], p), table(entries[count:], p)


def table(entries, p):
    X, Y = np.zeros((len(entries), 2 * p)), np.zeros((len(entries), p))
    for row, entry in enumerate(entries):
        a, b = entry // p, entry % p
        X[row, a] = X[row, p + b] = Y[row, (a + b) % p] = 1
    return X, Y
