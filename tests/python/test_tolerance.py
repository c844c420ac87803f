"""The error over the whole path is what the tolerance asks for, out of saddles too."""

import grokflow as gf
import numpy as np
import pytest

TOLERANCES = {"BDF": (1e-3, 1e-6, 1e-9), "Radau": (1e-3, 1e-6, 1e-9), "ROCK2": (1e-3, 1e-5)}
X = np.random.default_rng(0).standard_normal((20, 40))
DIAGONAL = gf.models.DiagonalLinearNetwork(X, X[:, 0] - X[:, 1])
NETWORK = gf.models.TwoLayerNetwork(X[:, :4], np.tanh(X[:, 0] - X[:, 1]), width=8, activation="tanh")
STARTS = {
    "usual": (DIAGONAL, DIAGONAL.initial_weights(seed=0)),
    "saddle": (DIAGONAL, DIAGONAL.initial_weights(std=1e-8, seed=0)),
    "network": (NETWORK, NETWORK.initial_weights(seed=0)),
}
LAM = 1e-3
TIMES = np.logspace(-2, 4, 80)


def solve(start, method, rtol):
    problem, w0 = STARTS[start]
    return gf.gradient_flow(
        problem, w0, (0, TIMES[-1]), weight_decay=LAM, method=method, rtol=rtol, t_eval=TIMES
    )


@pytest.fixture(scope="module", params=STARTS)
def start(request):
    return request.param


@pytest.fixture(scope="module")
def exact(start):
    return solve(start, "Radau", 1e-12).w


@pytest.mark.parametrize("method", TOLERANCES)
def test_error_over_the_path(start, exact, method):
    for rtol in TOLERANCES[method]:
        sol = solve(start, method, rtol)
        allowed = rtol * np.linalg.norm(exact, axis=1)
        assert np.max(np.linalg.norm(sol.w - exact, axis=1) / allowed) < 10


@pytest.mark.parametrize("curvature", ["gram", "krylov"])
@pytest.mark.parametrize(("n", "inputs", "seed"), [(1, 2, 6), (1, 2, 47), (3, 4, 14), (3, 4, 22)])
def test_error_of_long_steps_along_a_curved_manifold(n, inputs, seed, curvature):
    """Of 1e7, beside rates of order 10: the corrections of a step that are left lie along the manifold."""
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, inputs)), rng.standard_normal(n)
    problem = gf.models.TwoLayerNetwork(X, y, width=1, activation="smooth_relu", bias=True)
    w0 = 0.7 * rng.standard_normal(problem.num_params)
    how = {"t_eval": np.geomspace(1e-2, 3e8, 200), "weight_decay": 1e-8, "method": "Radau"}
    sol = gf.gradient_flow(problem, w0, (0, 3e8), curvature=curvature, rtol=1e-6, **how)
    exact = gf.gradient_flow(problem, w0, (0, 3e8), curvature="gram", rtol=1e-10, **how)
    assert np.linalg.norm(sol.w - exact.w, axis=1).max() <= 1e-5 * exact["norm"].max()


def test_error_of_long_steps_of_a_network_with_kinks():
    """Its forces are unknowns of a step, and what is left lies along the manifold as well."""
    problem = gf.models.TwoLayerNetwork([[-1.00699571]], [1.6023286], width=1, activation="relu", bias=False)
    w0 = 0.7 * np.random.default_rng(400).standard_normal(2)
    how = {"t_eval": np.geomspace(1e-2, 3e7, 200), "weight_decay": 1e-7}
    sol = gf.gradient_flow(problem, w0, (0, 3e7), rtol=1e-6, **how)
    exact = gf.gradient_flow(problem, w0, (0, 3e7), rtol=1e-10, **how)
    assert np.linalg.norm(sol.w - exact.w, axis=1).max() <= 1e-5 * exact["norm"].max()
