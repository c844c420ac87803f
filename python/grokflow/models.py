"""The models of the library, evaluated in C++: each is a :class:`grokflow.Problem` made from data.

All fit a sum of squares, ``F(w) = (c/2) sum_i (prediction_i - target_i)^2``. The argument `scale` gives c:
"mean" for 1/n (the default), "sum" for 1, or a number. The loss over the test data follows the same rule:
1/n_test, 1, or the number. With several outputs, n counts each output of each sample.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._model import (
    Model,
    Regression,
    Samples,
    Scale,
    activation_arguments,
    compiled_samples,
    sample_arguments,
)
from grokflow._validate import (
    FloatArray,
    as_count,
    as_entries,
    as_positive,
    as_scale,
    require_memory,
)
from grokflow.matrix_sensing import MatrixSensing
from grokflow.mlp import MLP

__all__ = [
    "MLP",
    "DiagonalLinearNetwork",
    "LinearRegression",
    "MatrixCompletion",
    "MatrixSensing",
    "Model",
    "TwoLayerNetwork",
]

Entries: TypeAlias = tuple[ArrayLike, ArrayLike, ArrayLike]


class LinearRegression(Regression):
    """Linear regression: the prediction is ``X @ w``, with w of shape (d,), in one block "w".

    Parameters
    ----------
    X : array_like, shape (n, d)
        Inputs, one sample per row.
    y : array_like, shape (n,)
        Targets.
    test : tuple (X, y), optional
        Samples for :meth:`test_loss`.
    scale : {"mean", "sum"} or float, default "mean"
        The factor c of the loss.

    Raises
    ------
    TypeError
        If the data are not real numbers.
    ValueError
        If shapes do not fit, an entry is nan or infinite, or there is no sample or no column.

    Notes
    -----
    :meth:`initial_weights` draws with standard deviation 1 by default.
    """

    def __init__(
        self, X: ArrayLike, y: ArrayLike, *, test: Samples | None = None, scale: Scale = "mean"
    ) -> None:
        arguments = sample_arguments(X, y, test, scale)
        super().__init__(core.LinearRegression(*compiled_samples(arguments)), {"w": 1.0}, arguments)


class DiagonalLinearNetwork(Regression):
    """A diagonal linear network: the prediction is ``X @ (u * v)``, with ``w = [u, v]``.

    Weight decay on u and v drives the flow to the interpolator with the smallest l1 norm of ``u * v``.

    Parameters
    ----------
    X : array_like, shape (n, D)
        Inputs, one sample per row; d = 2 D.
    y : array_like, shape (n,)
        Targets.
    test : tuple (X, y), optional
        Samples for :meth:`test_loss`.
    scale : {"mean", "sum"} or float, default "mean"
        The factor c of the loss.

    Raises
    ------
    TypeError
        If the data are not real numbers.
    ValueError
        If shapes do not fit, an entry is nan or infinite, or there is no sample or no column.

    Notes
    -----
    :meth:`initial_weights` draws with variance 0.1 by default. The quantity "coefficients" is ``u * v``,
    shape (D,).
    """

    def __init__(
        self, X: ArrayLike, y: ArrayLike, *, test: Samples | None = None, scale: Scale = "mean"
    ) -> None:
        arguments = sample_arguments(X, y, test, scale)
        std = dict.fromkeys("uv", 0.1**0.5)
        super().__init__(core.DiagonalLinearNetwork(*compiled_samples(arguments)), std, arguments)


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
    scale : {"mean", "sum"} or float, default "mean"
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
        if not isinstance(shape, tuple | list) or len(shape) != 2:
            raise ValueError(f"shape is {shape!r}; it must be a pair (N, M)")
        size = as_count("shape[0]", shape[0]), as_count("shape[1]", shape[1])
        columns = as_count("width", width)
        entries = as_entries("", rows, cols, values, size)
        held_out = None
        if test is not None:
            if not isinstance(test, tuple | list) or len(test) != 3:
                raise ValueError("test must be a tuple (rows, cols, values)")
            held_out = as_entries("test ", *test, size)
        names = ("rows", "cols", "values")
        arguments = dict(zip(names, entries, strict=True)) | {
            "shape": size,
            "width": columns,
            "test": held_out,
            "scale": scale,
        }
        compiled = core.MatrixCompletion(
            (*entries, as_scale(scale, entries[2].size)),
            held_out and (*held_out, as_scale(scale, held_out[2].size)),
            *size,
            columns,
        )
        super().__init__(compiled, dict.fromkeys("UV", 1.0), arguments)

    def predict(self, w: ArrayLike) -> FloatArray:
        """Return the whole matrix ``U @ V.T``, shape (N, M)."""
        return self._core.predict(self._weights(w))


class TwoLayerNetwork(Regression):
    """A network with one hidden layer and one output.

    ``f(x) = output_scale * sum_j u_j act(<V_j, x> + b_j) [+ a]``, with ``w = [u, V, b(, a)]`` of shapes
    (width,), (width, p) row-major, (width,) and (1,).

    Parameters
    ----------
    X : array_like, shape (n, p)
        Inputs, one sample per row.
    y : array_like, shape (n,) or (n, 1)
        Targets.
    width : int
        Number of hidden neurons; d = width (p + 2), plus 1 with an output bias.
    activation : str, default "tanh"
        "tanh", "erf", "softplus" (log(1 + exp z)), "gelu" (z Phi(z)), "sigmoid" (1/(1 + exp(-z))),
        "quadratic" (z^2), "identity", "smooth_relu" (a softplus of any width, see `smoothing`), or one that
        is linear on each side of 0: "relu" (max(z, 0)), "leaky_relu" (see `negative_slope`), "abs" (|z|). The
        derivative of those at 0 is taken from the left, and their second derivative as 0 everywhere.
    negative_slope : float, default 0.01
        Only with "leaky_relu": its slope below 0.
    smoothing : float, default 0.01
        Only with "smooth_relu": the width eps of eps log(1 + exp(z/eps)), which has all derivatives and lies
        above max(z, 0) by eps log 2 at 0 and by less than eps exp(-abs(z)/eps) elsewhere.
    output_bias : bool, default False
        Whether the output has a bias a.
    output_scale : float, default 1.0
        The factor of the sum; 1/sqrt(width) keeps the sharpness independent of the width.
    test : tuple (X, y), optional
        Samples for :meth:`test_loss`.
    scale : {"mean", "sum"} or float, default "mean"
        The factor c of the loss.

    Raises
    ------
    TypeError
        If the data are not real numbers.
    ValueError
        If shapes do not fit, there are several outputs, an entry is nan or infinite, there is no sample or no
        column, the activation is unknown, a parameter is given that it does not carry, or the network needs
        more memory than the machine has.

    Notes
    -----
    :meth:`initial_weights` draws u and b with standard deviation 1, V with 1/sqrt(p), and a = 0 by default.
    """

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        width: int,
        activation: str = "tanh",
        negative_slope: float | None = None,
        smoothing: float | None = None,
        output_bias: bool = False,
        output_scale: float = 1.0,
        test: Samples | None = None,
        scale: Scale = "mean",
    ) -> None:
        if not isinstance(output_bias, bool | np.bool_):
            raise TypeError(f"output_bias is {output_bias!r}; it must be True or False")
        chosen, parameter = activation_arguments(
            activation, negative_slope=negative_slope, smoothing=smoothing
        )
        own: dict[str, Any] = {
            "width": as_count("width", width),
            **chosen,
            "output_bias": bool(output_bias),
            "output_scale": as_positive("output_scale", output_scale),
        }
        arguments = sample_arguments(X, y, test, scale) | own
        n, p = arguments["X"].shape
        d = own["width"] * (p + 2) + own["output_bias"]
        require_memory(
            f"TwoLayerNetwork with width {own['width']} has {d} parameters", 3 * d + 5 * n * own["width"]
        )
        std = {"u": 1.0, "V": p**-0.5, "b": 1.0, "a": 0.0}
        compiled = core.TwoLayerNetwork(
            *compiled_samples(arguments),
            own["width"],
            activation,
            parameter,
            own["output_bias"],
            own["output_scale"],
        )
        super().__init__(compiled, std, arguments)
