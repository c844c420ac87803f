"""Initial weights by the names that the field gives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from grokflow._validate import FloatArray, as_generator

STREAM = 0x67726F6B  # sets the stream of the weights apart from that of a user's data with the same seed

Draw: TypeAlias = Callable[["Layer", np.random.Generator], FloatArray]
Balance: TypeAlias = Callable[[Sequence["Layer"], np.random.Generator], list[FloatArray]]


@dataclass(frozen=True)
class Layer:
    """A linear map within a model.

    Attributes
    ----------
    weight : str
        The block that holds it, an array of shape (fan_out, fan_in) but for axes of length 1.
    fan_in, fan_out : int
        Its columns and rows.
    bias : str, optional
        The block that is added to what it gives.
    transposed : bool
        Whether the block has shape (fan_in, fan_out).
    diagonal : bool
        Whether it is a diagonal matrix, of which the block holds the diagonal.
    """

    weight: str
    fan_in: int
    fan_out: int
    bias: str | None = None
    transposed: bool = False
    diagonal: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the numbers drawn."""
        return (self.fan_in,) if self.diagonal else (self.fan_out, self.fan_in)


def factors(rows: int, columns: int, width: int) -> tuple[Layer, Layer]:
    """Return the layers of ``U V^T``."""
    return Layer("V", columns, width, transposed=True), Layer("U", width, rows)


def weights_of(seed: object) -> np.random.Generator:
    """Return the random numbers of the weights: a generator as it is, or the stream of a seed, their own."""
    generator = as_generator(seed)
    if isinstance(
        seed, np.random.Generator | np.random.RandomState | np.random.BitGenerator | np.random.SeedSequence
    ):
        return generator
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(STREAM,)))  # type: ignore[arg-type]


def gaussian(std: Callable[[int, int], float]) -> Draw:
    """Return what draws independent entries whose deviation follows from the columns and rows."""

    def draw(layer: Layer, rng: np.random.Generator) -> FloatArray:
        fans = (1, 1) if layer.diagonal else (layer.fan_in, layer.fan_out)
        return std(*fans) * rng.standard_normal(layer.shape)

    return draw


def orthogonal(layer: Layer, rng: np.random.Generator) -> FloatArray:
    """Draw a matrix with orthonormal rows or columns, uniformly; signs for a diagonal one."""
    if layer.diagonal:
        return np.copysign(1.0, rng.standard_normal(layer.shape))
    return basis(rng, layer.fan_out, layer.fan_in)


def basis(rng: np.random.Generator, rows: int, columns: int) -> FloatArray:
    """Draw a matrix whose shorter side is orthonormal, uniformly."""
    tall = rng.standard_normal((max(rows, columns), min(rows, columns)))
    Q, R = np.linalg.qr(tall)
    Q = Q * np.copysign(1.0, np.diag(R))
    return Q if rows >= columns else Q.T


def identity(layer: Layer, rng: np.random.Generator) -> FloatArray:
    """Return the identity, with zeros beside it where the matrix is not square."""
    return np.ones(layer.shape) if layer.diagonal else np.eye(layer.fan_out, layer.fan_in)


def constant(layer: Layer, rng: np.random.Generator) -> FloatArray:
    """Return ones."""
    return np.ones(layer.shape)


# Each draws one layer by itself; biases begin at 0.
BY_LAYER: dict[str, Draw] = {
    "he": gaussian(lambda fan_in, fan_out: (2.0 / fan_in) ** 0.5),
    "lecun": gaussian(lambda fan_in, fan_out: fan_in**-0.5),
    "xavier": gaussian(lambda fan_in, fan_out: (2.0 / (fan_in + fan_out)) ** 0.5),
    "orthogonal": orthogonal,
    "identity": identity,
    "constant": constant,
}
NAMES = ("normal", *BY_LAYER, "mean_field", "balanced")


def draw(
    name: str, layers: Sequence[Layer], rng: np.random.Generator, balance: Balance
) -> dict[str, FloatArray]:
    """Draw the blocks of these layers, from the input on; `balance` is what draws balanced ones."""
    if name == "balanced":
        matrices = balance(layers, rng)
    elif name == "mean_field":
        by_layer = [BY_LAYER["lecun"]] * (len(layers) - 1) + [gaussian(lambda fan_in, fan_out: 1.0 / fan_in)]
        matrices = [draw(layer, rng) for draw, layer in zip(by_layer, layers, strict=True)]
    else:
        matrices = [BY_LAYER[name](layer, rng) for layer in layers]
    drawn = {layer.bias: np.zeros(layer.fan_out) for layer in layers if layer.bias is not None}
    for layer, matrix in zip(layers, matrices, strict=True):
        drawn[layer.weight] = matrix.T if layer.transposed else matrix
    return drawn


def balanced_chain(layers: Sequence[Layer], rng: np.random.Generator) -> list[FloatArray]:
    """Return matrices with ``A_{l+1}^T A_{l+1} = A_l A_l^T``, the product of which is Gaussian.

    As far as its rank goes: between the factors lie orthonormal bases, and the entries have variance
    1 / fan_in. Arora, Cohen, Golowich, Hu, arXiv:1810.02281, Procedure 1.
    """
    first, last = layers[0], layers[-1]
    product = rng.standard_normal((last.fan_out, first.fan_in)) / first.fan_in**0.5
    rank = min([first.fan_in, *(layer.fan_out for layer in layers)])
    left, values, right = np.linalg.svd(product, full_matrices=False)
    bases = [right[:rank].T, *(basis(rng, layer.fan_out, rank) for layer in layers[:-1]), left[:, :rank]]
    root = values[:rank] ** (1.0 / len(layers))
    return [(out * root) @ into.T for into, out in pairwise(bases)]


def balanced_diagonals(layers: Sequence[Layer], rng: np.random.Generator) -> list[FloatArray]:
    """Return diagonals of equal modulus, whose product is Gaussian."""
    product = rng.standard_normal(layers[0].shape)
    root = np.abs(product) ** (1.0 / len(layers))
    return [*(root.copy() for _ in layers[1:]), np.copysign(root, product)]


def balanced_difference(layers: Sequence[Layer], rng: np.random.Generator) -> list[FloatArray]:
    """Return equal arrays, of Gaussian entries: what is subtracted cancels."""
    if len({layer.shape for layer in layers}) > 1:
        told = " and ".join(f"{layer.weight} {layer.shape}" for layer in layers)
        raise ValueError(
            f"init is 'balanced', so that what is subtracted cancels; the shapes of {told} differ"
        )
    first = BY_LAYER["lecun"](layers[0], rng)
    return [first, *(first.copy() for _ in layers[1:])]


def balanced_neurons(layers: Sequence[Layer], rng: np.random.Generator) -> list[FloatArray]:
    """Return matrices in which what enters a neuron has the norm of what leaves it."""
    matrices = [BY_LAYER["lecun"](layer, rng) for layer in layers]
    for before, after in pairwise(matrices):
        after *= np.linalg.norm(before, axis=1) / np.linalg.norm(after, axis=0)
    return matrices
