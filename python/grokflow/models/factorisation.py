"""Matrices made of several factors, of which some entries or inner products are known."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._validate import FloatArray, as_count, as_widths
from grokflow.memory import require_memory
from grokflow.models.initial import Layer, balanced_difference
from grokflow.models.matrix_completion import Entries, entry_arguments
from grokflow.models.matrix_sensing import measurement_arguments
from grokflow.models.model import Model, Samples, Scale


class Factorisation(Model):
    """What these models share."""

    _core: core.MeasuredMatrix

    def _of_chain(self, known: tuple[Any, Any], shape: tuple[int, int], arguments: dict[str, Any]) -> None:
        """Make the model of a product of matrices."""
        widths = arguments["widths"]
        sizes = [shape[1], *widths, shape[0]]
        layers = list(enumerate(pairwise(sizes), 1))
        self._layers = tuple(Layer(f"A{l}", *fans) for l, fans in layers)
        d = sum(into * out for _, (into, out) in layers)
        require_memory(f"{type(self).__name__} with widths {widths} has {d} parameters", 3 * d)
        std = {f"A{l}": into**-0.5 for l, (into, _) in layers}
        super().__init__(core.MeasuredMatrix(*known, sizes, symmetric=False), std, arguments)

    def _of_difference(self, known: tuple[Any, Any], size: int, arguments: dict[str, Any]) -> None:
        """Make the model of ``U U^T - V V^T``."""
        columns = {"U": arguments["width"], "V": arguments["negative"]}
        self._layers = tuple(Layer(name, k, size) for name, k in columns.items() if k)
        self._balance = balanced_difference
        d = size * sum(columns.values())
        require_memory(f"{type(self).__name__} with width {columns['U']} has {d} parameters", 3 * d)
        std = {layer.weight: size**-0.5 for layer in self._layers}
        super().__init__(
            core.MeasuredMatrix(*known, [size, *columns.values()], symmetric=True), std, arguments
        )

    def predict(self, w: ArrayLike) -> FloatArray:
        """Return the whole matrix, shape (N, M)."""
        return self._core.predict(self._weights(w))


class DeepMatrixCompletion(Factorisation):
    """Completion by a product of any number of factors, the last one first, which is to match some entries.

    The weights are ``w = [A1, ..., AL]``, A1 with as many columns as the matrix has, each row-major. With two
    factors it is :class:`MatrixCompletion`, which is faster.

    Parameters
    ----------
    rows, cols, values, shape, test, scale
        As in :class:`MatrixCompletion`.
    widths : sequence of int
        Rows of A1, A2, ... but for the last factor: L - 1 numbers, one at least.

    Raises
    ------
    TypeError
        If the values are not real numbers, or the indices or widths no integers.
    ValueError
        If lengths differ, an index is out of range, an entry occurs twice or is nan or infinite, there is
        none, or a width is not positive.

    Notes
    -----
    :meth:`initial_weights` draws with standard deviation 1/sqrt(columns) by default; "balanced" makes
    ``A_{l+1}^T A_{l+1} = A_l A_l^T``. The quantity "singular_values" holds all singular values of the
    product, falling; "balance" is the largest ``||A_{l+1}^T A_{l+1} - A_l A_l^T||``, which decays as exp(-2
    lam t).

    References
    ----------
    Arora, Cohen, Hu, Luo, Implicit Regularization in Deep Matrix Factorization, arXiv:1905.13655.
    """

    def __init__(
        self,
        rows: ArrayLike,
        cols: ArrayLike,
        values: ArrayLike,
        *,
        shape: tuple[int, int],
        widths: Sequence[int],
        test: Entries | None = None,
        scale: Scale = "mean",
    ) -> None:
        known, arguments = entry_arguments(rows, cols, values, shape, test, scale)
        self._of_chain(known, arguments["shape"], arguments | {"widths": as_widths(widths)})


class DeepMatrixSensing(Factorisation):
    """Sensing of a product of any number of factors, the last one first: its inner products are to match y.

    The weights are ``w = [A1, ..., AL]``, A1 with as many columns as the matrix has, each row-major. With two
    factors it is :class:`MatrixSensing`, which is faster.

    Parameters
    ----------
    A, y, test, scale
        As in :class:`MatrixSensing`.
    widths : sequence of int
        Rows of A1, A2, ... but for the last factor: L - 1 numbers, one at least.

    Raises
    ------
    TypeError
        If the data are not real numbers, or a width is no integer.
    ValueError
        If shapes do not fit, an entry is nan or infinite, there is no measurement, or a width is not
        positive.

    Notes
    -----
    As of :class:`DeepMatrixCompletion`.
    """

    def __init__(
        self,
        A: ArrayLike,
        y: ArrayLike,
        *,
        widths: Sequence[int],
        test: Samples | None = None,
        scale: Scale = "mean",
    ) -> None:
        known, arguments = measurement_arguments(A, y, test, scale)
        shape = arguments["A"].shape[1:]
        self._of_chain(known, (shape[0], shape[1]), arguments | {"widths": as_widths(widths)})


class SymmetricCompletion(Factorisation):
    """Completion of a symmetric matrix: ``U @ U.T - V @ V.T`` is to match some entries, with ``w = [U, V]``.

    Parameters
    ----------
    rows, cols, values, test, scale
        As in :class:`MatrixCompletion`.
    size : int
        Rows and columns of the matrix.
    width : int
        Columns of U (size, width).
    negative : int, default 0
        Columns of V (size, negative); without any the matrix is ``U @ U.T``, which is positive semidefinite.

    Raises
    ------
    TypeError
        If the values are not real numbers, or the indices no integers.
    ValueError
        If lengths differ, an index is out of range, an entry occurs twice or is nan or infinite, or there is
        none.

    Notes
    -----
    :meth:`initial_weights` draws with standard deviation 1/sqrt(size) by default. The quantity
    "singular_values" holds those of the matrix, falling.
    """

    def __init__(
        self,
        rows: ArrayLike,
        cols: ArrayLike,
        values: ArrayLike,
        *,
        size: int,
        width: int,
        negative: int = 0,
        test: Entries | None = None,
        scale: Scale = "mean",
    ) -> None:
        own = columns_of(width, negative)
        n = as_count("size", size)
        known, arguments = entry_arguments(rows, cols, values, (n, n), test, scale)
        del arguments["shape"]
        self._of_difference(known, n, arguments | {"size": n} | own)


class SymmetricSensing(Factorisation):
    """Sensing of a symmetric matrix: inner products of ``U @ U.T - V @ V.T`` are to match y; ``w = [U, V]``.

    Parameters
    ----------
    A, y, test, scale
        As in :class:`MatrixSensing`; the measurement matrices are square.
    width : int
        Columns of U (N, width).
    negative : int, default 0
        Columns of V (N, negative); without any the matrix is ``U @ U.T``, which is positive semidefinite.

    Raises
    ------
    TypeError
        If the data are not real numbers, or a width is no integer.
    ValueError
        If shapes do not fit, an entry is nan or infinite, or there is no measurement.

    Notes
    -----
    As of :class:`SymmetricCompletion`.

    References
    ----------
    Gunasekar et al., Implicit Regularization in Matrix Factorization, arXiv:1705.09280.
    """

    def __init__(
        self,
        A: ArrayLike,
        y: ArrayLike,
        *,
        width: int,
        negative: int = 0,
        test: Samples | None = None,
        scale: Scale = "mean",
    ) -> None:
        own = columns_of(width, negative)
        known, arguments = measurement_arguments(A, y, test, scale)
        N, M = arguments["A"].shape[1:]
        if N != M:
            raise ValueError(
                f"A has matrices of shape {(N, M)}; those that measure a symmetric one are square"
            )
        self._of_difference(known, N, arguments | own)


def columns_of(width: object, negative: object) -> dict[str, int]:
    """Return the columns of both factors, of which the second may have none."""
    try:
        columns = operator.index(negative)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"negative is {negative!r}; it must be an integer") from None
    if columns < 0:
        raise ValueError(f"negative is {columns}; it must be 0 or more")
    return {"width": as_count("width", width), "negative": columns}
