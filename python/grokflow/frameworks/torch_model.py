"""A module of torch as a problem."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from grokflow._backend import core
from grokflow._validate import FloatArray, as_choice
from grokflow._warnings import warn
from grokflow.frameworks.model import COUPLED, KERNELS, FrameworkModel, Outputs
from grokflow.frameworks.probe import SAMPLES, beside, wrong_blocks
from grokflow.frameworks.torch_chain import chain_of, kinks_of
from grokflow.frameworks.torch_kernel import Kernel
from grokflow.frameworks.torch_losses import as_function
from grokflow.frameworks.torch_network import Network
from grokflow.frameworks.torch_point import Point
from grokflow.frameworks.torch_solve import solve
from grokflow.losses import Loss

STEP = 1e-5  # between two gradients, of the weights
ROUND_OFF = 1e-12  # of a gradient
ALIKE = 1e-10  # to which outputs are those of a network of the library, over the largest
ROUGHLY = 1e-2  # to which their difference shows a product with the Hessian, also beside kinks


class TorchOutputs(Outputs):
    """The outputs of a module at its training samples."""

    def __init__(self, module: nn.Module, X: Any, *, dtype: str, chunk: int) -> None:
        self.network = Network(module, dtype)
        self.network.require_function_of_weights()
        self.parameters = dict(zip(self.network.names, self.network.shapes, strict=True))
        self.single_precision = self.network.dtype != torch.float64
        self.kinks = kinks_of(module)
        self.remote = self.network.device.type != "cpu"
        self.X = self.inputs("X", X)
        self._loss: Any = None
        self.shape = self._shape()
        self._kernel = Kernel(self.network, chunk)

    def _shape(self) -> tuple[int, int]:
        """The shape of the outputs, checked, as is that they are the same twice."""
        try:
            n, f = len(self.X), self.network(self.network.tree(self.network.leaf(self.weights())), self.X)
        except RuntimeError as error:
            if self.X.is_floating_point():
                raise
            raise TypeError(
                f"module does not take X of {self.X.dtype}; give it real numbers: {error}"
            ) from error
        if not isinstance(f, Tensor):
            raise TypeError(f"module returned a {type(f).__name__}; it must return a tensor (n, k)")
        if f.ndim != 2 or len(f) != n:
            raise ValueError(f"outputs have shape {tuple(f.shape)}, expected ({n}, k), one row per sample")
        if f.dtype != self.network.dtype:
            raise TypeError(
                f"outputs are {f.dtype}, and module is computed in {self.network.dtype}: "
                "it must not change that"
            )
        if not f.requires_grad:
            raise ValueError("outputs do not depend on the weights: were they detached, or made by no_grad?")
        if not torch.isfinite(f).all():
            raise ValueError("the outputs of module are not finite at the weights that it has")
        if not torch.equal(f, self._values(self.X)):
            raise ValueError(
                "two calls of module at the same weights differ: the loss is no function of the weights "
                "alone; call module.eval(), and take out what is random"
            )
        return n, f.shape[1]

    def _values(self, X: Tensor, w: FloatArray | None = None) -> Any:
        network = self.network
        with network.computing(), torch.no_grad():
            return network(network.tree(network.leaf(network.weights() if w is None else w)), X)

    def require_function_of_weights(self) -> None:
        """Raise ValueError if a layer has been set to training mode since."""
        self.network.require_function_of_weights()

    def set_loss(self, criterion: Loss, targets: Any, scale: float) -> None:
        """Let F be that loss."""
        total: Any = as_function(criterion, targets, self.X.new_empty(0, dtype=self.network.dtype))
        self._loss = lambda f: scale * total(f)

    def weights(self) -> FloatArray:
        """The trainable parameters of the module as they are."""
        return self.network.weights()

    def inputs(self, name: str, X: Any) -> Tensor:
        """`X` as a tensor on the device."""
        return self.network.inputs(name, X)

    def at(self, w: FloatArray, X: Tensor) -> FloatArray:
        """The outputs at the samples X."""
        with self.network.lock:
            return np.array(self.network.to_host(self._values(X, w)))

    def outputs(self, w: FloatArray) -> FloatArray:
        """The outputs at the training samples."""
        return self.at(w, self.X)

    def linearize(self, w: FloatArray) -> tuple[FloatArray, Point]:
        """The outputs and their graph."""
        with self.network.computing():
            point = self._point(w)
            return self.network.to_host(point.f), point

    def _point(self, w: FloatArray) -> Point:
        return Point(self.network, self._kernel, w, self.X, self._loss)

    def jvp(self, point: Point, v: FloatArray) -> FloatArray:
        """J v."""
        return self._product(point.jvp, v)

    def vjp(self, point: Point, u: FloatArray) -> FloatArray:
        """J^T u."""
        return self._product(lambda sent: point.vjp(sent.view(point.f.shape)), u)

    def hvp(self, point: Point, v: FloatArray) -> FloatArray:
        """Hess F v."""
        return self._product(point.hvp, v)

    def solve(self, point: Point, alpha: Any, beta: float, v: FloatArray, tol: float) -> FloatArray | None:
        """The solution x of ``(alpha + beta Hess F) x = v``; None where negative curvature is met."""
        send, fetch = self.network.to_device, self.network.to_host
        with self.network.computing():
            scale = send(alpha).clone() if isinstance(alpha, np.ndarray) else alpha
            x = solve(point.hvp, scale, beta, send(v), tol)
            return None if x is None else fetch(x)

    def _product(self, product: Callable[[Tensor], Tensor], x: FloatArray) -> FloatArray:
        with self.network.computing():
            return self.network.to_host(product(self.network.to_device(x)))

    def gram(self, point: Point, begin: int, end: int) -> FloatArray:
        """J_S J_S^T for the parameters S = begin, ..., end - 1."""
        with self.network.computing():
            return self.network.to_host(point.gram(self.names_within(begin, end)))

    def in_library(self) -> Callable[[Tensor], core.Problem] | None:
        """From samples X to the outputs there, as a problem of the library's own, if it has this network."""
        network = self.network
        chain = chain_of(network.module, network.names, self.X)
        if chain is None or self.remote or self.single_precision:
            return None
        w = beside(self.weights())
        expected = self.at(w, self.X).ravel()
        wrong = np.abs(chain.at(self.X).residual(w) - expected).max()
        return chain.at if wrong <= ALIKE * np.abs(expected).max() else None

    def choose_kernel(self, wanted: str) -> str:
        """Return how K is made: as wanted, if that is K, else what takes over, with a warning."""
        if as_choice("kernel", wanted, KERNELS) == "none":
            return "none"
        if wanted == "parameters":
            self._kernel.hooked = set()
        missed = self._misses()
        self._kernel.hooked -= set(missed)
        if missed and self._misses():
            warn(COUPLED)
            return "none"
        if missed:
            warn(
                f"the kernel by layers does not see all that {', '.join(missed)} does (another use of it?): "
                "its rows of J take over"
            )
        if not self._kernel.hooked:
            return "parameters"
        return "hooks" if self._kernel.hooked >= set(self.network.names) else "mixed"

    def _misses(self) -> list[str]:
        """The parameters whose part of K is not that of J, as far as a few samples tell."""
        few = self.X[:SAMPLES]
        with self.network.computing():
            point = Point(self.network, self._kernel, beside(self.weights()), few)
            size = point.f.numel()

            def gram(name: str) -> FloatArray:
                try:
                    return self.network.to_host(point.gram([name]))
                except (RuntimeError, NotImplementedError):  # an operation that has no rule for batches, say
                    return np.full((size, size), np.nan)

            return wrong_blocks(
                self.blocks,
                jvp=lambda v: np.ravel(self.jvp(point, v)),
                vjp=lambda u: self.vjp(point, u),
                gram=gram,
                size=size,
                tolerance=1e-3 if self.single_precision else 1e-8,
            )

    def knows_curvature(self) -> bool:
        """Whether Hess F v is the change of grad F along v: torch has operations of which it is not.

        Parameters without a gradient stay: torch has none for rows of an embedding that stand for padding.
        """
        if self.single_precision:
            return True
        w = beside(self.weights())
        with self.network.computing():
            here = self._point(w)
            slope = np.array(self.network.to_host(here.gradient()))
            v = (slope != 0.0) * np.random.default_rng(2).standard_normal(w.size)
            step = STEP * np.linalg.norm(w) / max(float(np.linalg.norm(v)), 1.0)
            ahead, behind = (self._point(w + side * step * v).gradient() for side in (1, -1))
            found, change = self.hvp(here, v), self.network.to_host(ahead - behind) / (2.0 * step)
        allowed = ROUGHLY * np.linalg.norm(change) + ROUND_OFF * np.linalg.norm(slope) / step
        return bool(np.linalg.norm(found - change) <= allowed)


class TorchModel(FrameworkModel):
    """A module of torch with a loss; see :func:`grokflow.from_torch`."""

    _network: TorchOutputs

    def load_into(self, module: nn.Module, w: ArrayLike) -> None:
        """Write the weights `w` into the parameters of `module`, which has those of the model's own module.

        Raises
        ------
        ValueError
            If a parameter is missing or has another shape.
        """
        if not isinstance(module, nn.Module):
            raise TypeError(f"module is a {type(module).__name__}; it must be a torch.nn.Module")
        parts = self.unflatten(w)
        own = dict(module.named_parameters())
        for name, part in parts.items():
            if name not in own or tuple(own[name].shape) != part.shape:
                found = f"has shape {tuple(own[name].shape)}" if name in own else "is missing"
                raise ValueError(
                    f"parameter {name!r} {found} in this module; w has shape {part.shape} for it"
                )
        with torch.no_grad():
            for name, part in parts.items():
                own[name].copy_(torch.tensor(part))
