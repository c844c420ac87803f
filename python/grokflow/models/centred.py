"""A model minus what it is at the start, and times a factor: from rich to lazy training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._validate import FloatArray, as_positive, as_vector
from grokflow.losses import Squares
from grokflow.models.model import Model, Regression


class Centred(Model):
    """A model with the outputs ``alpha * (f(w) - f(w0))``, fitted to the same targets by the same loss.

    Centring takes the start out of the outputs, and a large alpha makes training lazy: the weights move by
    1/alpha, and the model is that of its linearisation at w0; a small one makes it rich.

    Parameters
    ----------
    problem : Model
        A model of samples (X, y).
    w0 : array_like, shape (d,)
        The weights at which outputs are 0.
    alpha : float, default 1.0
        The factor.

    Raises
    ------
    TypeError
        If `problem` is no model of samples.
    ValueError
        If `w0` does not fit, or `alpha` is not positive.

    Notes
    -----
    Of squares the loss is ``(c/2) sum_i (alpha (f_i(w) - f_i(w0)) - y_i)^2`` with the c of `problem`, also
    over the test data. :meth:`initial_weights` are those of `problem`.

    References
    ----------
    Chizat, Oyallon, Bach, On Lazy Training in Differentiable Programming, arXiv:1812.07956.
    """

    def __init__(self, problem: Regression, w0: ArrayLike, *, alpha: float = 1.0) -> None:
        if not isinstance(problem, Regression):
            raise TypeError(f"problem is {problem!r}; it must be a model of samples (X, y)")
        self._of, self._alpha = problem, as_positive("alpha", alpha)
        if not 1e-150 <= self._alpha <= 1e150:
            raise ValueError(f"alpha is {self._alpha:g}, whose square double precision does not hold")
        self._start = as_vector("w0", w0, problem.num_params).copy()
        given = problem._arguments
        fits = (
            [(given["X"], given["y"])] if given["test"] is None else [(given["X"], given["y"]), given["test"]]
        )
        train, *held_out = (self._fit(X, y) for X, y in fits)
        compiled = core.OutputProblem(train, held_out[0] if held_out else None)
        self._layers, self._balance = problem._layers, problem._balance
        super().__init__(
            compiled, problem._std, {"problem": problem, "w0": self._start, "alpha": self._alpha}
        )
        self._origin = problem._origin
        self._classes = problem._classes and replace(problem._classes, degree=0)  # it is not homogeneous

    def _fit(self, X: FloatArray, y: Any) -> tuple[core.Problem, core.Loss, float]:
        """The outputs at these inputs, less those at w0, and the loss of alpha times them."""
        at_start = self._of.predict(self._start, X)
        arguments = {**self._of._arguments, "X": X, "y": at_start, "test": None, "loss": Squares()}
        c = self._of.criterion._scale(arguments["scale"], at_start.shape)
        outputs = type(self._of)(**arguments)._core
        loss = self._of.criterion._compiled(y, at_start.shape)
        return outputs, core.of_scaled_outputs(loss, self._alpha), c

    def _outputs_at(self, w: FloatArray, test: bool) -> FloatArray:
        return self.predict(w, self._of._arguments["test"][0] if test else None)

    def predict(self, w: ArrayLike, X: ArrayLike | None = None) -> FloatArray:
        """Return the outputs at the rows of `X`, shape (k,) or (k, outputs).

        Parameters
        ----------
        w : array_like, shape (d,)
            Weights.
        X : array_like, shape (k, p), optional
            Inputs; by default those of the training samples.
        """
        return self._alpha * (self._of.predict(w, X) - self._of.predict(self._start, X))
