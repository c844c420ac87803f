"""A module of torch as a function of its trainable parameters, laid out in one vector."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from grokflow._validate import FloatArray, as_choice, as_real
from grokflow.frameworks.model import COARSEST

Hook = Callable[[nn.Module, tuple[Any, ...], Any], Any]


class Network:
    """The outputs (n, k) of a module at inputs, as a function of w (d,), on the module's device.

    The module itself is never changed: it is called with w, and with copies of whatever else it holds, in
    `dtype`. Attributes `names`, `shapes` and `sizes` are those of its trainable parameters, in the order of
    w; a tied one counts once.
    """

    def __init__(self, module: nn.Module, dtype: str) -> None:
        if not isinstance(module, nn.Module):
            raise TypeError(f"module is a {type(module).__name__}; it must be a torch.nn.Module")
        if isinstance(module, torch.jit.ScriptModule):
            raise TypeError("module is scripted; give the one that torch.jit.script was given")
        self.module = module
        trainable = {name: p for name, p in module.named_parameters() if p.requires_grad}
        if not trainable:
            raise ValueError("module has no parameter that requires grad")
        held = [*module.named_buffers(), *module.named_parameters()]
        devices = {str(x.device): name for name, x in held}
        if len(devices) > 1:
            (a, first), (b, second) = list(devices.items())[:2]
            raise ValueError(f"module is on several devices: {first} on {a}, {second} on {b}; move it to one")
        if "meta" in devices:
            raise ValueError("module is on meta, which holds no numbers; move it to a device by to_empty()")
        for name, x in trainable.items():
            if isinstance(x, nn.UninitializedParameter):
                raise ValueError(f"parameter {name!r} has no shape yet; call module once")
            if not x.is_floating_point():
                raise TypeError(f"parameter {name!r} is {x.dtype}; weights are real numbers")
        parameter = next(iter(trainable.values()))
        self.device = parameter.device
        own = as_choice("dtype", dtype, ["float64", "module"]) == "module"
        self.dtype = parameter.dtype if own else torch.float64
        if self.dtype.itemsize < COARSEST:
            raise ValueError(f"module is in {self.dtype}, too coarse to integrate; take dtype='float64'")
        self.names = list(trainable)
        self.shapes = [tuple(p.shape) for p in trainable.values()]
        self.sizes = [p.numel() for p in trainable.values()]
        self.num_params = sum(self.sizes)
        self._constants = {name: self.cast(x.detach().clone()) for name, x in held if name not in trainable}
        uses = [list(f(remove_duplicate=False)) for f in (module.named_buffers, module.named_parameters)]
        self._ties = sum(map(len, uses)) > len(held)  # which torch else looks for at each call
        self.lock = threading.RLock()
        self._sent, self._fetched = self._buffer(0), self._buffer(0)

    def require_function_of_weights(self) -> None:
        """Raise ValueError where the outputs of a sample are no function of w and that sample alone."""
        for name, layer in self.module.named_modules():
            fault = _fault(layer)
            if fault:
                where = f" ({name!r})" if name else ""
                raise ValueError(f"module holds {type(layer).__name__}{where} {fault}")

    def cast(self, x: Tensor) -> Tensor:
        """`x` in the dtype of the computation, if it holds real numbers."""
        return x.to(self.dtype) if x.is_floating_point() else x

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        """A copy on the device: torch takes no array that runs backward, is read-only or of foreign bytes."""
        kind = {"f": np.float64, "u": np.int64}.get(array.dtype.kind, array.dtype.newbyteorder("="))
        return torch.as_tensor(np.array(array, dtype=kind, order="C"), device=self.device)

    def inputs(self, name: str, X: Any) -> Tensor:
        """`X` as the module takes it: a tensor on its device, or an array that is sent there."""
        tensor = X if isinstance(X, Tensor) else self._tensor(as_real(name, X))
        if tensor.device != self.device:
            raise ValueError(f"{name} is on {tensor.device}, the parameters of module on {self.device}")
        if tensor.ndim == 0 or len(tensor) == 0:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; it must hold one sample per row")
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} holds numbers that are not finite")
        return self.cast(tensor.detach())

    def weights(self) -> FloatArray:
        """The trainable parameters of the module as they are, (d,)."""
        trainable = dict(self.module.named_parameters())
        flat = torch.cat([trainable[name].detach().reshape(-1) for name in self.names])
        return np.array(self.to_host(flat))

    def empty(self, size: int) -> Tensor:
        """Memory on the device, in the dtype of the computation."""
        return torch.empty(size, dtype=self.dtype, device=self.device)

    def leaf(self, w: FloatArray) -> Tensor:
        """A copy of w on the device, with which graphs begin."""
        return self.to_device(w).clone().requires_grad_()

    def to_device(self, x: FloatArray) -> Tensor:
        """`x` on the device, flat, by way of a buffer that the next call fills again."""
        if self._sent.numel() < x.size:
            self._sent = self._buffer(x.size)
        sent = self._sent[: x.size]
        sent.numpy()[...] = x.reshape(-1)
        return sent.to(self.device, self.dtype, non_blocking=True)

    def to_host(self, x: Tensor) -> FloatArray:
        """`x` as an array of float64, which the next call may fill again."""
        x = x.detach().to(torch.float64)
        if self.device.type != "cpu":
            if self._fetched.numel() < x.numel():
                self._fetched = self._buffer(x.numel())
            x = self._fetched[: x.numel()].view(x.shape).copy_(x)
        array: FloatArray = x.numpy()
        return array

    def _buffer(self, size: int) -> Tensor:
        return torch.empty(size, dtype=torch.float64, pin_memory=self.device.type == "cuda")

    def tree(self, w: Tensor) -> dict[str, Tensor]:
        """All that the module holds, by name, its trainable parameters as views of w."""
        parts = zip(self.names, w.split(self.sizes), self.shapes, strict=True)
        return {**self._constants, **{name: part.view(shape) for name, part, shape in parts}}

    def __call__(self, tree: dict[str, Tensor], X: Tensor) -> Tensor:
        """The outputs (n, k) at the samples X, by kernels that can be differentiated twice."""
        with sdpa_kernel(SDPBackend.MATH):
            return functional_call(self.module, tree, (X,), tie_weights=self._ties)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """What surrounds every computation: a lock, for two threads must not call one module, and on a GPU
        kernels that give the same numbers twice.
        """
        exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
        with self.lock, exact if self.device.type == "cuda" else nullcontext():
            yield


def _fault(layer: nn.Module) -> str | None:
    """Why the outputs of a layer are no function of w and one sample, if so."""
    random = isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0
    random = random or (isinstance(getattr(layer, "dropout", None), float) and layer.dropout > 0)
    if layer.training and (random or isinstance(layer, nn.RReLU)):
        return "in training mode: the loss is no function of the weights alone; call module.eval()"
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        if layer.training:
            return "in training mode: it couples the samples of a batch; call module.eval()"
        if layer.running_mean is None:
            return "without running statistics: it couples the samples of a batch; set track_running_stats"
    return None
