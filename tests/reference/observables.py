"""Twins of `grokflow.observables`: with J, the Hessian and the sums written out."""

import numpy as np


def kernel_alignment(problem, y):
    y = np.asarray(y, dtype=float)
    target = np.outer(y, y)

    def alignment(t, w):
        J = problem.jacobian(w)
        return np.sum(J @ J.T * target) / (np.linalg.norm(J @ J.T) * np.linalg.norm(target))

    return alignment


def kernel_similarity(problem, w0):
    def similarity(t, w):
        K, first = (J @ J.T for J in (problem.jacobian(w), problem.jacobian(w0)))
        return np.sum(K * first) / (np.linalg.norm(K) * np.linalg.norm(first))

    return similarity


def sharpness(problem, rtol=1e-6, seed=0):
    return lambda t, w: np.linalg.eigvalsh(problem.hessian(w)).max()


def tangent_part(problem, w):
    J = problem.jacobian(w)
    return w - np.linalg.pinv(J) @ (J @ w)


def tangent_norm(problem):
    return lambda t, w: np.linalg.norm(tangent_part(problem, w))


def update_cosine(problem, weight_decay):
    def cosine(t, w):
        a, b = -problem.gradient(w) - weight_decay * w, -tangent_part(problem, w)
        return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))

    return cosine


def effective_rank(matrix):
    def rank(t, w):
        A = np.asarray(matrix(w))
        values = np.sqrt(np.maximum(np.linalg.eigvalsh(A @ A.T), 0.0))
        return np.exp(-sum(s / values.sum() * np.log(s / values.sum()) for s in values if s > 0.0))

    return rank


def active_neurons(problem):
    def share(t, w):
        parts = problem.unflatten(w)
        neurons = list(zip(parts["V"], parts["b"], strict=True))
        return np.mean([any(v @ x + b > 0.0 for x in problem.X) for v, b in neurons])

    return share


def fourier_power(weights, p):
    def power(t, w):
        W, numbers = np.asarray(weights(w)), np.arange(p)
        found = []
        for k in range(p // 2 + 1):
            waves = np.cos(2 * np.pi * k * numbers / p), np.sin(2 * np.pi * k * numbers / p)
            found.append(sum(np.sum((wave @ W) ** 2) for wave in waves) * (1 if 2 * k in (0, p) else 2))
        return np.array(found) / sum(found)

    return power
