"""Gradient flows with weight decay whose solution is a formula, by every method and by the reference."""

import numpy as np
import oracle_problems as op
import pytest
from oracle_data import facts
from scipy.linalg import expm

LOG_GRID = np.concatenate([[0.0], np.logspace(-3, 2, 26)])


def logistic(beta0, growth, rate, t):
    """Return beta(t) for beta' = 2 beta (growth - rate beta)."""
    limit = growth / rate
    return limit / (1 + (limit / beta0 - 1) * np.exp(-2 * growth * t))


def ridge_path(X, y, w0, weight_decay, t):
    """Return w (T, d) for F = ||X w - y||^2 / 2, coordinate by coordinate in the right singular basis."""
    U, s, Vt = np.linalg.svd(X)
    rates = np.zeros(X.shape[1])
    rates[: s.size] = s**2
    targets = np.zeros(X.shape[1])
    targets[: s.size] = s * (U.T @ y)[: s.size] / (s**2 + weight_decay)
    decay = np.exp(-np.outer(t, rates + weight_decay))
    return (targets + decay * (Vt @ w0 - targets)) @ Vt


def test_linear_regression(flow):
    case = facts("ridge")
    problem = op.linear_regression(case.X, case.y)
    sol = flow.run(problem, case.w0, (0, 40), weight_decay=case.weight_decay, t_eval=case.t)
    flow.check(sol.w, case.w)


def test_linear_regression_along_the_path(flow):
    rng = np.random.default_rng(0)
    X, y, w0 = rng.standard_normal((4, 7)), rng.standard_normal(4), rng.standard_normal(7)
    t = np.concatenate([[0.0], np.logspace(-3, 4, 36)])
    sol = flow.run(op.linear_regression(X, y), w0, (0, 1e4), weight_decay=1e-3, t_eval=t)
    flow.check(sol.w, ridge_path(X, y, w0, 1e-3, t))


def test_heat_equation(flow):
    """Second differences, Dirichlet ends: sine coefficient k decays as 4 sin(pi k h / 2)^2 / h^2 + lam."""
    m = 9
    h = 1 / (m + 1)
    differences = (np.eye(m + 1, m) - np.eye(m + 1, m, k=-1)) / h
    modes = np.arange(1, m + 1)
    sines = np.sin(np.pi * h * np.outer(modes, modes))
    c0 = 1.0 / modes
    t = np.array([0.0, 1e-4, 1e-3, 1e-2, 0.1, 1.0])
    rates = 4 / h**2 * np.sin(np.pi * modes * h / 2) ** 2 + 0.3
    problem = op.linear_regression(differences, np.zeros(m + 1))
    sol = flow.run(problem, c0 @ sines, (0, 1), weight_decay=0.3, t_eval=t)
    flow.check(sol.w, (c0 * np.exp(-np.outer(t, rates))) @ sines)


def test_quartic(flow):
    case = facts("quartic")
    w = flow.end(op.monomial(2), [case.w0], case.t, weight_decay=case.weight_decay)
    flow.check(w, case.w, scale=case.w0)


@pytest.mark.parametrize("weight_decay", [0.0, 0.02])
def test_degenerate_minimum(flow, weight_decay):
    """F = w^6 / 6 is flat at its minimum: a Bernoulli equation, algebraic decay for lam = 0."""
    w0, power = 1.5, 4
    elapsed = LOG_GRID if weight_decay == 0 else (1 - np.exp(-power * weight_decay * LOG_GRID)) / weight_decay
    factor = w0**power * elapsed * (power if weight_decay == 0 else 1)
    exact = w0 * np.exp(-weight_decay * LOG_GRID) * (1 + factor) ** (-1 / power)
    sol = flow.run(op.monomial(3), [w0], (0, 100), weight_decay=weight_decay, t_eval=LOG_GRID)
    flow.check(sol.w[:, 0], exact)


def test_double_well(flow):
    case = facts("double_well")
    w = flow.end(op.radial_well(1), [case.w0], case.t, weight_decay=case.weight_decay)
    flow.check(w, case.w, scale=1 / case.w0)  # the error made near the saddle at 0 grows with w


@pytest.mark.parametrize(("weight_decay", "w0"), [(0.0, 0.3), (0.5, -2.0), (2.0, 1.0)])
def test_double_well_keeps_its_side_or_collapses(flow, weight_decay, w0):
    t = np.linspace(0, 5, 21)
    exact = np.sign(w0) * np.sqrt(logistic(w0**2, 1 - weight_decay, 1.0, t))
    sol = flow.run(op.radial_well(1), [w0], (0, 5), weight_decay=weight_decay, t_eval=t)
    flow.check(sol.w[:, 0], exact, scale=max(1, abs(w0)))


def test_saddle_is_an_exact_rest_point(flow):
    assert flow.end(op.radial_well(3), np.zeros(3), 100, weight_decay=0.1).tolist() == [0, 0, 0]


def test_radial_well(flow):
    w0 = np.array([0.2, -0.5, 0.1, 0.9])
    radius = np.linalg.norm(w0)
    t = np.linspace(0, 20, 11)
    exact = np.sqrt(logistic(radius**2, 0.9, 1.0, t))[:, None] * w0 / radius
    sol = flow.run(op.radial_well(4), w0, (0, 20), weight_decay=0.1, t_eval=t)
    flow.check(sol.w, exact)


def test_collapse_under_strong_decay(flow):
    case = facts("collapse")
    problem = op.diagonal_network(np.ones((1, 1)), np.array([case.c]))
    sol = flow.run(problem, [case.u0, case.v0], (0, case.t), weight_decay=case.weight_decay, t_eval=[case.t])
    u, v = sol.w[-1]
    flow.check(u * v, case.uv, scale=case.u0**2)


