"""Problems that solve for themselves: with alpha + beta Hess F, where the model lives."""

import grokflow as gf
import numpy as np
import pytest

RNG = np.random.default_rng(0)
Q = np.linalg.qr(RNG.standard_normal((6, 6)))[0]
H = Q @ np.diag([30.0, 4.0, 1.0, 0.1, 0.0, 0.0]) @ Q.T
TARGET = RNG.standard_normal(6)
PARTS = {"a": 2, "b": 4}


def quadratic(solve=None):
    return gf.Objective(
        loss=lambda w: 0.5 * (w - TARGET) @ H @ (w - TARGET),
        gradient=lambda w: H @ (w - TARGET),
        hvp=lambda w, v: H @ v,
        solve=solve,
        num_params=6,
        parameters=PARTS,
    )


@pytest.mark.parametrize("decay", [0.1, {"a": 0.0, "b": 0.1}], ids=["one rate", "two rates"])
def test_a_solve_is_asked_for_what_a_step_needs(decay):
    asked = []

    def solve(w, alpha, beta, v, tol):
        asked.append((np.ndim(alpha), tol))
        return np.linalg.solve(np.diag(np.ones(6) * alpha) + beta * H, v)

    w0 = np.ones(6)
    own, products = (
        gf.gradient_flow(quadratic(s), w0, (0, 100), weight_decay=decay, curvature=c, rtol=1e-8)
        for s, c in ((solve, "auto"), (None, "dense"))
    )
    assert own.settings["curvature"] == "krylov"
    assert own.final == pytest.approx(products.final, abs=1e-6)
    assert own.stats["nsolve"] == len(asked)
    assert own.stats["nhvp"] == 0
    assert {rank for rank, _ in asked} == {0 if isinstance(decay, float) else 1}
    assert all(0.0 < tol < 1.0 for _, tol in asked)


def test_a_solve_that_meets_negative_curvature_shrinks_the_step():
    calls = []

    def solve(w, alpha, beta, v, tol):
        calls.append(beta)
        return None if beta > 0.1 else np.linalg.solve(alpha * np.eye(6) + beta * H, v)

    sol = gf.gradient_flow(quadratic(solve), np.ones(6), (0, 30), weight_decay=0.1)
    assert sol.success
    assert sol.stats["nfailed"] > 0
    assert max(calls) > 0.1


def test_what_a_solve_returns_is_checked():
    with pytest.raises(gf.CallbackError, match=r"solve returned shape \(2,\), expected shape \(6,\)"):
        gf.gradient_flow(
            quadratic(lambda w, alpha, beta, v, tol: v[:2]), np.ones(6), (0, 5), weight_decay=0.1
        )
    with pytest.raises(TypeError, match="solve needs hvp beside it"):
        gf.Objective(loss=np.sum, gradient=np.ones_like, solve=lambda *_: None, num_params=6)


def test_a_kernel_of_a_range_serves_decay_by_block():
    """K of the parameters begin <= i < end takes the place of two products a row."""
    A = RNG.standard_normal((4, 6))

    def gram(w, begin, end):
        return A[:, begin:end] @ A[:, begin:end].T

    def residual(w):
        return A @ w - 1.0

    functions = {"residual": residual, "jvp": lambda w, v: A @ v, "vjp": lambda w, u: A.T @ u}
    problem = gf.LeastSquares(**functions, gram=gram, num_params=6, num_residuals=4, parameters=PARTS)
    sol = gf.gradient_flow(problem, np.ones(6), (0, 50), weight_decay={"a": 0.0, "b": 0.1}, curvature="gram")
    exact = gf.gradient_flow(
        problem, np.ones(6), (0, 50), weight_decay={"a": 0.0, "b": 0.1}, curvature="dense"
    )
    assert sol.final == pytest.approx(exact.final, abs=1e-5)
    assert problem.gram(np.ones(6)) == pytest.approx(A @ A.T)


def test_conjugate_gradients_of_torch_keep_their_tolerance():
    torch = pytest.importorskip("torch")
    from grokflow.frameworks.torch_solve import solve

    matrix, v = torch.tensor(H), torch.tensor(RNG.standard_normal(6))
    for alpha in (1.3, torch.tensor([1.0, 1.0, 2.0, 2.0, 1.5, 1.5])):
        for beta in (1e-3, 1.0, 1e4):
            exact = torch.linalg.solve(torch.diag(torch.ones(6) * alpha) + beta * matrix, v)
            for tolerance in (0.1, 1e-6):
                x = solve(lambda u: matrix @ u, alpha, beta, v, tolerance)
                assert torch.linalg.norm(x - exact) <= 2 * tolerance * torch.linalg.norm(exact)
    assert solve(lambda u: -u, 1.0, 10.0, v, 0.1) is None
    assert not solve(lambda u: u, 1.0, 1.0, torch.zeros(6), 0.1).any()


@pytest.mark.parametrize("decay", [1e-2, {"*": 1e-2, "*.bias": 0.0}], ids=["one rate", "two rates"])
def test_a_module_on_another_device_solves_there(monkeypatch, decay):
    pytest.importorskip("torch")
    from grokflow.frameworks.model import Outputs
    from torch_networks import mlp

    X, y = RNG.standard_normal((6, 64)), [0, 1, 2, 0, 1, 2]
    net = mlp(4, 3)
    flows = []
    for remote in (False, True):
        problem = gf.from_torch(net, X, y, loss="cross_entropy")
        if remote:  # as it is made for a module on a GPU
            monkeypatch.setattr(
                type(problem._network), "remote", property(lambda _: True, lambda *_: None), raising=False
            )
            problem = gf.from_torch(net, X, y, loss="cross_entropy")
        flows.append(
            gf.gradient_flow(problem, problem.initial_weights(), (0, 300), weight_decay=decay, rtol=1e-6)
        )
    here, there = flows
    assert there.final == pytest.approx(here.final, abs=1e-4)
    assert there.stats["nhvp"] == 0 < here.stats["nhvp"]
    assert Outputs.remote is False
