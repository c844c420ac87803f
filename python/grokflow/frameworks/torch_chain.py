"""Multi-layer perceptrons among the modules of torch, which the library computes itself.

Its own network lays out the same weights in the same order, and makes no call of torch, which are most of the
work of a small network.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from grokflow._backend import core

KINKED = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ReLU6, nn.Hardtanh, nn.Threshold)
LINEAR, FLATTEN, NOTHING = "linear", "flatten", ""
MEANINGS: dict[object, str] = {
    **dict.fromkeys((nn.Identity, nn.Dropout), NOTHING),  # in training mode dropout is refused
    **dict.fromkeys((nn.Flatten, torch.flatten, "flatten"), FLATTEN),
    nn.Linear: LINEAR,
    **dict.fromkeys((nn.Tanh, torch.tanh, functional.tanh, "tanh"), "tanh"),
    **dict.fromkeys((nn.Sigmoid, torch.sigmoid, functional.sigmoid, "sigmoid"), "sigmoid"),
    **dict.fromkeys((nn.ReLU, torch.relu, functional.relu, "relu"), "relu"),
    **dict.fromkeys((nn.GELU, functional.gelu), "gelu"),
    **dict.fromkeys((torch.erf, "erf"), "erf"),
}


class Chain(NamedTuple):
    """Linear layers with one activation between them."""

    widths: list[int]
    outputs: int
    biases: list[bool]
    activation: str

    def at(self, X: Tensor) -> core.MLP:
        """The outputs at the samples X: residuals of targets that are zero."""
        inputs = X.flatten(1).to(torch.float64).numpy()
        samples = inputs, np.zeros(len(inputs) * self.outputs), 1.0
        return core.MLP(samples, None, self.widths, self.activation, 0.0, self.biases)


def kinks_of(module: nn.Module) -> str:
    """Why the gradient flow of a module is not smooth, as far as its layers tell; "" if they do not."""
    for name, layer in module.named_modules():
        if isinstance(layer, KINKED) or getattr(layer, "activation", None) is functional.relu:
            return (
                f"module holds {type(layer).__name__} ({name!r}): its flow has kinks, and is integrated as "
                "if it were smooth, in steps that may become very small; nn.GELU and nn.Softplus have smooth "
                "flows, and gf.models.TwoLayerNetwork treats the kinks of one hidden layer exactly"
            )
    return ""


def chain_of(module: nn.Module, names: Sequence[str], X: Tensor) -> Chain | None:
    """Return the chain that a module is at inputs X, if its weights are the parameters `names`, in order.

    It goes by words: what they leave open (options of a layer) shows in the outputs.
    """
    if any(layer._forward_hooks or layer._forward_pre_hooks for layer in module.modules()):
        return None
    try:
        nodes = list(fx.symbolic_trace(module).graph.nodes)
    except Exception:  # whatever a module says where it gets no numbers
        return None
    if any(node.args[:1] != (before,) for before, node in pairwise(nodes)):
        return None
    modules = dict(module.named_modules())
    words: list[str | None] = []
    layers: dict[str, nn.Linear] = {}
    for node in nodes[1:-1]:
        layer = modules[str(node.target)] if node.op == "call_module" else None
        word = MEANINGS.get(node.target if layer is None else type(layer))
        if isinstance(layer, nn.Linear):
            layers[str(node.target)] = layer
        if word != NOTHING:
            words.append(word)
    if words[:1] == [FLATTEN]:
        del words[0]
    elif X.ndim != 2:
        return None
    activation = next((word for word in words if word != LINEAR), None)
    between = [activation, LINEAR] if activation else [LINEAR]
    weights = [f"{prefix}.{name}" for prefix, layer in layers.items() for name, _ in layer.named_parameters()]
    if len(layers) < 2 or words != [LINEAR, *between * (len(layers) - 1)] or weights != list(names):
        return None
    sizes = [layer.out_features for layer in layers.values()]
    biases = [layer.bias is not None for layer in layers.values()]
    return Chain(sizes[:-1], sizes[-1], biases, activation or "identity")
