"""What the models of :mod:`grokflow.models` share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._validate import (
    FloatArray,
    as_choice,
    as_generator,
    as_inputs,
    as_number,
    as_output_targets,
    as_positive,
    as_scale,
    as_targets,
)
from grokflow.problems import Problem
from grokflow.provenance import digest

Std: TypeAlias = float | Mapping[str, float]
Scale: TypeAlias = str | float
Samples: TypeAlias = tuple[ArrayLike, ArrayLike]

# The activations that carry a parameter: its name and its default.
ACTIVATION_PARAMETERS = {"leaky_relu": ("negative_slope", 0.01), "smooth_relu": ("smoothing", 0.01)}


class Model(Problem):
    """What the models share: test data, initial weights, and copies by pickle and `copy`."""

    def __init__(self, compiled: core.Problem, std: Mapping[str, float], arguments: dict[str, Any]) -> None:
        super().__init__(compiled)
        self._std = std
        self._arguments = arguments

    def test_loss(self, w: ArrayLike) -> float:
        """Return the loss over the test data.

        Raises
        ------
        ValueError
            If the model was made without test data.
        """
        if "test_loss" not in self.quantities:
            raise ValueError("this model has no test data; make it with test=...")
        return float(self.quantity("test_loss", w))

    def initial_weights(self, std: Std | None = None, seed: int | np.random.Generator = 0) -> FloatArray:
        """Draw independent Gaussian weights of mean 0.

        Parameters
        ----------
        std : float or mapping of block name to float, optional
            Standard deviation, of all weights or by block; a block that is not named keeps the default of
            the model, which its class documents. 0 gives zeros.
        seed : int or numpy.random.Generator, default 0
            Passed to :func:`numpy.random.default_rng`; the same seed gives the same weights.

        Returns
        -------
        ndarray of float64, shape (d,)

        Raises
        ------
        ValueError
            If a standard deviation is negative or not finite, or names no block.
        """
        given = std if isinstance(std, Mapping) else {} if std is None else dict.fromkeys(self.blocks, std)
        w = as_generator(seed).standard_normal(self.num_params)
        for name in given:
            as_choice("block in std", name, list(self.blocks))
        for name, block in self.blocks.items():
            deviation = as_number(f"std of {name}", given.get(name, self._std[name]))
            if deviation < 0:
                raise ValueError(f"std of {name} is {deviation}; it must not be negative")
            w[block] *= deviation
        return w

    @cached_property
    def _hash(self) -> str:  # type: ignore[override]
        return digest((type(self).__name__, self._arguments))

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), **self._arguments), ()

    def __repr__(self) -> str:
        shown = {
            name: f"<{'x'.join(map(str, value.shape))}>" if isinstance(value, np.ndarray) else repr(value)
            for name, value in self._arguments.items()
            if name != "test"
        }
        test = ", test=..." if "test_loss" in self.quantities else ""
        return f"{type(self).__name__}({', '.join(f'{k}={v}' for k, v in shown.items())}{test})"


class Regression(Model):
    """A model of samples (X, y)."""

    _core: core.LinearRegression | core.DiagonalLinearNetwork | core.TwoLayerNetwork | core.MLP

    def predict(self, w: ArrayLike, X: ArrayLike | None = None) -> FloatArray:
        """Return the predictions at the rows of `X`, shape (k,); by default at the training inputs.

        Parameters
        ----------
        w : array_like, shape (d,)
            Weights.
        X : array_like, shape (k, p), optional
            Inputs.
        """
        inputs = self._arguments["X"] if X is None else as_inputs("X", X, self._arguments["X"].shape[1])
        return self._core.predict(self._weights(w), inputs)


def activation_arguments(
    activation: str, *, negative_slope: float | None, smoothing: float | None
) -> tuple[dict[str, Any], float]:
    """Return the checked arguments that name an activation, and the parameter that it carries (else 0)."""
    as_choice("activation", activation, core.activation_names())
    own, default = ACTIVATION_PARAMETERS.get(activation, ("", 0.0))
    given = {"negative_slope": negative_slope, "smoothing": smoothing}
    for name, value in given.items():
        if value is not None and name != own:
            owner = next(act for act, (parameter, _) in ACTIVATION_PARAMETERS.items() if parameter == name)
            raise ValueError(
                f"{name} is {value}, and activation {activation!r} has no such parameter; {owner!r} has"
            )
    if not own:
        return {"activation": activation}, 0.0
    value = default if given[own] is None else given[own]
    parameter = as_positive(own, value) if own == "smoothing" else as_number(own, value)
    return {"activation": activation, own: parameter}, parameter


def sample_arguments(
    X: ArrayLike, y: ArrayLike, test: Samples | None, scale: Scale, *, several_outputs: bool = False
) -> dict[str, Any]:
    """Return the checked arguments of a regression model, as copies that nobody else changes."""
    as_y = as_output_targets if several_outputs else as_targets
    inputs = as_inputs("X", X)
    targets = as_y("y", y, inputs.shape[0])
    held_out = None
    if test is not None:
        if not isinstance(test, tuple | list) or len(test) != 2:
            raise ValueError("test must be a tuple (X, y)")
        test_inputs = as_inputs("test X", test[0], inputs.shape[1])
        test_targets = as_y("test y", test[1], test_inputs.shape[0])
        if test_targets.shape[1:] != targets.shape[1:]:
            expected = (test_inputs.shape[0], *targets.shape[1:])
            raise ValueError(f"test y has shape {test_targets.shape}; with these y it must be {expected}")
        held_out = test_inputs.copy(), test_targets.copy()
    as_scale(scale, targets.size)
    return {"X": inputs.copy(), "y": targets.copy(), "test": held_out, "scale": scale}


def compiled_samples(arguments: dict[str, Any]) -> tuple[Any, Any]:
    """Return training and test samples as the compiled models take them: (X, flat y, c), or None."""
    scale = arguments["scale"]
    train, test = (
        samples and (samples[0], samples[1].reshape(-1), as_scale(scale, samples[1].size))
        for samples in ((arguments["X"], arguments["y"]), arguments["test"])
    )
    return train, test
