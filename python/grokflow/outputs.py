"""A model of one's own, given by its outputs, with a loss on top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._validate import FloatArray, as_count, as_real
from grokflow.callbacks import CallbackProblem, Function, Shapes, require
from grokflow.classes import Classes
from grokflow.losses import Loss, as_loss

__all__ = ["OutputModel"]


class OutputModel(CallbackProblem):
    """The loss ``F(w) = c sum_i l(f_i(w), y_i)`` for outputs f of one's own, shape (n,) or (n, k); J = df/dw.

    Parameters
    ----------
    outputs : callable
        ``outputs(w)`` is f, an array of shape `shape`: row i holds the outputs at sample i.
    jvp, vjp : callable
        ``jvp(w, v)`` is J v, of shape `shape`, and ``vjp(w, u) -> (d,)`` is J^T u for u of shape `shape`.
    num_params : int
        d.
    shape : tuple (n,) or (n, k)
        Of the outputs.
    targets : array_like
        What the loss compares the outputs with: of the shape of the outputs; or, with "cross_entropy",
        classes (integers, shape (n,)) or probabilities.
    loss : str or Loss, default "squares"
        A loss of :mod:`grokflow.losses`, by name ("squares" or "mse", "cross_entropy", "logistic", "huber")
        or as an object; or one's own.
    gram : callable, optional
        ``gram(w) -> (n k, n k)``, the tangent kernel J J^T of the flattened outputs. Default: n k products
        with J^T and as many with J, which costs more than all else.
    hvp : callable, optional
        ``hvp(w, v) -> (d,)``, the Hessian of F, loss and factor c included, times v. Default: from jvp and
        vjp, and a difference of vjp along v.
    solve : callable, optional
        As in :class:`Objective`: solves with the Hessian of F, on the device where the model lives.
    linearize : callable, optional
        ``linearize(w) -> (outputs, state)``, called once at each point where derivatives are wanted. jvp,
        vjp, gram and hvp then get this state in place of w: the graph of the forward pass, say.
    test : tuple (outputs, targets), optional
        A function like `outputs` and its targets, at test samples: the quantity "test_loss".
    scale : {"mean", "sum", "samples"} or float, default "mean"
        The factor c: 1/n for "cross_entropy" and a loss of one's own, 1/(n k) where each output has its own
        loss; or 1, or a positive number.
    parameters : mapping of str to shape, optional
        The named parts of `w`, in order; they add up to d.

    Attributes
    ----------
    criterion : Loss
        The loss.
    shape : tuple of int
        That of the outputs.
    targets, test_targets : ndarray
        As the loss takes them; `test_targets` is None without `test`.

    Raises
    ------
    TypeError
        If a function is missing or is no function, or the targets are not real numbers (for classes: no
        integers).
    ValueError
        If a size is not positive, the loss is unknown, targets do not fit the outputs or the loss, or
        `parameters` does not add up to `num_params`.
    CallbackError
        By whoever calls a function, if it returns a wrong shape or dtype, or an asymmetric gram.

    Notes
    -----
    Where the loss has a minimiser at finite outputs (`problem.attained`), `residual`, `jvp`, `vjp`,
    `jacobian` and `gram` are those of the pseudo-residual ``rho = B^+ g``, with ``B^T J`` for the Jacobian
    (:mod:`grokflow.losses`). Elsewhere, as with labels that are certain, there are no residuals, and the flow
    is solved by products with the Hessian.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> model = OutputModel(
    ...     outputs=lambda w: X @ w.reshape(2, 3),
    ...     jvp=lambda w, v: X @ v.reshape(2, 3),
    ...     vjp=lambda w, u: (X.T @ u).ravel(),
    ...     num_params=6,
    ...     shape=(3, 3),
    ...     targets=np.array([0, 1, 2]),
    ...     loss="cross_entropy",
    ... )
    >>> round(model.loss(np.zeros(6)), 6)
    1.098612
    """

    _core: core.OutputProblem

    def __init__(
        self,
        *,
        outputs: Function,
        jvp: Function,
        vjp: Function,
        num_params: int,
        shape: Sequence[int],
        targets: ArrayLike,
        loss: str | Loss = "squares",
        gram: Function | None = None,
        hvp: Function | None = None,
        solve: Function | None = None,
        linearize: Function | None = None,
        test: tuple[Function, ArrayLike] | None = None,
        scale: str | float = "mean",
        parameters: Shapes | None = None,
    ) -> None:
        require("outputs", outputs, "outputs(w) -> (n, k)")
        require("jvp", jvp, "jvp(w, v) -> (n, k)")
        require("vjp", vjp, "vjp(w, u) -> (d,)")
        self.shape = as_shape(shape)
        self.criterion = as_loss(loss)
        self.targets = self.criterion._targets("targets", targets, self.shape)
        self.test_targets: Any = None
        self._test: Function | None = None
        if test is not None:
            if not isinstance(test, tuple | list) or len(test) != 2:
                raise ValueError("test must be a tuple (outputs, targets)")
            self._test, test_targets = test
            if not callable(self._test):
                raise TypeError(f"the function of test is {self._test!r}; it must be a function")
            labels = as_real("test targets", test_targets)
            if labels.ndim == 0:
                raise TypeError(f"test targets is {test_targets!r}; it must be an array")
            self._test_shape = (len(labels), *self.shape[1:])
            self.test_targets = self.criterion._targets("test targets", test_targets, self._test_shape)
        self._scale = scale
        functions = {
            "outputs": outputs,
            "jvp": jvp,
            "vjp": vjp,
            "gram": gram,
            "hvp": hvp,
            "solve": solve,
            "linearize": linearize,
        }
        super().__init__(as_count("num_params", num_params), self.shape, 1.0, functions, parameters)
        classes = self.criterion._classes(self.targets)
        if classes is not None:
            held_out = None if test is None else self.criterion._classes(self.test_targets)
            self._classes = Classes(classes, held_out)

    def outputs(self, w: ArrayLike) -> FloatArray:
        """Return the outputs at `w`, of shape `shape`."""
        return self._core.outputs(self._weights(w)).reshape(self.shape)

    def test_outputs(self, w: ArrayLike) -> FloatArray:
        """Return the outputs at the test samples.

        Raises
        ------
        ValueError
            If the model was made without test data.
        """
        if self._test is None:
            raise ValueError("this model has no test data; make it with test=...")
        return self._core.test_outputs(self._weights(w)).reshape(self._test_shape)

    def _outputs_at(self, w: FloatArray, test: bool) -> FloatArray:
        return self.test_outputs(w) if test else self.outputs(w)

    def _outputs_of(self) -> list[core.Problem]:
        """The outputs at the samples of training and, if there are some, of the test: as residuals."""
        if self._test is None:
            return [self._callbacks]
        size, functions = self._arguments[0], {"outputs": self._test}
        test = core.CallbackProblem(size, self._test_shape, 1.0, functions, [("w", [size])])
        return [self._callbacks, test]

    def _compile(self) -> core.OutputProblem:
        def fit(outputs: core.Problem, targets: Any, shape: tuple[int, ...]) -> tuple[Any, ...]:
            loss = self.criterion._compiled(targets, shape)
            return outputs, loss, self.criterion._scale(self._scale, shape)

        train, *held_out = self._outputs_of()
        test = fit(held_out[0], self.test_targets, self._test_shape) if held_out else None
        names = list(self._arguments[4] or ["w"])
        return core.OutputProblem(fit(train, self.targets, self.shape), test, names)


def as_shape(shape: object) -> tuple[int, ...]:
    """Return the shape (n,) or (n, k) of outputs."""
    if not isinstance(shape, Sequence) or isinstance(shape, str) or len(shape) not in (1, 2):
        raise ValueError(f"shape is {shape!r}; it must be (n,) or (n, k)")
    return tuple(as_count(f"shape[{i}]", extent) for i, extent in enumerate(shape))
