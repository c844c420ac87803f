"""Diagonal networks of any depth."""

from __future__ import annotations

from functools import partial

from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._validate import as_choice, as_count
from grokflow.losses import Loss
from grokflow.models.initial import Layer, balanced_diagonals, balanced_difference
from grokflow.models.model import Regression, Samples, Scale, sample_arguments

DEEPEST = 1000


class DeepDiagonalNetwork(Regression):
    """A diagonal network of depth L: the prediction is ``X @ b``, with coefficients b of two forms.

    "difference": ``b = u**L - v**L`` with ``w = [u, v]``; "product": ``b = u1 * u2 * ... * uL`` with
    ``w = [u1, ..., uL]``. Weight decay drives the flow to interpolators with a small ``sum_k |b_k|^(2/L)``,
    and small initial weights make it the sparser the deeper the network is.

    Parameters
    ----------
    X : array_like, shape (n, D)
        Inputs, one sample per row; d = 2 D, or L D.
    y : array_like, shape (n,)
        Targets.
    depth : int
        L >= 2.
    form : {"difference", "product"}, default "difference"
        How b is made.
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
        If the data are not real numbers, or the depth is no integer.
    ValueError
        If shapes do not fit, an entry is nan or infinite, there is no sample or no column, or the depth is
        below 2.

    Notes
    -----
    :meth:`initial_weights` draws with variance 0.1 by default; "balanced" makes all moduli of a product
    equal, and u = v of a difference. The quantity "coefficients" is b, shape (D,). Depth 2 of the product is
    :class:`DiagonalLinearNetwork`, with other names.

    References
    ----------
    Woodworth et al., Kernel and Rich Regimes in Overparametrized Models, arXiv:2002.09277.
    """

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        depth: int,
        form: str = "difference",
        loss: str | Loss = "squares",
        test: Samples | None = None,
        scale: Scale = "mean",
    ) -> None:
        layers = as_count("depth", depth, DEEPEST, least=2)
        own = {"depth": layers, "form": as_choice("form", form, ("difference", "product"))}
        arguments = sample_arguments(X, y, test, scale, loss) | own
        difference = form == "difference"
        names = ["u", "v"] if difference else [f"u{l}" for l in range(1, layers + 1)]
        D = arguments["X"].shape[1]
        self._degree = layers
        self._layers = tuple(Layer(name, D, D, diagonal=True) for name in names)
        self._balance = balanced_difference if difference else balanced_diagonals
        kind = partial(core.DeepDiagonalNetwork, depth=layers, difference=difference)
        super().__init__(kind, dict.fromkeys(names, 0.1**0.5), arguments)
