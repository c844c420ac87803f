"""The multi-layer perceptron."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._validate import as_flag, as_widths, is_list
from grokflow.losses import Loss, as_loss
from grokflow.memory import require_memory
from grokflow.models.initial import Layer, balanced_neurons
from grokflow.models.model import (
    Regression,
    Samples,
    Scale,
    activation_arguments,
    degree_of,
    sample_arguments,
)

KINKED = ("relu", "leaky_relu", "abs")


class MLP(Regression):
    """A multi-layer perceptron of any depth, with one or several outputs.

    ``a_0 = x``, ``a_l = act(W_l a_{l-1} + b_l)`` for the hidden layers l = 1, ..., L, and the prediction
    ``W_{L+1} a_L + b_{L+1}``. The weights are ``w = [W1, b1, W2, b2, ...]``, with W of shape (out, in),
    row-major, and b of shape (out,).

    Parameters
    ----------
    X : array_like, shape (n, p)
        Inputs, one sample per row.
    y : array_like, shape (n,) or (n, outputs)
        Targets; with "cross_entropy" classes 0, 1, ... (integers, shape (n,)), one output each, or
        probabilities. The residuals of squares are flat: ``residual(w).reshape(n, outputs)``.
    widths : sequence of int
        Neurons of each hidden layer, from the inputs on, e.g. ``(1000, 1000, 1000)``.
    activation : str, default "tanh"
        Of the hidden layers; the same as those of :class:`TwoLayerNetwork`. The gradient flow of a network
        with "relu", "leaky_relu" or "abs" is not smooth: its right-hand side jumps, and trajectories may
        slide along the kinks. Here they are evaluated only: a flow is integrated as if it were smooth, with
        a warning, in steps that may become very small. "smooth_relu" is a relu with a smooth flow.
    negative_slope, smoothing, coefficients
        Parameters of "leaky_relu", "smooth_relu" and "polynomial", as in :class:`TwoLayerNetwork`.
    bias : bool or sequence of bool, default True
        Whether the layers have biases: all of them, or each by itself, the last one included. Blocks keep
        the number of their layer: ``w = [W1, W2, b2]`` for ``bias=(False, True)``.
    loss : str or Loss, default "squares"
        On top of the prediction: "squares" or "mse", "cross_entropy", "logistic" or "huber", by name or as an
        object of :mod:`grokflow.losses`, or one's own.
    test : tuple (X, y), optional
        Samples for :meth:`test_loss`.
    scale : {"mean", "sum", "samples"} or float, default "mean"
        The factor c of the loss; "mean" is 1/(n outputs), or 1/n with "cross_entropy";
        "samples" is 1/n.

    Raises
    ------
    TypeError
        If the data are not real numbers, or a width is no integer.
    ValueError
        If shapes do not fit, an entry is nan or infinite, there is no sample or no column, a width is not
        positive, the activation is unknown, a parameter is given that it does not carry, or the model needs
        more memory than the machine has.

    Notes
    -----
    :meth:`initial_weights` draws W and b of a layer with standard deviation 1/sqrt(in) by default, so that
    the size of the outputs does not depend on the widths.

    With d parameters, a gradient takes 6 n d floating-point operations, a Hessian-vector product 14 n d, and
    the tangent kernel K is built without J, in 2 n outputs d + n^2 outputs^2 (sum of widths). Beside vectors
    of d numbers, the memory is 3 n (sum of widths) numbers at a point. Large products run on several threads,
    see :func:`grokflow.set_num_threads`.
    """

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        widths: Sequence[int],
        *,
        activation: str = "tanh",
        negative_slope: float | None = None,
        smoothing: float | None = None,
        coefficients: Sequence[float] | None = None,
        bias: bool | Sequence[bool] = True,
        loss: str | Loss = "squares",
        test: Samples | None = None,
        scale: Scale = "mean",
    ) -> None:
        chosen, parameter = activation_arguments(
            activation, negative_slope=negative_slope, smoothing=smoothing, coefficients=coefficients
        )
        own: dict[str, Any] = {
            "widths": as_widths(widths),
            **chosen,
        }
        own["bias"] = as_biases(bias, len(own["widths"]) + 1)
        arguments = sample_arguments(X, y, test, scale, loss, several_outputs=True) | own
        n, p = arguments["X"].shape
        sizes = [p, *own["widths"], math.prod(as_loss(loss)._shape(arguments["y"])[1:])]
        layers = list(pairwise(sizes))
        biases = [own["bias"]] * len(layers) if isinstance(own["bias"], bool) else list(own["bias"])
        d = sum(size * (before + bias) for (before, size), bias in zip(layers, biases, strict=True))
        # w, its gradient and the copy in a linearisation; the layers of a gradient and of a linearisation.
        require_memory(
            f"MLP with widths {own['widths']} has {d} parameters", 3 * d + 5 * n * sum(sizes[1:-1])
        )
        kind = partial(
            core.MLP,
            widths=list(own["widths"]),
            activation=activation,
            parameter=parameter,
            bias=biases,
        )
        self._layers = tuple(
            Layer(f"W{l}", *fans, bias=f"b{l}" if biases[l - 1] else None) for l, fans in enumerate(layers, 1)
        )
        if activation != "identity":
            self._balance = balanced_neurons
        std = {f"{part}{l}": before**-0.5 for l, (before, _) in enumerate(layers, 1) for part in "Wb"}
        degree = degree_of(activation, parameter)
        if degree >= 0 and not any(biases[1:]):
            for _ in own["widths"]:
                self._degree = (self._degree + 1) * degree
            self._degree += 1
        super().__init__(kind, std, arguments)
        if activation in KINKED:
            self._kinks = (
                f"activation {activation!r} has kinks, so that the flow of this network is not smooth, and "
                "it is integrated as if it were, in steps that may become very small; "
                "activation='smooth_relu' has a smooth flow"
            )


class DeepLinearNetwork(MLP):
    """A deep linear network: the prediction is a product of matrices, w = [W1, W2, ...], times x.

    It is an :class:`MLP` of identities without biases. Its product is a matrix of regression coefficients,
    which weight decay drives to small norms of its singular values to the power 2/(L + 1).

    Parameters
    ----------
    X, y, widths, loss, test, scale
        As in :class:`MLP`.

    Raises
    ------
    TypeError, ValueError
        As of :class:`MLP`.

    Notes
    -----
    The quantity "balance" is the largest ``||W_{l+1}^T W_{l+1} - W_l W_l^T||``. The flow without decay
    conserves it, and with decay lam it falls as exp(-2 lam t), whatever the data. :meth:`initial_weights`
    with ``init="balanced"`` begins at 0.

    References
    ----------
    Arora, Cohen, Golowich, Hu, arXiv:1810.02281.
    """

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        widths: Sequence[int],
        *,
        loss: str | Loss = "squares",
        test: Samples | None = None,
        scale: Scale = "mean",
    ) -> None:
        super().__init__(X, y, widths, activation="identity", bias=False, loss=loss, test=test, scale=scale)
        del self._arguments["activation"], self._arguments["bias"]


def as_biases(bias: object, layers: int) -> bool | tuple[bool, ...]:
    """Return whether all layers have biases, or which."""
    if not is_list(bias):
        return as_flag("bias", bias)
    if len(bias) != layers:
        raise ValueError(f"bias has {len(bias)} entries; there are {layers} layers, the last one included")
    return tuple(as_flag(f"bias[{i}]", one) for i, one in enumerate(bias))
