"""What the models of :mod:`grokflow.models` share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from functools import cached_property, partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._validate import (
    FloatArray,
    as_array,
    as_choice,
    as_inputs,
    as_number,
    as_output_targets,
    as_positive,
    as_real,
    as_targets,
)
from grokflow.classes import Classes
from grokflow.losses import Loss, Squares, as_loss
from grokflow.models import initial
from grokflow.models.initial import Balance, Layer
from grokflow.patterns import key_of, stands_for
from grokflow.problems import Problem
from grokflow.provenance import digest

Std: TypeAlias = float | Mapping[str, float]
Scale: TypeAlias = str | float
Samples: TypeAlias = tuple[ArrayLike, ArrayLike]
Kind: TypeAlias = Callable[[Any, Any], Any]

REMEMBERED = 100  # initial weights whose origin a model can tell


def as_coefficients(name: str, value: object) -> tuple[float, ...]:
    """Return the coefficients of a polynomial, one at least."""
    return tuple(as_array(name, value, 1).tolist())  # type: ignore[arg-type]


# The activations that carry a parameter: its name, how it is checked, and its default, if there is one.
ACTIVATION_PARAMETERS: dict[str, tuple[str, Callable[[str, Any], Any], float | None]] = {
    "leaky_relu": ("negative_slope", as_number, 0.01),
    "smooth_relu": ("smoothing", as_positive, 0.01),
    "polynomial": ("coefficients", as_coefficients, None),
}


# The activations that are positively homogeneous, and their degrees.
DEGREES = {"relu": 1, "leaky_relu": 1, "abs": 1, "identity": 1, "quadratic": 2}


class Model(Problem):
    """What the models share: test data, initial weights, and copies by pickle and `copy`."""

    _layers: tuple[Layer, ...]  # from the input on
    _balance: Balance = staticmethod(initial.balanced_chain)

    def __init__(self, compiled: core.Problem, std: Mapping[str, float], arguments: dict[str, Any]) -> None:
        super().__init__(compiled)
        self._drawn: dict[str, Mapping[str, Any]] = {}
        self._std = std
        self._origin = np.zeros(self.num_params)  # the mean of initial weights
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

    def initial_weights(
        self,
        std: Std | None = None,
        seed: int | np.random.Generator = 0,
        *,
        init: str = "normal",
        scale: float = 1.0,
    ) -> FloatArray:
        """Draw initial weights.

        Parameters
        ----------
        std : float or mapping of str to float, optional
            Of "normal": the standard deviation of all weights, or by block, by name or pattern as in
            `weight_decay` of :func:`gradient_flow` (``{"*": 0.1, "b*": 0.0}``). A block that is not named
            keeps the default of the model, which its class documents. 0 gives zeros.
        seed : int or numpy.random.Generator, default 0
            The same seed gives the same weights, from a stream of their own: they are independent of what
            ``numpy.random.default_rng(seed)`` draws. A generator is drawn from as it is.
        init : str, default "normal"
            "normal": independent Gaussian entries of mean 0. The others draw the matrices of the layers, and
            set biases to 0: "he" (variance 2/fan_in), "lecun" (1/fan_in), "xavier" (2/(fan_in + fan_out)),
            "mean_field" (lecun, and 1/fan_in^2 in the last layer, whose outputs are then means over
            neurons), "orthogonal" (orthonormal rows or columns), "identity", "constant" (ones), "balanced".
            The vectors of a diagonal network are diagonal matrices. Balanced means what the flow conserves
            at no decay is 0: ``A_{l+1}^T A_{l+1} = A_l A_l^T`` in a product of matrices, and what enters a
            neuron has the norm of what leaves it in a network.
        scale : float, default 1.0
            A factor alpha of all of them.

        Returns
        -------
        ndarray of float64, shape (d,)
            A flow from there names `init`, `std`, `seed` and `scale` in its settings.

        Raises
        ------
        ValueError
            If a standard deviation is negative or not finite, or names no block, or `init` is unknown.

        References
        ----------
        He et al., arXiv:1502.01852; LeCun et al., Efficient BackProp, 1998; Glorot, Bengio, AISTATS 2010;
        Saxe et al., arXiv:1312.6120 (orthogonal); Arora et al., arXiv:1810.02281 (balanced).
        """
        as_choice("init", init, initial.NAMES)
        factor = as_number("scale", scale)
        rng = initial.weights_of(seed)
        if init == "normal":
            w = self._origin + self._deviations(std) * rng.standard_normal(self.num_params)
        elif std is not None:
            raise ValueError(f"std is of init='normal', and init is {init!r}; give scale instead")
        elif not self._layers:
            raise ValueError(f"init is {init!r}, and this model draws by 'normal' alone: its start is given")
        else:
            w = np.zeros(self.num_params)
            for name, values in initial.draw(init, self._layers, rng, self._balance).items():
                w[self.blocks[name]] = values.ravel()
        w *= factor
        while len(self._drawn) >= REMEMBERED:
            del self._drawn[next(iter(self._drawn))]
        self._drawn[digest(w)] = {
            "init": init,
            "std": {key: float(one) for key, one in std.items()} if isinstance(std, Mapping) else std,
            "seed": int(seed) if isinstance(seed, int | np.integer) else None,
            "scale": factor,
        }
        return w

    def _deviations(self, std: Std | None) -> FloatArray:
        """Return the standard deviation of each weight."""
        given = std if isinstance(std, Mapping) else {} if std is None else {"*": std}
        for key in given:
            if not any(stands_for(key, block) for block in self.blocks):
                as_choice("block in std", key, list(self.blocks))
        out = np.empty(self.num_params)
        for name, block in self.blocks.items():
            deviation = as_number(f"std of {name}", given.get(key_of(name, given), self._std[name]))
            if deviation < 0:
                raise ValueError(f"std of {name} is {deviation}; it must not be negative")
            out[block] = deviation
        return out

    @cached_property
    def _hash(self) -> str | None:  # type: ignore[override]
        own = not is_dataclass(self._arguments.get("loss", Squares()))  # what it computes is not known
        return None if own else digest((type(self).__name__, self._arguments))

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), **self._arguments), (), {"_drawn": dict(self._drawn)}

    def __repr__(self) -> str:
        shown = {
            name: f"<{'x'.join(map(str, value.shape))}>" if isinstance(value, np.ndarray) else repr(value)
            for name, value in self._arguments.items()
            if name != "test"
        }
        test = ", test=..." if "test_loss" in self.quantities else ""
        return f"{type(self).__name__}({', '.join(f'{k}={v}' for k, v in shown.items())}{test})"


class Regression(Model):
    """A model of samples (X, y), and a loss on its outputs.

    Attributes
    ----------
    criterion : Loss
        The loss.
    shape : tuple of int
        That of the outputs at the training inputs: (n,) or (n, outputs).
    targets, test_targets : ndarray
        As the loss takes them; `test_targets` is None without `test`.
    """

    _degree = 0  # of the outputs as a positively homogeneous function of the weights; 0: they are none

    def __init__(self, kind: Kind, std: Mapping[str, float], arguments: dict[str, Any]) -> None:
        """`kind` makes the compiled model of training and test samples, each (X, flat targets, c)."""
        self.criterion: Loss = arguments.get("loss", Squares())
        self.targets, self.test_targets = arguments["y"], None
        self.shape = self.criterion._shape(self.targets)
        fits = [(arguments["X"], self.targets, self.shape)]
        if arguments["test"] is not None:
            X, self.test_targets = arguments["test"]
            fits.append((X, self.test_targets, (len(X), *self.shape[1:])))
        scales = [self.criterion._scale(arguments["scale"], shape) for _, _, shape in fits]
        if isinstance(self.criterion, Squares):  # a sum of squares by itself
            samples = [(X, y.reshape(-1), c) for (X, y, _), c in zip(fits, scales, strict=True)]
            compiled = self._model = kind(*samples, *[None] * (2 - len(samples)))
        else:
            parts = [
                (kind((X, np.zeros(math.prod(shape)), 1.0), None), self.criterion._compiled(y, shape), c)
                for (X, y, shape), c in zip(fits, scales, strict=True)
            ]
            self._model = parts[0][0]
            compiled = core.OutputProblem(*parts, *[None] * (2 - len(parts)))
        super().__init__(compiled, std, arguments)
        classes = self.criterion._classes(self.targets)
        if classes is not None:
            held_out = None if self.test_targets is None else self.criterion._classes(self.test_targets)
            self._classes = Classes(classes, held_out, self._degree)

    def _outputs_at(self, w: FloatArray, test: bool) -> FloatArray:
        return self.predict(w, self._arguments["test"][0] if test else None)

    def predict(self, w: ArrayLike, X: ArrayLike | None = None) -> FloatArray:
        """Return the outputs at the rows of `X`, shape (k,) or (k, outputs).

        Parameters
        ----------
        w : array_like, shape (d,)
            Weights.
        X : array_like, shape (k, p), optional
            Inputs; by default those of the training samples.
        """
        inputs = self._arguments["X"] if X is None else as_inputs("X", X, self._arguments["X"].shape[1])
        outputs: FloatArray = self._model.predict(self._weights(w), inputs)
        return outputs.reshape(-1, *self.shape[1:])


def activation_arguments(activation: str, **given: Any) -> tuple[dict[str, Any], Any]:
    """Return the checked arguments that name an activation, and the parameter that it carries (else 0)."""
    as_choice("activation", activation, core.activation_names())
    for owner, (name, check, default) in ACTIVATION_PARAMETERS.items():
        value = given[name]
        if owner != activation and value is not None:
            raise ValueError(
                f"{name} is {value}, and activation {activation!r} has no such parameter; {owner!r} has"
            )
        if owner == activation:
            if value is None and default is None:
                raise ValueError(f"activation {activation!r} needs {name}")
            parameter = check(name, default if value is None else value)
            own = {"activation": activation, name: parameter}
    return (own, parameter) if activation in ACTIVATION_PARAMETERS else ({"activation": activation}, 0.0)


def degree_of(activation: str, parameter: Any) -> int:
    """Return of which degree an activation is positively homogeneous; -1 if it is not."""
    if activation == "polynomial":
        powers = np.flatnonzero(parameter)
        return int(powers[0]) if len(powers) == 1 else -1
    return DEGREES.get(activation, -1)


def sample_arguments(
    X: ArrayLike,
    y: ArrayLike,
    test: Samples | None,
    scale: Scale,
    loss: str | Loss,
    *,
    several_outputs: bool = False,
) -> dict[str, Any]:
    """Return the checked arguments of a regression model, as copies that nobody else changes."""
    criterion = as_loss(loss)
    inputs = as_inputs("X", X)
    targets = _targets("y", y, len(inputs), criterion, several_outputs)
    shape = criterion._shape(targets)
    held_out = None
    if test is not None:
        if not isinstance(test, tuple | list) or len(test) != 2:
            raise ValueError("test must be a tuple (X, y)")
        test_inputs = as_inputs("test X", test[0], inputs.shape[1])
        expected = (len(test_inputs), *shape[1:])
        test_targets = _targets("test y", test[1], len(test_inputs), criterion, several_outputs, expected)
        held_out = test_inputs.copy(), test_targets
    criterion._scale(scale, shape)
    own = {} if criterion == Squares() else {"loss": criterion}
    return {"X": inputs.copy(), "y": targets, "test": held_out, "scale": scale} | own


def _targets(
    name: str,
    y: ArrayLike,
    samples: int,
    criterion: Loss,
    several_outputs: bool,
    expected: tuple[int, ...] | None = None,
) -> Any:
    """Return a checked copy of the targets of so many samples; `expected` is the outputs' shape, if known."""
    if isinstance(criterion, Squares):
        targets = (as_output_targets if several_outputs else as_targets)(name, y, samples)
        if expected is not None and targets.shape != expected:
            raise ValueError(f"{name} has shape {targets.shape}; with these y it must be {expected}")
        return targets.copy()
    if expected is None:
        expected = (samples, *criterion._shape(as_real(name, y))[1:]) if several_outputs else (samples,)
    return criterion._targets(name, y, expected)
