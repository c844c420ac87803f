"""The losses of the library as functions of JAX, whose second derivatives are taken through the network."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from grokflow import losses


def as_function(criterion: losses.Loss, targets: Any, dtype: Any) -> Callable[[Array], Array]:
    """Return f -> l(f), summed over the samples."""
    if isinstance(criterion, losses.CrossEntropy):
        return partial(_cross_entropy, jnp.asarray(targets), criterion.label_smoothing)
    y = jnp.asarray(targets, dtype=dtype)
    if isinstance(criterion, losses.Squares):
        return lambda f: 0.5 * jnp.sum((f - y) ** 2)
    if isinstance(criterion, losses.Logistic):
        return lambda f: jnp.sum(jax.nn.softplus(-jnp.where(y == 1, f, -f)))

    assert isinstance(criterion, losses.Huber)
    delta = criterion.delta

    def huber(f: Array) -> Array:
        r = jnp.abs(f - y)
        return jnp.sum(jnp.where(r <= delta, 0.5 * r**2, delta * (r - 0.5 * delta)))

    return huber


def _cross_entropy(y: Array, smoothing: float, f: Array) -> Array:
    log_p = jax.nn.log_softmax(f)
    chosen = jnp.take_along_axis(log_p, y[:, None], 1) if y.ndim == 1 else y * log_p
    return -(1.0 - smoothing) * jnp.sum(chosen) - smoothing * jnp.sum(log_p) / f.shape[1]
