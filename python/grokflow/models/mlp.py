"""The multi-layer perceptron."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._validate import as_count
from grokflow.losses import Loss, as_loss
from grokflow.memory import require_memory
from grokflow.models.model import (
    Regression,
    Samples,
    Scale,
    activation_arguments,
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
    negative_slope, smoothing : float, default 0.01
        Parameters of "leaky_relu" and of "smooth_relu", as in :class:`TwoLayerNetwork`.
    bias : bool, default True
        Whether the layers, the last one included, have biases.
    loss : str or Loss, default "squares"
        On top of the prediction: "squares" or "mse", "cross_entropy", "logistic" or "huber", by name or as an
        object of :mod:`grokflow.losses`, or one's own.
    test : tuple (X, y), optional
        Samples for :meth:`test_loss`.
    scale : {"mean", "sum"} or float, default "mean"
        The factor c of the loss; "mean" is 1/(n outputs), or 1/n with "cross_entropy".

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
        bias: bool = True,
        loss: str | Loss = "squares",
        test: Samples | None = None,
        scale: Scale = "mean",
    ) -> None:
        if not isinstance(bias, bool | np.bool_):
            raise TypeError(f"bias is {bias!r}; it must be True or False")
        chosen, parameter = activation_arguments(
            activation, negative_slope=negative_slope, smoothing=smoothing
        )
        own: dict[str, Any] = {
            "widths": as_widths(widths),
            **chosen,
            "bias": bool(bias),
        }
        arguments = sample_arguments(X, y, test, scale, loss, several_outputs=True) | own
        n, p = arguments["X"].shape
        sizes = [p, *own["widths"], math.prod(as_loss(loss)._shape(arguments["y"])[1:])]
        layers = list(pairwise(sizes))
        d = sum(size * (before + own["bias"]) for before, size in layers)
        # w, its gradient and the copy in a linearisation; the layers of a gradient and of a linearisation.
        require_memory(
            f"MLP with widths {own['widths']} has {d} parameters", 3 * d + 5 * n * sum(sizes[1:-1])
        )
        kind = partial(
            core.MLP,
            widths=list(own["widths"]),
            activation=activation,
            parameter=parameter,
            bias=own["bias"],
        )
        std = {f"{part}{l}": before**-0.5 for l, (before, _) in enumerate(layers, 1) for part in "Wb"}
        if activation == "identity" and not own["bias"]:
            self._degree = len(layers)
        super().__init__(kind, std, arguments)
        if activation in KINKED:
            self._kinks = (
                f"activation {activation!r} has kinks, so that the flow of this network is not smooth, and "
                "it is integrated as if it were, in steps that may become very small; "
                "activation='smooth_relu' has a smooth flow"
            )


def as_widths(widths: object) -> tuple[int, ...]:
    """Return `widths` as integers of at least 1, one for each hidden layer."""
    if isinstance(widths, str) or not isinstance(widths, Sequence | np.ndarray):
        raise TypeError(f"widths is {widths!r}; it must be a sequence of integers, e.g. (1000, 1000)")
    if len(widths) == 0:
        raise ValueError("widths is empty; give the neurons of one hidden layer at least, e.g. (1000,)")
    return tuple(as_count(f"widths[{i}]", width) for i, width in enumerate(widths))
