"""The tangent space of the manifold of minimisers, by the eigenvectors of the d x d Hessian."""

from types import SimpleNamespace

import numpy as np

EPS = np.finfo(float).eps


def tangent_projection(problem, w, v, *, rtol_rank=None, land=False):
    """Return v (d,) projected on ker Hess F(w), the rank of the Hessian, and the ends of its spectrum."""
    if land:  # where the residual vanishes: the nearest directions are those of J
        w = onto_manifold(problem, w, np.linalg.matrix_rank(problem.jacobian(w)))
    values, vectors = np.linalg.eigh(problem.hessian(w))
    size = np.abs(values)
    zero = size <= (10 * w.size * EPS if rtol_rank is None else rtol_rank) * size.max()
    tangent = vectors[:, zero]
    eta = size[~zero].min(initial=size.max())
    dropped = max(size[zero].max(initial=0.0), EPS * size.max())
    rank = int(np.sum(~zero))
    return SimpleNamespace(
        v=tangent @ (tangent.T @ v),
        rank=rank,
        eta=eta,
        largest=size.max(),
        gap=eta / dropped,
        distance=np.linalg.norm(normal_step(problem, w, rank)),
        num_negative=int(np.sum(values[~zero] < 0)),
        w=w,
    )


def normal_space(problem, w, rank):
    """Return the `rank` eigenvalues of the Hessian that are largest in modulus, and their vectors (d, rank).

    Off the manifold its zero eigenvalues are only small, so that their number has to be known.
    """
    values, vectors = np.linalg.eigh(problem.hessian(w))
    largest = np.argsort(-np.abs(values))[:rank]
    return values[largest], vectors[:, largest]


def normal_step(problem, w, rank):
    """Return -H^+ grad F(w), the step of Newton's method along the normal space."""
    values, vectors = normal_space(problem, w, rank)
    return -vectors @ ((vectors.T @ problem.gradient(w)) / values)


def onto_manifold(problem, w, rank):
    """Return the minimiser beside w, by Newton's method."""
    for _ in range(20):
        step = normal_step(problem, w, rank)
        w = w + step
        if np.linalg.norm(step) <= 4 * EPS * np.linalg.norm(w):
            break
    return w
