"""Whether a kernel is that of its network: K_p u = J_p J_p^T u, one parameter at a time, on a few samples.

A kernel takes for granted that samples do not see each other; one by layers, that a parameter acts through
its layer alone. Where one does not, K is wrong by a few percent, and nothing else would tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from grokflow._validate import FloatArray

SAMPLES = 3
Product = Callable[[FloatArray], FloatArray]


def wrong_blocks(
    blocks: Mapping[str, slice],
    *,
    jvp: Product,
    vjp: Product,
    gram: Callable[[str], FloatArray],
    size: int,
    tolerance: float,
) -> list[str]:
    """Return the blocks whose part of K, `gram(name)` of shape (size, size), is not J_p J_p^T."""
    u = np.random.default_rng(0).standard_normal(size)
    pull = vjp(u)
    wrong = []
    for name, block in blocks.items():
        part = np.zeros_like(pull)
        part[block] = pull[block]
        expected, found = jvp(part), gram(name) @ u
        if not np.linalg.norm(found - expected) <= tolerance * np.linalg.norm(expected):
            wrong.append(name)
    return wrong


def beside(w: FloatArray) -> FloatArray:
    """Weights where nothing vanishes by the choice of w."""
    size = max(float(np.sqrt(np.mean(w**2))), 1e-2)
    return w + 0.3 * size * np.random.default_rng(1).standard_normal(w.size)
