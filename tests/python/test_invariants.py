"""Symmetries of the loss: quantities that obey an equation of their own along every trajectory.

Noether's theorem for gradient flows with weight decay (Kunin et al., arXiv:2012.04728): what the flow without
decay conserves and is quadratic in w decays as exp(-2 lam t), and what is linear in w as exp(-lam t).
"""

import numpy as np
import oracle_problems as op
import pytest

T = np.concatenate([[0.0], np.logspace(-2, 2, 17)])
LAM = 0.02


def trajectory(flow, problem, seed, *, scale=1.0, positive=False, weight_decay=LAM, t=T):
    w0 = scale * np.random.default_rng(seed).standard_normal(problem.num_params)
    sol = flow.run(problem, np.abs(w0) if positive else w0, (0, t[-1]), weight_decay=weight_decay, t_eval=t)
    return sol.w


def check_decay(flow, values, w, *, rate=2 * LAM, size=None):
    """Assert values (T, ...) = values[0] * exp(-rate t), in units of the size of their terms."""
    factor = np.exp(-rate * T).reshape(-1, *[1] * (np.ndim(values) - 1))
    flow.check(values, factor * values[0], scale=2 * np.max(np.abs(w)) ** 2 if size is None else size)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(11)
    return rng.standard_normal((3, 5)), rng.standard_normal(3)


def test_diagonal_network_keeps_its_balance(flow, data):
    """Du, Hu and Lee, arXiv:1806.00900: u^2 - v^2 decays as exp(-2 lam t), entry by entry."""
    w = trajectory(flow, op.diagonal_network(*data), 0)
    u, v = np.split(w, 2, axis=1)
    check_decay(flow, u**2 - v**2, w)


def test_difference_of_squares_keeps_the_product(flow, data):
    """beta = u^2 - v^2: the product u v decays as exp(-2 lam t). Woodworth et al., arXiv:2002.09277."""
    w = trajectory(flow, op.power_network(*data, depth=2), 1)
    u, v = np.split(w, 2, axis=1)
    check_decay(flow, u * v, w)


def test_difference_of_cubes(flow, data):
    """beta = u^3 - v^3 with u, v > 0: 1/u + 1/v grows as exp(lam t)."""
    w = trajectory(flow, op.power_network(*data, depth=3), 2, positive=True)
    values = (1 / np.stack(np.split(w, 2, axis=1))).sum(axis=0)
    exact = np.exp(LAM * T)[:, None] * values[0]
    flow.check(values / exact, 1, scale=np.max(np.abs(w)) * np.max(1 / w**2) / np.min(values))


def test_linear_layers_keep_their_balance(flow):
    """W2^T W2 - W1 W1^T, and so on, decay as exp(-2 lam t). Arora, Cohen and Hazan, arXiv:1802.06509."""
    rng = np.random.default_rng(4)
    problem = op.linear_layers(rng.standard_normal((2, 3)), rng.standard_normal((2, 3)), (2, 2))
    w = trajectory(flow, problem, 3, scale=0.7)
    layers = [problem.split(x) for x in w]
    for lower in range(2):
        values = np.array([W[lower + 1].T @ W[lower + 1] - W[lower] @ W[lower].T for W in layers])
        check_decay(flow, values, w, size=4 * np.max(np.abs(w)) ** 2)


def test_signed_square_neurons_keep_their_balance(flow):
    """s(c z) = c^2 s(z) for c > 0: 2 a_j^2 - ||w_j||^2 decays as exp(-2 lam t), through every kink."""
    rng = np.random.default_rng(8)
    X, width = np.hstack([rng.standard_normal((4, 2)), np.ones((4, 1))]), 3
    w = trajectory(flow, op.signed_square_network(X, rng.standard_normal(4), width), 5, scale=0.8)
    a, W = w[:, :width], w[:, width:].reshape(-1, width, 3)
    check_decay(flow, 2 * a**2 - np.sum(W**2, axis=2), w, size=5 * np.max(np.abs(w)) ** 2)


