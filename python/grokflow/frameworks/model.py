"""What models of torch and of JAX share: an `OutputModel` whose functions are those of a network."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from grokflow._backend import core
from grokflow._validate import FloatArray, as_real
from grokflow._warnings import warn
from grokflow.losses import NAMES, CrossEntropy, Loss, as_loss
from grokflow.outputs import OutputModel

KERNELS = ["auto", "hooks", "parameters", "none"]
COUPLED = (
    "no tangent kernel sample by sample (do samples see each other, or has an operation no rule for "
    "batches?): products with J take over"
)
UNCURVED = (
    "a product with the Hessian is not the change of the gradient (an operation whose second derivative is "
    "wrong?): differences take over"
)
COARSEST = 4  # bytes of a number that solvers can make use of
SINGLE = 1e-5  # the smallest rtol that single precision keeps


class Outputs(ABC):
    """The outputs (n, k) of a network at its training samples, as functions of its weights w, (d,)."""

    parameters: dict[str, tuple[int, ...]]
    X: Any
    """The samples, as `inputs` gives them."""
    shape: tuple[int, int]
    single_precision: bool
    kinks = ""
    """Why the flow is not smooth, if it is known not to be."""
    remote = False
    """Whether the network lives on another device than the solver, so that it had better solve for itself."""

    @cached_property
    def blocks(self) -> dict[str, slice]:
        """Where each parameter lies in w."""
        ends = np.cumsum([0, *(math.prod(shape) for shape in self.parameters.values())]).tolist()
        return {name: slice(*ends[i : i + 2]) for i, name in enumerate(self.parameters)}

    def names_within(self, begin: int, end: int) -> tuple[str, ...]:
        """The parameters that lie in begin <= i < end."""
        return tuple(n for n, block in self.blocks.items() if begin <= block.start and block.stop <= end)

    def in_library(self) -> Callable[[Any], core.Problem] | None:
        """From samples X to the outputs there, as a problem of the library's own, if it has this network."""
        return None

    @abstractmethod
    def choose_kernel(self, wanted: str) -> str:
        """Return how K is made, a word of `FrameworkModel.kernel`; warn of what takes over."""

    @abstractmethod
    def weights(self) -> FloatArray:
        """The weights that the network came with."""

    @abstractmethod
    def set_loss(self, criterion: Loss, targets: Any, scale: float) -> None:
        """Let F, of which `hvp` is, be this loss of the library."""

    @abstractmethod
    def inputs(self, name: str, X: Any) -> Any:
        """`X`, checked, as `at` takes it."""

    @abstractmethod
    def at(self, w: FloatArray, X: Any) -> FloatArray:
        """The outputs at the samples X."""

    @abstractmethod
    def outputs(self, w: FloatArray) -> FloatArray:
        """The outputs at the training samples."""

    @abstractmethod
    def linearize(self, w: FloatArray) -> tuple[FloatArray, Any]:
        """The outputs at w, and what the functions below take for w."""

    @abstractmethod
    def jvp(self, point: Any, v: FloatArray) -> FloatArray: ...
    @abstractmethod
    def vjp(self, point: Any, u: FloatArray) -> FloatArray: ...
    @abstractmethod
    def gram(self, point: Any, begin: int, end: int) -> FloatArray: ...
    @abstractmethod
    def hvp(self, point: Any, v: FloatArray) -> FloatArray: ...

    def solve(self, point: Any, alpha: Any, beta: float, v: FloatArray, tol: float) -> FloatArray | None:
        """The solution x of ``(alpha + beta Hess F) x = v``; None where negative curvature is met."""
        raise NotImplementedError

    def knows_curvature(self) -> bool:
        """Whether `hvp` is right, as far as one product tells."""
        return True

    @abstractmethod
    def require_function_of_weights(self) -> None:
        """Raise ValueError if the outputs depend on anything else than w and, each, its own sample."""


