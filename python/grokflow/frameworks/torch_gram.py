"""Sums of Gram matrices, filled block by block in the lower triangle, and on the diagonal."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

ROWS = 512  # of K that are filled at a time
ENTRIES = 2**24  # of rows of J that are held at a time, of layers


class Gram:
    """K (n k, n k), the sum of ``rows rows^T`` over what is added: rows by sample and output, (n, k, ...).

    It lies in `memory`, (n k)^2 numbers: to be given pages anew would cost as much as to be filled.
    """

    def __init__(self, n: int, k: int, memory: Tensor) -> None:
        self.n, self.k = n, k
        self._K = memory.view(n * k, n * k).zero_()

    def add(self, rows: Tensor) -> None:
        """Add the part of parameters with rows of J (n, k, p)."""
        flat = rows.flatten(0, 1)
        for i in self._blocks():
            here, before = self._rows(i), slice(0, i.stop * self.k)
            self._K[here, before].addmm_(flat[here], flat[before].T)

    def add_layer(self, A: Tensor, B: Tensor) -> None:
        """Add that of a matrix of weights, with rows sum_t B_t A_t^T of J: A (n, T, p), B (n, k, T, o)."""
        tokens, p, o = A.shape[1], A.shape[2], B.shape[3]
        # An entry takes T^2 short products and passes over memory, or one long product over p o.
        if tokens > 1 and 4 * tokens**2 * (p / self.k + o + 20) >= p * o:
            for some in B.split(max(1, ENTRIES // (self.n * self.k * p)), -1):
                self.add(torch.einsum("nkto,ntp->nkop", some, A).flatten(2))
            return
        entries = self._K.view(self.n, self.k, self.n, self.k)
        for i in self._blocks():
            for s in range(tokens):
                for t in range(tokens):
                    inputs = A[i, s] @ A[: i.stop, t].T
                    rows, columns = B[i, :, s].flatten(0, 1), B[: i.stop, :, t].flatten(0, 1)
                    products = (rows @ columns.T).view(len(inputs), self.k, -1, self.k)
                    entries[i, :, : i.stop].addcmul_(products, inputs[:, None, :, None])

    def whole(self) -> Tensor:
        """K, when all has been added."""
        for i in self._blocks():
            here, before = self._rows(i), slice(0, i.start * self.k)
            self._K[before, here] = self._K[here, before].T
            corner = self._K[here, here]
            corner.add_(corner.T.clone()).mul_(0.5)
        return self._K

    def _blocks(self) -> Iterator[slice]:
        """The samples, some at a time."""
        step = max(1, ROWS // self.k)
        return (slice(i, min(i + step, self.n)) for i in range(0, self.n, step))

    def _rows(self, samples: slice) -> slice:
        return slice(samples.start * self.k, samples.stop * self.k)
