"""Conjugate gradients on the device of a module: vectors cross once a solve, not once a product."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

MOST = 2000  # iterations
LEAST = 0.5  # node of the Gauss-Radau rule, below the eigenvalues of S, over its shift


def solve(
    product: Callable[[Tensor], Tensor], alpha: float | Tensor, beta: float, v: Tensor, tolerance: float
) -> Tensor | None:
    """Return the solution x of ``(alpha + beta H) x = v``, or None where negative curvature is met.

    The unknown is ``y = alpha^1/2 x``, and S of ``S y = alpha^-1/2 v / beta`` is ``alpha^-1/2 H alpha^-1/2 +
    I / beta``. The error of y is estimated as in the core (`krylov.cpp`): from its S-norm, which the
    Gauss-Radau rule bounds and the latest steps tell (Meurant, Tichy, Numer. Algorithms 62 (2013) and 82
    (2019)), over the least eigenvalue of S, about 1 / beta.
    """
    root, shift = alpha**-0.5, 1.0 / beta
    residual = shift * root * v
    y, search = torch.zeros_like(v), residual.clone()
    slope = float(residual @ residual)
    node, weight, falls = LEAST * shift, 1.0 / (LEAST * shift), []
    for _ in range(MOST):
        if slope == 0.0:
            break
        image = root * product(root * search) + shift * search
        curvature = float(search @ image)
        if not curvature > 0.0:
            return None
        length = slope / curvature
        y += length * search
        residual -= length * image
        last, slope = slope, float(residual @ residual)
        gap = weight - length  # not positive if the node was too large after all
        weight = gap / (node * gap + slope / last) if gap > 0.0 else 1.0 / node
        falls.append(length * last)
        latest = falls[-(1 + len(falls) // 4) :]
        squared = max(sum(latest), weight * slope)
        if math.sqrt(squared / shift) <= tolerance * float(y.norm()):
            break
        search = residual + (slope / last) * search
    return root * y
