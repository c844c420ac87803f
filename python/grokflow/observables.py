"""What the field draws of a run beside losses and norm: functions f(t, w) for ``observe=``.

>>> import grokflow as gf
>>> problem = gf.models.DiagonalLinearNetwork([[1.0, 2.0]], [1.0])
>>> observe = {"train_loss": "train_loss", "sharpness": gf.observables.sharpness(problem)}
>>> sol = gf.gradient_flow(problem, [1.0, 1.0, 0.5, 0.5], (0, 10), weight_decay=1e-3, observe=observe)
>>> sol["sharpness"].shape == sol.t.shape
True
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from grokflow._validate import FloatArray, as_array, as_count, as_generator, as_positive, as_vector
from grokflow.models.two_layer import TwoLayerNetwork
from grokflow.problems import Problem, require_problem

Number: TypeAlias = Callable[[float, FloatArray], float]
Vector: TypeAlias = Callable[[float, FloatArray], FloatArray]

__all__ = [
    "active_neurons",
    "effective_rank",
    "fourier_power",
    "kernel_alignment",
    "kernel_similarity",
    "sharpness",
    "tangent_norm",
    "update_cosine",
]


def kernel_alignment(problem: Problem, y: ArrayLike) -> Number:
    """Return the cosine of the tangent kernel K = J J^T and y y^T: how far features are those of the targets.

    Parameters
    ----------
    problem : Problem
        One with residuals.
    y : array_like, shape (n,)
        The targets, of the length of the residuals.

    References
    ----------
    Cristianini et al., NeurIPS 2001; over training: Kumar et al., arXiv:2310.06110.
    """
    target = as_vector("y", y, _residuals_of(problem))
    square = float(target @ target) or math.nan

    def alignment(t: float, w: FloatArray) -> float:
        K = problem.gram(w)
        return float(target @ K @ target / (square * np.linalg.norm(K)))

    return alignment


def kernel_similarity(problem: Problem, w0: ArrayLike) -> Number:
    """Return the cosine of the tangent kernels at w and at `w0`: 1 as long as training is lazy.

    References
    ----------
    Chizat, Oyallon, Bach, NeurIPS 2019; Fort et al., NeurIPS 2020.
    """
    _residuals_of(problem)
    first = problem.gram(w0)
    first /= np.linalg.norm(first)

    def similarity(t: float, w: FloatArray) -> float:
        K = problem.gram(w)
        return float(np.sum(first * K) / np.linalg.norm(K))

    return similarity


def sharpness(problem: Problem, rtol: float = 1e-6, seed: int = 0) -> Number:
    """Return the largest eigenvalue of Hess F, by Lanczos with Hessian-vector products.

    Parameters
    ----------
    problem : Problem
        One that offers ``hvp``.
    rtol : float, default 1e-6
        Up to which part of itself the eigenvalue is known.
    seed : int, default 0
        Of the first vector.
    """
    require_problem(problem)
    tolerance = as_positive("rtol", rtol)
    start = as_generator(seed).standard_normal(problem.num_params)

    def largest(t: float, w: FloatArray) -> float:
        basis = np.empty((0, start.size))
        diagonal: list[float] = []
        beside: list[float] = []
        v, value = start / np.linalg.norm(start), math.nan
        for _ in range(start.size):
            basis = np.vstack([basis, v])
            u = problem.hvp(w, v)
            diagonal.append(float(u @ v))
            for _ in range(2):  # once more, for round-off
                u = u - basis.T @ (basis @ u)
            length = float(np.linalg.norm(u))
            T = np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1)
            values, vectors = np.linalg.eigh(T)
            value = float(values[-1])
            if length * abs(vectors[-1, -1]) <= tolerance * abs(value):  # the residual of the pair
                break
            beside.append(length)
            v = u / length
        return value

    return largest


def tangent_norm(problem: Problem) -> Number:
    """Return ``||P w||``, P the projector on ker J: what of the weights the drift can still lower.

    On the manifold of minimisers ker J is its tangent space; see also :func:`grokflow.tangent_projection`,
    which insists on being there.
    """
    _residuals_of(problem)
    return lambda t, w: float(np.linalg.norm(_tangent_part(problem, w)))


def update_cosine(problem: Problem, weight_decay: float) -> Number:
    """Return the cosine of dw/dt and -P w, P the projector on ker J: 1 where the flow is the drift.

    References
    ----------
    Musat, arXiv:2511.01938.
    """
    _residuals_of(problem)
    lam = as_positive("weight_decay", weight_decay)

    def cosine(t: float, w: FloatArray) -> float:
        update, slow = -problem.gradient(w) - lam * w, -_tangent_part(problem, w)
        with np.errstate(invalid="ignore", divide="ignore"):  # nan where one of them is 0
            return float(update @ slow / (np.linalg.norm(update) * np.linalg.norm(slow)))

    return cosine


def effective_rank(matrix: Callable[[FloatArray], ArrayLike]) -> Number:
    """Return exp of the entropy of the singular values of ``matrix(w)``, each over their sum.

    It is k where k of them are equal and the others 0, and changes smoothly between.

    References
    ----------
    Roy, Vetterli, EUSIPCO 2007.
    """

    require_function("matrix", matrix)

    def rank(t: float, w: FloatArray) -> float:
        values = np.linalg.svd(as_array("matrix(w)", matrix(w), 2), compute_uv=False)
        part = values[values > 0.0] / values.sum()
        return float(np.exp(-np.sum(part * np.log(part))))

    return rank


def active_neurons(problem: TwoLayerNetwork) -> Number:
    """Return the share of the hidden neurons whose pre-activation is positive at one sample at least."""
    if not isinstance(problem, TwoLayerNetwork):
        raise TypeError(f"problem is {problem!r}; it must be a TwoLayerNetwork")
    X = problem._arguments["X"]

    def share(t: float, w: FloatArray) -> float:
        parts = problem.unflatten(w)
        return float(np.mean((X @ parts["V"].T + parts.get("b", 0.0) > 0.0).any(axis=0)))

    return share


def fourier_power(weights: Callable[[FloatArray], ArrayLike], p: int) -> Vector:
    """Return the share of each frequency 0, 1, ..., p // 2 in the power of the columns of ``weights(w)``.

    Parameters
    ----------
    weights : callable
        From w to a matrix of shape (p, k): of each of p numbers modulo p what k neurons make of it.
    p : int
        The modulus.

    References
    ----------
    Nanda et al., arXiv:2301.05217; Gromov, arXiv:2301.02679.
    """
    require_function("weights", weights)
    modulus = as_count("p", p, 2**31 - 1)

    def power(t: float, w: FloatArray) -> FloatArray:
        W = as_array("weights(w)", weights(w), 2)
        if len(W) != modulus:
            raise ValueError(f"weights(w) has {len(W)} rows; they must be p = {modulus}")
        squares = np.sum(np.abs(np.fft.fft(W, axis=0)) ** 2, axis=1)
        folded: FloatArray = squares[: modulus // 2 + 1]
        folded[1:] += squares[: (modulus - 1) // 2 : -1][: len(folded) - 1]
        if modulus % 2 == 0:
            folded[-1] /= 2.0  # which is its own mirror image
        folded /= folded.sum()
        return folded

    return power


def require_function(name: str, value: object) -> None:
    """Raise TypeError if an argument is no function."""
    if not callable(value):
        raise TypeError(f"{name} is {value!r}; it must be a function of w")


def _residuals_of(problem: Problem) -> int:
    """Return the number of residuals of a problem that must have some."""
    require_problem(problem)._require_residuals("tangent kernel")
    return problem.num_residuals


def _tangent_part(problem: Problem, w: FloatArray) -> FloatArray:
    """Return P w by the kernel, whose eigenvalues below round-off count as 0."""
    at = problem._core.linearize(w)
    values, vectors = np.linalg.eigh(at.gram())
    kept = values > 1e-12 * values[-1]
    u = vectors[:, kept] @ (vectors[:, kept].T @ at.jvp(w) / values[kept])
    part: FloatArray = w - at.vjp(u)
    return part