def test_escape_from_a_saddle(flow):
    """A balanced start u = v = eps reaches u v = c / 2 at t = log(c / eps^2 - 1) / (2 c)."""
    c, eps = 1.0, 1e-4

    def halfway(t, w):
        return w[0] * w[1] - c / 2

    problem = op.diagonal_network(np.ones((1, 1)), np.array([c]))
    options = {"rtol": 1e-10, "atol": 1e-16, "weight_decay": 0.0}
    sol = flow.run(problem, [eps, eps], (0, 30), events=halfway, **options)
    exact = np.log(c / eps**2 - 1) / (2 * c)
    flow.check(sol.t_events[0], [exact], rtol=1e-10)
    assert sol.w_events[0][0].prod() == pytest.approx(c / 2, rel=1e-11)


def gram_of_riccati(B, Z0, inner, t):
    """Return Z Z^T for Z' = B Z - inner Z Z^T Z: a matrix Riccati equation, linear in disguise."""
    E, k = expm(B * t), Z0.shape[1]
    middle = np.eye(k) + inner * Z0.T @ np.linalg.solve(B, E @ E - np.eye(len(B))) @ Z0
    return E @ Z0 @ np.linalg.solve(middle, Z0.T @ E)


def test_symmetric_factorisation(flow):
    case = facts("riccati")
    problem = op.symmetric_factorisation(case.A, 2)
    t = np.array([0.5, 1.5, case.t])
    sol = flow.run(problem, case.U0.ravel(), (0, case.t), weight_decay=case.weight_decay, t_eval=t)
    U = sol.w.reshape(-1, 4, 2)
    B = case.A - case.weight_decay * np.eye(4)
    for Ui, ti in zip(U, t, strict=True):
        flow.check(Ui @ Ui.T, gram_of_riccati(B, case.U0, 1.0, ti), scale=2)
    np.testing.assert_allclose(U[-1] @ U[-1].T, case.UUt, atol=2e-6)
    np.testing.assert_allclose(gram_of_riccati(B, case.U0, 1.0, case.t), case.UUt, rtol=1e-10)


def test_balanced_factorisation(flow):
    """U^T U = V^T V at the start makes F = ||U V^T - A||^2 / 2 a Riccati equation for [U; V]."""
    rng = np.random.default_rng(3)
    A = rng.standard_normal((4, 3))
    width, lam = 2, 0.05
    S = 0.3 * rng.standard_normal((width, width))
    U0, V0 = (np.linalg.qr(rng.standard_normal((n, width)))[0] @ S for n in A.shape)
    problem = op.matrix_factorisation(A, width)
    t = np.array([0.3, 1.0, 2.0])  # later the formula itself loses digits: exp(2 B t) has all scales
    sol = flow.run(problem, np.concatenate([U0.ravel(), V0.ravel()]), (0, 2), weight_decay=lam, t_eval=t)
    B = np.block([[np.zeros((4, 4)), A], [A.T, np.zeros((3, 3))]]) - lam * np.eye(7)
    for w, ti in zip(sol.w, t, strict=True):
        Z = np.vstack(problem.split(w))
        flow.check(Z @ Z.T, gram_of_riccati(B, np.vstack([U0, V0]), 0.5, ti), scale=3)


def test_diagonal_network(flow):
    case = facts("diagonal_network")
    problem = op.diagonal_network(case.X, case.y)
    w0 = np.concatenate([case.u0, case.v0])
    w = flow.end(problem, w0, case.t, weight_decay=case.weight_decay)
    u, v = np.split(w, 2)
    flow.check(u * v, case.beta, atol=1e-10)


def test_rayleigh_quotient(hessian_flow):
    """The direction follows Oja's flow exp(A tau) w0 in time tau = (exp(2 lam t) - 1) / (2 lam |w0|^2)."""
    rng = np.random.default_rng(1)
    A = rng.standard_normal((4, 4))
    A, w0, lam = A + A.T, rng.standard_normal(4), 0.1
    t = np.array([0.1, 1.0, 5.0, 20.0])
    sol = hessian_flow.run(op.rayleigh(A), w0, (0, 20), weight_decay=lam, t_eval=t)
    for w, ti in zip(sol.w, t, strict=True):
        tau = (np.exp(2 * lam * ti) - 1) / (2 * lam * w0 @ w0)
        z = expm(A * tau - np.max(np.linalg.eigvalsh(A)) * tau * np.eye(4)) @ w0
        exact = np.linalg.norm(w0) * np.exp(-lam * ti) * z / np.linalg.norm(z)
        hessian_flow.check(w, exact, scale=np.linalg.norm(w0))


def test_one_logistic_sample_runs_away(hessian_flow):
    case = facts("logistic")
    problem = op.logistic_regression(np.ones((1, 1)), [1])
    w = hessian_flow.end(problem, [case.w0], case.t, weight_decay=0.0)
    hessian_flow.check(w, [case.w])


def test_exponential_loss(hessian_flow):
    t = np.logspace(-2, 6, 17)
    sol = hessian_flow.run(op.exponential(), [0.5], (0, 1e6), weight_decay=0.0, t_eval=t)
    hessian_flow.check(sol.w[:, 0], np.log(t + np.exp(0.5)))


def test_exponential_loss_comes_to_rest(hessian_flow):
    case = facts("exponential")
    w = hessian_flow.end(op.exponential(), [0.0], 5e4, weight_decay=case.weight_decay)
    hessian_flow.check(w, [case.w])
