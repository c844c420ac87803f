"""The network with one hidden layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._validate import as_choice, as_count, as_flag, as_positive, as_real
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


class TwoLayerNetwork(Regression):
    """A network with one hidden layer, and one or several outputs.

    ``f(x) = output_scale * sum_j u_j act(<V_j, x> [+ b_j]) [+ a]``, with ``w = [u, V(, b)(, a)]`` of shapes
    (width,), (width, p) row-major, (width,) and (1,). Of several outputs, u is (width, outputs), row-major,
    and a is (outputs,).

    Parameters
    ----------
    X : array_like, shape (n, p)
        Inputs, one sample per row.
    y : array_like, shape (n,), (n, 1) or (n, outputs)
        Targets; with "cross_entropy" classes 0, 1, ... (integers, shape (n,)), one output each, or
        probabilities. The residuals of squares are flat: ``residual(w).reshape(n, outputs)``.
    width : int
        Number of hidden neurons; d = width (p + outputs + 1), width (p + outputs) without `bias`; plus
        `outputs` with an output bias.
    activation : str, default "tanh"
        "tanh", "erf", "softplus" (log(1 + exp z)), "gelu" (z Phi(z)), "sigmoid" (1/(1 + exp(-z))),
        "quadratic" (z^2), "polynomial" (see `coefficients`), "identity", "smooth_relu" (a softplus of any
        width, see `smoothing`), or one that is linear on each side of 0: "relu" (max(z, 0)), "leaky_relu"
        (see `negative_slope`), "abs" (``|z|``). The derivative of those at 0 is taken from the left, and
        their second derivative as 0 everywhere.
    negative_slope : float, default 0.01
        Only with "leaky_relu": its slope below 0.
    smoothing : float, default 0.01
        Only with "smooth_relu": the width eps of eps log(1 + exp(z/eps)), which has all derivatives and lies
        above max(z, 0) by eps log 2 at 0 and by less than eps exp(-abs(z)/eps) elsewhere.
    coefficients : sequence of float, optional
        Only with "polynomial", which needs them: those of 1, z, z^2, ..., as of
        :class:`numpy.polynomial.Polynomial`: ``(0, 1, 0.5)`` is z + z^2/2, and ``(0, 0, 0, 1)`` the cube.
    output_bias : bool, default False
        Whether the output has a bias a.
    bias : bool, default True
        Whether neurons have biases b.
    output_scale : float, "mean-field" or "ntk", default 1.0
        The factor of the sum: 1/width by the name "mean-field", 1/sqrt(width) by "ntk", which keeps the
        sharpness independent of the width.
    loss : str or Loss, default "squares"
        On top of the prediction: "squares" or "mse", "cross_entropy", "logistic" (labels 1 and -1, or 1 and
        0) or "huber", by name or as an object of :mod:`grokflow.losses`, or one's own.
    test : tuple (X, y), optional
        Samples for :meth:`test_loss`.
    scale : {"mean", "sum", "samples"} or float, default "mean"
        The factor c of the loss; "mean" is 1/(n outputs), or 1/n with "cross_entropy";
        "samples" is 1/n.

    Raises
    ------
    TypeError
        If the data are not real numbers.
    ValueError
        If shapes do not fit, an entry is nan or infinite, there is no sample or no column, the activation is
        unknown, a parameter is given that it does not carry, or one that it needs is not, or it takes more
        memory than the machine has.

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
        coefficients: Sequence[float] | None = None,
        output_bias: bool = False,
        output_scale: float | str = 1.0,
        bias: bool = True,
        loss: str | Loss = "squares",
        test: Samples | None = None,
        scale: Scale = "mean",
    ) -> None:
        chosen, parameter = activation_arguments(
            activation, negative_slope=negative_slope, smoothing=smoothing, coefficients=coefficients
        )
        own: dict[str, Any] = {
            "width": as_count("width", width),
            **chosen,
            "output_bias": as_flag("output_bias", output_bias),
            "output_scale": as_output_scale(output_scale, as_count("width", width)),
            "bias": as_flag("bias", bias),
        }
        several = math.prod(as_loss(loss)._shape(as_real("y", y))[1:]) > 1
        arguments = sample_arguments(X, y, test, scale, loss, several_outputs=several) | own
        n, p = arguments["X"].shape
        m, outputs = own["width"], math.prod(as_loss(loss)._shape(arguments["y"])[1:])
        d = m * (p + outputs + own["bias"]) + outputs * own["output_bias"]
        require_memory(f"TwoLayerNetwork with width {m} has {d} parameters", 3 * d + 5 * n * m)
        std = {"u": 1.0, "V": p**-0.5} | ({"b": 1.0} if own["bias"] else {}) | {"a": 0.0}
        self._layers = (
            Layer("V", p, m, bias="b" if own["bias"] else None),
            Layer("u", m, outputs, bias="a" if own["output_bias"] else None, transposed=outputs > 1),
        )
        if activation != "identity":
            self._balance = balanced_neurons
        kind = partial(
            core.TwoLayerNetwork,
            width=own["width"],
            activation=activation,
            parameter=parameter,
            output_bias=own["output_bias"],
            output_scale=own["output_scale"],
            bias=own["bias"],
        )
        if not own["output_bias"]:
            self._degree = degree_of(activation, parameter) + 1
        super().__init__(kind, std, arguments)


def as_output_scale(scale: float | str, width: int) -> float:
    """Return the factor of a sum over neurons, also by name."""
    if not isinstance(scale, str):
        return as_positive("output_scale", scale)
    powers = {"mean-field": -1.0, "ntk": -0.5}
    factor: float = float(width) ** powers[as_choice("output_scale", scale, list(powers))]
    return factor
