"""Matrix sensing."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._validate import FloatArray, as_array, as_count, as_real, as_scale, as_vector
from grokflow.memory import require_memory
from grokflow.models.initial import factors
from grokflow.models.model import Model, Samples, Scale


class MatrixSensing(Model):
    """Matrix sensing: inner products of ``U @ V.T`` with given matrices are to match y, with ``w = [U, V]``.

    The prediction for the measurement matrix A_i is ``np.sum(A_i * (U @ V.T))``. Weight decay on U and V
    drives the flow to small nuclear norm, hence to low rank.

    Parameters
    ----------
    A : array_like, shape (n, N, M)
        The measurement matrices.
    y : array_like, shape (n,)
        What they measure.
    width : int
        Columns of U (N, width) and V (M, width), stored row-major; d = (N + M) width.
    test : tuple (A, y), optional
        Measurements for :meth:`test_loss`.
    scale : {"mean", "sum", "samples"} or float, default "mean"
        The factor c of the loss.

    Raises
    ------
    TypeError
        If the data are not real numbers, or the width is no integer.
    ValueError
        If shapes do not fit, an entry is nan or infinite, there is no measurement, or the model needs more
        memory than the machine has.

    Notes
    -----
    :meth:`initial_weights` draws with standard deviation 1 by default. The quantity "singular_values" holds
    the min(N, M, width) largest singular values of ``U @ V.T``, falling. For single entries of a matrix use
    :class:`MatrixCompletion`, which is much faster there.

    A gradient takes 4 n N M floating-point operations. The tangent kernel takes about n^2 N M, or
    n^2 width (N + M) if that is less, and the memory of n N M or n d numbers.
    """

    _core: core.MatrixSensing

    def __init__(
        self,
        A: ArrayLike,
        y: ArrayLike,
        *,
        width: int,
        test: Samples | None = None,
        scale: Scale = "mean",
    ) -> None:
        known, arguments = measurement_arguments(A, y, test, scale)
        (N, M), columns = arguments["A"].shape[1:], as_count("width", width)
        d = (N + M) * columns
        require_memory(f"MatrixSensing with width {columns} has {d} parameters", 3 * d)
        compiled = core.MatrixSensing(*known, N, M, columns)
        arguments["width"] = columns
        self._layers = factors(N, M, columns)
        super().__init__(compiled, dict.fromkeys("UV", 1.0), arguments)

    def predict(self, w: ArrayLike) -> FloatArray:
        """Return the whole matrix ``U @ V.T``, shape (N, M)."""
        return self._core.predict(self._weights(w))


def measurement_arguments(
    A: ArrayLike, y: ArrayLike, test: Samples | None, scale: Scale
) -> tuple[tuple[Any, Any], dict[str, Any]]:
    """Return training and test measurements as the core takes them, and the checked arguments, as copies."""
    matrices, targets = as_measurements("", A, y)
    held_out = None
    if test is not None:
        if not isinstance(test, tuple | list) or len(test) != 2:
            raise ValueError("test must be a tuple (A, y)")
        held_out = as_measurements("test ", *test)
        if held_out[0].shape[1:] != matrices.shape[1:]:
            raise ValueError(
                f"test A has matrices of shape {held_out[0].shape[1:]}; those of A have {matrices.shape[1:]}"
            )
    known, unseen = (
        (part[0].reshape(len(part[1]), -1), part[1], as_scale(scale, part[1].size)) if part else None
        for part in ((matrices, targets), held_out)
    )
    return (known, unseen), {"A": matrices, "y": targets, "test": held_out, "scale": scale}


def as_measurements(prefix: str, A: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return copies of measurement matrices and of what they measure."""
    matrices = as_real(f"{prefix}A", A)
    if matrices.ndim == 2:
        raise ValueError(f"{prefix}A has 2 dimensions; it must be (n, N, M), one matrix per measurement")
    matrices = as_array(f"{prefix}A", matrices, 3)
    return matrices.copy(), as_vector(f"{prefix}y", y, matrices.shape[0]).copy()
