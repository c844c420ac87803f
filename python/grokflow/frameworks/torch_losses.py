"""The losses of the library as functions of torch, whose second derivatives are taken through the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from grokflow import losses


def as_function(criterion: losses.Loss, targets: Any, like: Tensor) -> Callable[[Tensor], Tensor] | None:
    """Return f -> l(f), summed over the samples, on the device of `like`; None for a loss of one's own."""
    y = torch.as_tensor(targets, device=like.device)
    if isinstance(criterion, losses.Squares):
        y = y.to(like)
        return lambda f: 0.5 * ((f - y) ** 2).sum()
    if isinstance(criterion, losses.Huber):
        y = y.to(like)
        return lambda f: functional.huber_loss(f, y, reduction="sum", delta=criterion.delta)
    if isinstance(criterion, losses.Logistic):
        sign = torch.where(y == 1, 1.0, -1.0).to(like)
        return lambda f: functional.softplus(-sign * f).sum()
    if isinstance(criterion, losses.CrossEntropy):
        q = y.to(like) if y.ndim == 2 else y
        smoothing = criterion.label_smoothing
        return lambda f: functional.cross_entropy(f, q, reduction="sum", label_smoothing=smoothing)
    return None
