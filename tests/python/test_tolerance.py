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
