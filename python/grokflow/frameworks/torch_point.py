"""The graphs of a network at one point, from which all its derivatives there are taken."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from grokflow._validate import FloatArray
from grokflow.frameworks.torch_kernel import Kernel, Tokens
from grokflow.frameworks.torch_network import Network


class Point:
    """The outputs f (n, k) of a network at w, and what is made of J = df/dw and Hess F, F = loss(f), there.

    Each graph is made when it is first asked for, and kept: one forward pass serves f and J^T u, one backward
    pass on it J v, one through the loss Hess F v.
    """

    def __init__(self, network: Network, kernel: Kernel, w: FloatArray, X: Tensor, loss: Any = None) -> None:
        self.kernel, self.X, self.loss = kernel, X, loss
        self.w = network.leaf(w)
        self.f = network(network.tree(self.w), X)

    def vjp(self, u: Tensor) -> Tensor:
        """J^T u, (d,), for u of the shape of f."""
        return torch.autograd.grad(self.f, self.w, u, retain_graph=True)[0]

    def jvp(self, v: Tensor) -> Tensor:
        """J v, of the shape of f: the derivative of <J^T u, v> by u."""
        u, pull = self._pull
        return torch.autograd.grad(pull, u, v, retain_graph=True)[0]

    def hvp(self, v: Tensor) -> Tensor:
        """Hess F v, (d,)."""
        return torch.autograd.grad(self._gradient, self.w, v, retain_graph=True)[0]

    def gradient(self) -> Tensor:
        """grad F, (d,)."""
        return self._gradient.detach()

    def gram(self, names: Sequence[str]) -> Tensor:
        """The part of J J^T that belongs to the parameters `names`, (n k, n k)."""
        return self.kernel.gram(self.w, self.X, self.f.shape, self._trace, names)

    @cached_property
    def _trace(self) -> dict[str, Tokens]:
        return self.kernel.trace(self.w, self.X)

    @cached_property
    def _pull(self) -> tuple[Tensor, Tensor]:
        u = torch.zeros_like(self.f, requires_grad=True)
        return u, torch.autograd.grad(self.f, self.w, u, create_graph=True)[0]

    @cached_property
    def _gradient(self) -> Tensor:
        return torch.autograd.grad(self.loss(self.f), self.w, create_graph=True)[0]