@pytest.mark.parametrize(("activation", "degree"), [("quadratic", 2), ("identity", 1)])
def test_neurons_of_the_model_keep_their_balance(flow, activation, degree):
    """For act(c z) = c^k act(z): k u_j^2 - ||v_j||^2 - b_j^2 decays. Du, Hu and Lee, arXiv:1806.00900."""
    rng = np.random.default_rng(15)
    X, y = rng.standard_normal((3, 2)), rng.standard_normal(3)
    problem = op.model("TwoLayerNetwork", X, y, width=2, activation=activation)
    w = trajectory(flow, problem, 16, scale=0.7)
    u, V, b = (w[:, block] for block in problem.blocks.values())
    values = degree * u**2 - np.sum(V.reshape(-1, 2, 2) ** 2, axis=2) - b**2
    check_decay(flow, values, w, size=5 * np.max(np.abs(w)) ** 2)


def test_attention_heads_keep_their_balance(flow):
    """Q^T Q - K^T K decays as exp(-2 lam t). Marcotte, Gribonval and Peyre, arXiv:2307.00144."""
    rng = np.random.default_rng(9)
    problem = op.attention_scores(rng.standard_normal((3, 3)), rng.standard_normal((3, 3)), 2)
    w = trajectory(flow, problem, 6, scale=0.5)
    heads = [problem.split(x) for x in w]
    check_decay(flow, np.array([Q.T @ Q - K.T @ K for Q, K in heads]), w, size=6 * np.max(np.abs(w)) ** 2)


@pytest.mark.parametrize("weight_decay", [0.0, LAM])
def test_sum_of_softmax_classes(hessian_flow, weight_decay):
    """Adding one vector to every class changes nothing: the sum over classes decays as exp(-lam t)."""
    rng = np.random.default_rng(10)
    problem = op.softmax_regression(rng.standard_normal((5, 2)), np.array([0, 1, 2, 1, 0]), 3)
    w = trajectory(hessian_flow, problem, 7, weight_decay=weight_decay)
    total = w.reshape(-1, 3, 2).sum(axis=1)
    if weight_decay == 0:  # a linear invariant: kept by every step to round-off
        np.testing.assert_allclose(total, np.broadcast_to(total[0], total.shape), rtol=0, atol=1e-12)
    else:
        check_decay(hessian_flow, total, w, rate=LAM, size=3 * np.max(np.abs(w)))


def test_unused_parameter(flow):
    """A coordinate that the loss does not see decays as exp(-lam t)."""
    rng = np.random.default_rng(12)
    X = np.hstack([rng.standard_normal((2, 3)), np.zeros((2, 1))])
    w = trajectory(flow, op.linear_regression(X, rng.standard_normal(2)), 8)
    check_decay(flow, w[:, 3], w, rate=LAM, size=np.max(np.abs(w)))


def test_norm_of_a_homogeneous_model(flow):
    """f of degree 2: d|w|^2/dt = -4 <r, f> - 2 lam |w|^2 (Euler). Lyu and Li, arXiv:1906.05890."""
    rng = np.random.default_rng(13)
    A = rng.standard_normal((3, 3))
    problem = op.matrix_factorisation(A, 2)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    t = 0.5 * (nodes + 1)
    w = trajectory(flow, problem, 9, scale=0.5, t=np.concatenate([[0.0], t, [1.0]]))
    norms = np.sum(w**2, axis=1)
    residuals = np.array([problem.residual(x) for x in w])
    slopes = -4 * np.sum(residuals * (residuals + A.ravel()), axis=1) - 2 * LAM * norms
    flow.check(norms[-1] - norms[0], 0.5 * weights @ slopes[1:-1], scale=np.sum(np.abs(slopes)))


def test_two_trajectories_of_a_convex_loss_approach(hessian_flow):
    """||w(t) - z(t)|| <= exp(-lam t) ||w0 - z0||, and the speed falls at least as exp(-lam t)."""
    rng = np.random.default_rng(14)
    problem = op.logistic_regression(rng.standard_normal((6, 3)), rng.choice([-1, 1], 6))
    w, z = (trajectory(hessian_flow, problem, seed, scale=2.0) for seed in (10, 11))
    tolerance = hessian_flow.limit * (1e-8 * np.max(np.abs([w, z])) + 1e-11)
    distances = np.linalg.norm(w - z, axis=1)
    assert np.all(distances <= np.exp(-LAM * T) * distances[0] + 2 * tolerance)
    speeds = np.linalg.norm([problem.gradient(x) + LAM * x for x in w], axis=1)
    stiffness = max(np.linalg.norm(problem.hessian(x), 2) for x in w)
    assert np.all(speeds <= np.exp(-LAM * T) * speeds[0] + stiffness * tolerance)
