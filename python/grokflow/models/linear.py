"""Linear regression, and the diagonal linear network."""

from __future__ import annotations

from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow.losses import Loss
from grokflow.models.initial import Layer, balanced_diagonals
from grokflow.models.model import Regression, Samples, Scale, sample_arguments


class LinearRegression(Regression):
    """Linear regression: the prediction is ``X @ w``, with w of shape (d,), in one block "w".

    Parameters
    ----------
    X : array_like, shape (n, d)
        Inputs, one sample per row.
    y : array_like, shape (n,)
        Targets.
    loss : str or Loss, default "squares"
        On top of the prediction: "squares" or "mse", "logistic" (labels 1 and -1, or 1 and 0) or "huber", by
        name or as an object of :mod:`grokflow.losses`, or one's own.
    test : tuple (X, y), optional
        Samples for :meth:`test_loss`.
    scale : {"mean", "sum", "samples"} or float, default "mean"
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
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        loss: str | Loss = "squares",
        test: Samples | None = None,
        scale: Scale = "mean",
    ) -> None:
        arguments = sample_arguments(X, y, test, scale, loss)
        self._degree, self._layers = 1, (Layer("w", arguments["X"].shape[1], 1),)
        super().__init__(core.LinearRegression, {"w": 1.0}, arguments)


class DiagonalLinearNetwork(Regression):
    """A diagonal linear network: the prediction is ``X @ (u * v)``, with ``w = [u, v]``.

    Weight decay on u and v drives the flow to the interpolator with the smallest l1 norm of ``u * v``.

    Parameters
    ----------
    X : array_like, shape (n, D)
        Inputs, one sample per row; d = 2 D.
    y : array_like, shape (n,)
        Targets.
    loss : str or Loss, default "squares"
        On top of the prediction: "squares" or "mse", "logistic" (labels 1 and -1, or 1 and 0) or "huber", by
        name or as an object of :mod:`grokflow.losses`, or one's own.
    test : tuple (X, y), optional
        Samples for :meth:`test_loss`.
    scale : {"mean", "sum", "samples"} or float, default "mean"
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
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        loss: str | Loss = "squares",
        test: Samples | None = None,
        scale: Scale = "mean",
    ) -> None:
        arguments = sample_arguments(X, y, test, scale, loss)
        std = dict.fromkeys("uv", 0.1**0.5)
        D = arguments["X"].shape[1]
        self._degree, self._layers = 2, tuple(Layer(name, D, D, diagonal=True) for name in "uv")
        self._balance = balanced_diagonals
        super().__init__(core.DiagonalLinearNetwork, std, arguments)
