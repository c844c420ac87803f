"""Matrix completion."""

from __future__ import annotations

from typing import Any, TypeAlias

from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._validate import FloatArray, as_count, as_entries, as_scale
from grokflow.memory import require_memory
from grokflow.models.initial import factors
from grokflow.models.model import Model, Scale

Entries: TypeAlias = tuple[ArrayLike, ArrayLike, ArrayLike]


class MatrixCompletion(Model):
    """Matrix completion: ``U @ V.T`` is to match a matrix at its observed entries, with ``w = [U, V]``.

    Weight decay on U and V drives the flow to small nuclear norm, hence to low rank.

    Parameters
    ----------
    rows, cols : array_like of int, shape (n,)
        Indices of the observed entries, from 0. No entry may occur twice.
    values : array_like, shape (n,)
        Their values.
    shape : tuple (N, M)
        Shape of the matrix.
    width : int
        Columns of U (N, width) and V (M, width), stored row-major; d = (N + M) width.
    test : tuple (rows, cols, values), optional
        Entries for :meth:`test_loss`.
    scale : {"mean", "sum", "samples"} or float, default "mean"
        The factor c of the loss.

    Raises
    ------
    TypeError
        If the values are not real numbers or the indices no integers.
    ValueError
        If lengths differ, an index is out of range, an entry occurs twice or is nan or infinite, or
        there is none.

    Notes
    -----
    :meth:`initial_weights` draws with standard deviation 1 by default. The quantity "singular_values" holds
    the min(N, M, width) largest singular values of ``U @ V.T``, falling.
    """

    _core: core.MatrixCompletion

    def __init__(
        self,
        rows: ArrayLike,
        cols: ArrayLike,
        values: ArrayLike,
        *,
        shape: tuple[int, int],
        width: int,
        test: Entries | None = None,
        scale: Scale = "mean",
    ) -> None:
        columns = as_count("width", width)
        known, arguments = entry_arguments(rows, cols, values, shape, test, scale)
        N, M = arguments["shape"]
        d = (N + M) * columns
        require_memory(f"MatrixCompletion of shape {(N, M)} with width {columns} has {d} parameters", 3 * d)
        compiled = core.MatrixCompletion(*known, N, M, columns)
        arguments["width"] = columns
        self._layers = factors(N, M, columns)
        super().__init__(compiled, dict.fromkeys("UV", 1.0), arguments)

    def predict(self, w: ArrayLike) -> FloatArray:
        """Return the whole matrix ``U @ V.T``, shape (N, M)."""
        N, M = self._arguments["shape"]
        require_memory(f"the matrix has {N} x {M} entries", N * M)
        return self._core.predict(self._weights(w))


def entry_arguments(
    rows: ArrayLike,
    cols: ArrayLike,
    values: ArrayLike,
    shape: tuple[int, int],
    test: Entries | None,
    scale: Scale,
) -> tuple[tuple[Any, Any], dict[str, Any]]:
    """Return training and test entries as the core takes them, and the checked arguments, as copies."""
    if not isinstance(shape, tuple | list) or len(shape) != 2:
        raise ValueError(f"shape is {shape!r}; it must be a pair (N, M)")
    size = as_count("shape[0]", shape[0]), as_count("shape[1]", shape[1])
    entries = as_entries("", rows, cols, values, size)
    held_out = None
    if test is not None:
        if not isinstance(test, tuple | list) or len(test) != 3:
            raise ValueError("test must be a tuple (rows, cols, values)")
        held_out = as_entries("test ", *test, size)
    known = (*entries, as_scale(scale, entries[2].size))
    unseen = held_out and (*held_out, as_scale(scale, held_out[2].size))
    names = ("rows", "cols", "values")
    own = {"shape": size, "test": held_out, "scale": scale}
    return (known, unseen), dict(zip(names, entries, strict=True)) | own