class FrameworkModel(OutputModel):
    """A network with a loss, as a problem. See :func:`grokflow.from_torch` and :func:`grokflow.from_jax`.

    Attributes
    ----------
    kernel : {"library", "hooks", "parameters", "mixed", "none"}
        How the tangent kernel is made: as all else, by a network of the library; layer by layer, from rows of
        J for one parameter at a time, in part each, or by products.
    """

    def __init__(
        self,
        network: Outputs,
        y: Any,
        remake: Callable[[], FrameworkModel],
        *,
        loss: str | Loss,
        test: tuple[Any, Any] | None,
        label_smoothing: float,
        scale: str | float,
        kernel: str,
    ) -> None:
        self._network, self._remake = network, remake
        self._own = network.in_library() if kernel == "auto" else None
        self._timed = self._own is None
        self._samples = [network.X]
        if test is not None:
            if not isinstance(test, tuple | list) or len(test) != 2:
                raise ValueError("test must be a tuple (X, y)")
            X_test = network.inputs("test X", test[0])
            y_test, outputs = as_numpy(test[1]), network.at(network.weights(), X_test)
            if y_test.shape[:1] != outputs.shape[:1] or outputs.shape[1:] != network.shape[1:]:
                raise ValueError(
                    f"test y has shape {y_test.shape}, and outputs at test X {outputs.shape}; "
                    f"they must be one row per sample, with {network.shape[1]} outputs"
                )
            test = (lambda w: network.at(w, X_test)), y_test
            self._samples.append(X_test)
        criterion = with_smoothing(as_loss(loss), label_smoothing)
        targets = criterion._targets("y", as_numpy(y), network.shape)
        attained = criterion._compiled(targets, network.shape).attained
        if self._own:
            self.kernel = "library"
        else:
            self.kernel = network.choose_kernel(kernel) if attained else "none"  # no solver asks for K then
        known = type(criterion) in NAMES.values()
        if known:
            network.set_loss(criterion, targets, criterion._scale(scale, network.shape))
        curved = known and (self._own is not None or network.knows_curvature())
        if known and not curved:
            warn(UNCURVED)
        super().__init__(
            outputs=network.outputs,
            jvp=network.jvp,
            vjp=network.vjp,
            gram=None if self.kernel == "none" else network.gram,
            hvp=network.hvp if curved else None,
            solve=network.solve if curved and network.remote and not attained else None,
            linearize=network.linearize,
            num_params=sum(math.prod(shape) for shape in network.parameters.values()),
            shape=network.shape,
            targets=targets,
            loss=criterion,
            test=test,
            scale=scale,
            parameters=network.parameters,
        )
        self._finest = SINGLE if network.single_precision else 0.0
        self._notes = {"kernel": self.kernel}
        self._kinks = network.kinks

    def initial_weights(self) -> FloatArray:
        """Return the weights that the network came with, (d,)."""
        return self._network.weights()

    def predict(self, w: ArrayLike, X: Any = None) -> FloatArray:
        """Return the outputs (samples, k) at the samples `X`, by default those of training."""
        if X is None:
            return self.outputs(w)
        return self._network.at(self._weights(w), self._network.inputs("X", X))

    def accuracy(self, w: ArrayLike, X: Any = None, y: Any = None) -> float:
        """Return the share of the samples whose largest output is that of their class; default: of training.

        With a single output its sign is the class.

        Raises
        ------
        ValueError
            If one of `X` and `y` is given without the other, or they are not of the same samples.
        """
        if (X is None) != (y is None):
            raise ValueError("accuracy takes X and y, or neither")
        found = classes_of(self.predict(w, X))
        expected = classes_of(self.targets if y is None else as_real("y", as_numpy(y)))
        if expected.shape != found.shape:
            raise ValueError(f"y tells the classes of {expected.size} samples, and X holds {len(found)}")
        return float(np.mean(found == expected))

    def __reduce__(self) -> tuple[Callable[[], FrameworkModel], tuple[()]]:
        return self._remake, ()

    def _outputs_of(self) -> list[core.Problem]:
        return list(map(self._own, self._samples)) if self._own else super()._outputs_of()

    def _require_ready(self) -> None:
        super()._require_ready()
        self._network.require_function_of_weights()


def classes_of(values: Any) -> Any:
    """Return the class of each row: its largest entry, or the sign of a single one; integers are classes."""
    if values.ndim == 1 and values.dtype.kind in "iu":
        return values
    return values.argmax(axis=1) if values.ndim == 2 and values.shape[1] > 1 else values.reshape(-1) > 0


def with_smoothing(criterion: Loss, label_smoothing: float) -> Loss:
    """Return `criterion` with that smoothing of labels."""
    if label_smoothing == 0.0:
        return criterion
    if not isinstance(criterion, CrossEntropy):
        raise ValueError(
            f"label_smoothing is {label_smoothing}, which is of loss='cross_entropy', not of {criterion!r}"
        )
    return CrossEntropy(label_smoothing)


def as_numpy(y: Any) -> Any:
    """Return targets, a tensor or an array, as an array."""
    if str(getattr(y, "device", "")) == "meta":
        raise ValueError("y is on meta, which holds no numbers")
    return y.detach().cpu().numpy() if hasattr(y, "detach") else np.asarray(y)
