"""What the parameters of a layer of torch do, token by token.

For a layer that mixes (linear, convolution, embedding) the output of token t is W a_t + b, for one that
scales (a normalisation) it is w * a_t + b. With B_t the sensitivities of the outputs of the network to that
of the layer, the rows of J are sum_t B_t a_t^T or sum_t B_t * a_t, and sum_t B_t for b.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Rule:
    """How a kind of layer sees its input: `tokens(layer, input)` are the a_t, (n, T, p)."""

    tokens: Callable[[Any, Tensor], Tensor]
    mixes: bool = True
    channels_first: bool = False

    def by_token(self, sensitivities: Tensor, tokens: Tensor) -> Tensor:
        """The sensitivities (k, n, ...) to the outputs of a layer that has seen `tokens`, (n, k, T, o)."""
        last = sensitivities.movedim(2, -1) if self.channels_first else sensitivities
        width = last.shape[-1] if self.mixes else tokens.shape[-1]
        return last.reshape(*sensitivities.shape[:2], -1, width).transpose(0, 1).contiguous()


def _linear(layer: nn.Linear, a: Tensor) -> Tensor:
    return a.reshape(len(a), -1, a.shape[-1])


def _convolution(layer: nn.Conv2d, a: Tensor) -> Tensor:
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = functional.pad(a, layer._reversed_padding_repeated_twice, mode=mode)
    # One axis is two, the first of length 1.
    ones = (1,) * (4 - padded.ndim)
    image = padded.reshape(*padded.shape[:2], *ones, *padded.shape[2:])
    kernel, dilation, stride = (ones + tuple(x) for x in (layer.kernel_size, layer.dilation, layer.stride))
    return functional.unfold(image, kernel, dilation, 0, stride).transpose(1, 2)


def _embedding(layer: nn.Embedding, a: Tensor) -> Tensor:
    rows = functional.one_hot(a.reshape(len(a), -1), layer.num_embeddings).to(layer.weight.dtype)
    if layer.padding_idx is not None:
        rows[..., layer.padding_idx] = 0
    return rows


def _over_last(layer: nn.LayerNorm | nn.RMSNorm, a: Tensor) -> Tensor:
    normalise = functional.layer_norm if isinstance(layer, nn.LayerNorm) else functional.rms_norm
    return normalise(a, layer.normalized_shape, eps=layer.eps).reshape(
        len(a), -1, math.prod(layer.normalized_shape)
    )


def _by_channel(normalised: Tensor) -> Tensor:
    last = normalised.movedim(1, -1)
    return last.reshape(len(last), -1, last.shape[-1])


def _group(layer: nn.GroupNorm, a: Tensor) -> Tensor:
    return _by_channel(functional.group_norm(a, layer.num_groups, eps=layer.eps))


def _batch(layer: nn.BatchNorm1d, a: Tensor) -> Tensor:
    return _by_channel(functional.batch_norm(a, layer.running_mean, layer.running_var, eps=layer.eps))


_CONVOLUTION = Rule(_convolution, channels_first=True)
RULES: dict[type[nn.Module], Rule] = {
    nn.Linear: Rule(_linear),
    nn.Conv1d: _CONVOLUTION,
    nn.Conv2d: _CONVOLUTION,
    nn.Embedding: Rule(_embedding),
    nn.LayerNorm: Rule(_over_last, mixes=False),
    nn.RMSNorm: Rule(_over_last, mixes=False),
    nn.GroupNorm: Rule(_group, mixes=False, channels_first=True),
    nn.BatchNorm1d: Rule(_batch, mixes=False, channels_first=True),
}


def rule_of(layer: nn.Module) -> Rule | None:
    """The rule of a layer, by the function that it computes; None if there is none."""
    if getattr(layer, "groups", 1) != 1 or getattr(layer, "scale_grad_by_freq", False):
        return None
    return next((rule for kind, rule in RULES.items() if type(layer).forward is kind.forward), None)
