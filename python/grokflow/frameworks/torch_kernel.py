"""The tangent kernel K = J J^T of a network of torch, without J.

A layer of `torch_layers` gives its part of K from what went in, a_t, and the sensitivities B_t of the outputs
of the network to what came out (as for ghost norms: Li, Tramer, Liang, Hashimoto, arXiv:2110.05679): its rows
of J are sums of outer products over the tokens t, so that

    K_ij = sum_st (a_is . a_jt) (B_is . B_jt).

Any other parameter gives its part from its own rows of J, which are formed and dropped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap

from grokflow.frameworks.torch_gram import Gram
from grokflow.frameworks.torch_layers import Rule, rule_of
from grokflow.frameworks.torch_network import Network


class Tokens(NamedTuple):
    """What a layer has seen: its inputs (n, T, p), and the sensitivities (n, k, T, o) to its outputs."""

    inputs: Tensor
    sensitivities: Tensor


class Kernel:
    """K of a network. The parameters named in `hooked` go by layers, the others by their rows of J."""

    def __init__(self, network: Network, chunk: int) -> None:
        self.network, self.chunk = network, chunk
        self._memory = network.empty(0)
        self._layers: dict[str, tuple[nn.Module, Rule]] = {}
        self.hooked: set[str] = set()
        own = set(network.names) - _tied(network.module)
        for prefix, layer in network.module.named_modules():
            names = own & {_join(prefix, name) for name in ("weight", "bias") if name in layer._parameters}
            rule = rule_of(layer)
            if rule and names:
                self._layers[prefix] = layer, rule
                self.hooked |= names

    def trace(self, w: Tensor, X: Tensor) -> dict[str, Tokens]:
        """What each layer that matters has seen of the samples X at w, in all its calls."""
        if not self.hooked:
            return {}
        inputs: list[tuple[str, Tensor]] = []
        outputs: list[Tensor] = []

        def watch(prefix: str, rule: Rule) -> nn.Module:
            def hook(layer: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
                inputs.append((prefix, rule.tokens(layer, arguments[0].detach())))
                outputs.append(output)
                return output.clone()  # which may be changed in place

            return hook

        handles = [layer.register_forward_hook(watch(p, rule)) for p, (layer, rule) in self._layers.items()]
        try:
            f = self.network(self.network.tree(w.detach().requires_grad_()), X)
        finally:
            for handle in handles:
                handle.remove()
        n, k = f.shape
        # The j-th of k backward passes sums output j over the samples, which do not see each other.
        each = torch.eye(k, dtype=f.dtype, device=f.device)[:, None].expand(k, n, k)
        sensitivities = torch.autograd.grad(
            f, outputs, each, is_grads_batched=True, allow_unused=True, materialize_grads=True
        )
        seen: dict[str, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for (prefix, tokens), b in zip(inputs, sensitivities, strict=True):
            seen[prefix].append((tokens, self._layers[prefix][1].by_token(b, tokens)))
        return {prefix: Tokens(*_concatenate(calls)) for prefix, calls in seen.items()}

    def gram(
        self, w: Tensor, X: Tensor, shape: tuple[int, int], trace: dict[str, Tokens], names: Sequence[str]
    ) -> Tensor:
        """The sum of J_p J_p^T over the parameters `names`, (n k, n k), for outputs of `shape` (n, k).

        The next call fills it again.
        """
        n, k = shape
        if self._memory.numel() < (n * k) ** 2:
            self._memory = self.network.empty((n * k) ** 2)
        K = Gram(n, k, self._memory[: (n * k) ** 2])
        left = set(names)
        for prefix, (A, B) in trace.items():
            taken = [name for name in ("weight", "bias") if _join(prefix, name) in left & self.hooked]
            left -= {_join(prefix, name) for name in taken}
            if not taken:
                continue
            if self._layers[prefix][1].mixes:
                parts = {"weight": A, "bias": torch.ones_like(A[..., :1])}
                K.add_layer(torch.cat([parts[name] for name in taken], -1), B)
            else:
                factors = {"weight": A[:, None], "bias": torch.ones_like(A[:, None])}
                K.add(torch.cat([(B * factors[name]).sum(2) for name in taken], -1))
        for name in names:
            if name in left:
                K.add(self._rows(w, X, name))
        return K.whole()

    def _rows(self, w: Tensor, X: Tensor, name: str) -> Tensor:
        """The rows of J for one parameter, (n, k, size)."""
        tree = self.network.tree(w.detach())

        def outputs(parameter: Tensor, x: Tensor) -> Tensor:
            return self.network({**tree, name: parameter}, x[None])[0]

        rows = vmap(jacrev(outputs), (None, 0), chunk_size=self.chunk)(tree[name], X)
        return rows.flatten(2)


def _concatenate(calls: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    inputs, sensitivities = zip(*calls, strict=True)
    return torch.cat(inputs, 1), torch.cat(sensitivities, 2)


def _tied(module: nn.Module) -> set[str]:
    """The names of parameters that have several: a layer sees but one use of them."""
    owners = defaultdict(list)
    for name, parameter in module.named_parameters(remove_duplicate=False):
        owners[id(parameter)].append(name)
    return {name for names in owners.values() if len(names) > 1 for name in names}


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
