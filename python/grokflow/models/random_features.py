"""Networks of which the last layer alone is trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._validate import FloatArray, as_count, as_inputs
from grokflow.losses import Loss
from grokflow.memory import require_memory
from grokflow.models.initial import Layer, weights_of
from grokflow.models.model import Regression, Samples, Scale, activation_arguments, sample_arguments
from grokflow.models.two_layer import as_output_scale


class RandomFeatures(Regression):
    """Random features: ``f(x) = output_scale * sum_j w_j act(<v_j, x> + b_j)`` with v and b drawn once.

    The model is linear in its weights w, shape (width,), in one block "w".

    Parameters
    ----------
    X : array_like, shape (n, p)
        Inputs, one sample per row.
    y : array_like, shape (n,) or (n, 1)
        Targets.
    width : int
        Number of features, d.
    seed : int, default 0
        Of the features: entries of v have variance 1/p, those of b variance 1.
    activation : str, default "relu"
        As of :class:`TwoLayerNetwork`; a kink does no harm here.
    negative_slope, smoothing, coefficients
        Parameters of "leaky_relu", "smooth_relu" and "polynomial".
    output_scale : float, "mean-field" or "ntk", default "ntk"
        The factor of the sum, as of :class:`TwoLayerNetwork`.
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
        If shapes do not fit, an entry is nan or infinite, there is no sample or no column, the activation is
        unknown, or a parameter is given that it does not carry.

    Notes
    -----
    :meth:`initial_weights` draws with standard deviation 1 by default.

    References
    ----------
    Rahimi, Recht, Random Features for Large-Scale Kernel Machines, NeurIPS 2007.
    """

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        width: int,
        seed: int = 0,
        activation: str = "relu",
        negative_slope: float | None = None,
        smoothing: float | None = None,
        coefficients: Sequence[float] | None = None,
        output_scale: float | str = "ntk",
        loss: str | Loss = "squares",
        test: Samples | None = None,
        scale: Scale = "mean",
    ) -> None:
        chosen, self._parameter = activation_arguments(
            activation, negative_slope=negative_slope, smoothing=smoothing, coefficients=coefficients
        )
        d = as_count("width", width)
        own: dict[str, Any] = {
            "width": d,
            "seed": seed,
            **chosen,
            "output_scale": as_output_scale(output_scale, d),
        }
        arguments = sample_arguments(X, y, test, scale, loss) | own
        n, p = arguments["X"].shape
        require_memory(f"RandomFeatures with width {d} has {n} x {d} features", n * d + p * d)
        rng = weights_of(seed)
        self._V, self._b = rng.standard_normal((d, p)) / p**0.5, rng.standard_normal(d)
        self._name = activation
        self._factor: float = own["output_scale"]
        self._degree, self._layers = 1, (Layer("w", d, 1),)
        super().__init__(self._of_features, {"w": 1.0}, arguments)

    def features(self, X: ArrayLike) -> FloatArray:
        """Return ``output_scale * act(X @ v.T + b)``, shape (k, width)."""
        inputs = as_inputs("X", X, self._V.shape[1])
        Z = inputs @ self._V.T + self._b
        values: FloatArray = core.activation(self._name, Z.ravel(), self._parameter)[0].reshape(Z.shape)
        return self._factor * values

    def _of_features(self, train: Any, test: Any) -> core.LinearRegression:
        """The linear model of the features of training and test samples."""
        of_train, of_test = (part and (self.features(part[0]), *part[1:]) for part in (train, test))
        return core.LinearRegression(of_train, of_test)

    def predict(self, w: ArrayLike, X: ArrayLike | None = None) -> FloatArray:
        """Return the outputs at the rows of `X`, shape (k,).

        Parameters
        ----------
        w : array_like, shape (width,)
            Weights.
        X : array_like, shape (k, p), optional
            Inputs; by default those of the training samples.
        """
        outputs: FloatArray = self.features(self._arguments["X"] if X is None else X) @ np.asarray(
            self._weights(w)
        )
        return outputs
