"""What the paper says of the limit, on the models of theory; ``benchmarks.theory`` measures more of it."""

import grokflow as gf
import numpy as np
import pytest
from grokflow import models

rng = np.random.default_rng(0)
X = rng.standard_normal((6, 12))
ENTRIES = [0, 0, 1, 2, 3, 4, 4], [1, 3, 0, 2, 3, 1, 2], rng.standard_normal(7)
PROBLEMS = {
    "u^3 - v^3": (models.DeepDiagonalNetwork(X, X[:, 0], depth=3), 2.0),
    "deep completion": (models.DeepMatrixCompletion(*ENTRIES, shape=(5, 4), widths=(5, 5)), 1.5),
    "U U^T - V V^T": (
        models.SymmetricSensing(rng.standard_normal((6, 4, 4)), rng.standard_normal(6), width=4, negative=4),
        1.0,
    ),
    "random features": (models.RandomFeatures(X, X[:, 0], width=20), 1.0),
}
each = pytest.mark.parametrize("name", PROBLEMS)


@each
def test_the_flow_tends_to_the_drift_at_first_order(name):
    problem, scale = PROBLEMS[name]
    w0 = problem.initial_weights(seed=1, scale=scale)
    phases = gf.two_phase(problem, w0, [1e-5, 1e-6], s_end=1.0, rtol=1e-9, atol=1e-12)
    assert phases.success, phases.message
    assert phases.slope == pytest.approx(1.0, abs=0.02)


@each
def test_the_derivative_of_the_limit_map_is_the_projector(name):
    """On the manifold, where Phi is the identity: what is tangent stays, and what is normal goes."""
    problem, scale = PROBLEMS[name]
    w = gf.limit_map(problem, problem.initial_weights(seed=1, scale=scale), rtol=1e-10).w
    v, h = np.random.default_rng(2).standard_normal(w.size), 1e-4
    ahead, behind = (gf.limit_map(problem, w + step * v, rtol=1e-11).w for step in (h, -h))
    P = gf.tangent_projection(problem, w, v, rtol_rank=1e-12).v
    assert np.linalg.norm((ahead - behind) / (2 * h) - P) < 1e-5 * np.linalg.norm(v)
