"""Two runs that have to agree: the same flow in other units, other coordinates, other pieces, other code."""

import grokflow as gf
import numpy as np
import oracle_problems as op
import pytest

T = np.concatenate([[0.0], np.logspace(-2, 3, 16)])


@pytest.fixture(scope="module")
def network():
    rng = np.random.default_rng(21)
    problem = op.diagonal_network(rng.standard_normal((3, 5)), rng.standard_normal(3))
    return problem, rng.standard_normal(10)


@pytest.mark.parametrize("method", ["BDF", "Radau"])
@pytest.mark.parametrize("curvature", ["gram", "dense"])
def test_a_change_of_the_unit_of_time(method, curvature):
    """(F, lam, t) -> (4 F, 4 lam, t / 4): the same path by the same steps. A power of two is exact."""
    rng = np.random.default_rng(22)
    X, y, w0 = rng.standard_normal((3, 5)), rng.standard_normal(3), rng.standard_normal(10)
    runs = []
    for factor in (1.0, 4.0):
        problem = gf.models.DiagonalLinearNetwork(X, y, scale=factor)
        runs.append(
            gf.gradient_flow(
                problem,
                w0,
                (0, 1e3 / factor),
                weight_decay=0.01 * factor,
                method=method,
                curvature=curvature,
                t_eval=T / factor,
                first_step=1e-4 / factor,
            )
        )
    slow, fast = runs
    np.testing.assert_allclose(fast.w, slow.w, rtol=1e-10, atol=1e-12)
    assert fast.stats["nsteps"] == slow.stats["nsteps"]
    assert fast.stats["nfev"] == slow.stats["nfev"]


def test_rotated_coordinates(flow):
    """w -> Q w and F -> F(Q^T .) turn the trajectory: the weight decay is isotropic."""
    rng = np.random.default_rng(23)
    X, y, w0 = rng.standard_normal((3, 4)), rng.standard_normal(3), rng.standard_normal(4)
    Q = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    options = {"weight_decay": 0.01, "t_eval": T}
    straight = flow.run(op.linear_regression(X, y), w0, (0, 1e3), **options)
    turned = flow.run(op.linear_regression(X @ Q.T, y), Q @ w0, (0, 1e3), **options)
    flow.check(turned.w @ Q, straight.w)


def test_two_runs_one_after_the_other(flow, network):
    problem, w0 = network
    whole = flow.end(problem, w0, 50, weight_decay=0.02)
    halfway = flow.end(problem, w0, 3, weight_decay=0.02)
    flow.check(flow.run(problem, halfway, (3, 50), weight_decay=0.02).final, whole)


def test_separable_losses_do_not_see_each_other(flow):
    """F(x) + G(y): together as alone."""
    rng = np.random.default_rng(24)
    X1, X2 = rng.standard_normal((2, 3)), 5 * rng.standard_normal((2, 3))
    y1, y2, w0 = rng.standard_normal(2), rng.standard_normal(2), rng.standard_normal(12)
    first, second = op.diagonal_network(X1, y1), op.diagonal_network(X2, y2)

    def jacobian(w):
        J = np.zeros((4, 12), dtype=w.dtype)
        J[:2, :6], J[2:, 6:] = first.jacobian(w[:6]), second.jacobian(w[6:])
        return J

    joint = op.LeastSquaresLoss(
        12, lambda w: np.concatenate([first.residual(w[:6]), second.residual(w[6:])]), jacobian
    )
    alone = [flow.end(p, w0[i : i + 6], 100, weight_decay=0.03) for p, i in ((first, 0), (second, 6))]
    flow.check(flow.end(joint, w0, 100, weight_decay=0.03), np.concatenate(alone))


@pytest.mark.parametrize("method", ["BDF", "Radau"])
@pytest.mark.parametrize("curvature", ["gram", "dense"])
def test_each_sample_twice(method, curvature):
    """The mean over samples does not change, and a singular kernel does no harm."""
    rng = np.random.default_rng(25)
    X, y, w0 = rng.standard_normal((3, 5)), rng.standard_normal(3), rng.standard_normal(10)
    options = {"weight_decay": 0.01, "method": method, "curvature": curvature, "t_eval": T}
    once, twice = (
        gf.gradient_flow(problem, w0, (0, 1e3), **options)
        for problem in (
            gf.models.DiagonalLinearNetwork(X, y),
            gf.models.DiagonalLinearNetwork(np.repeat(X, 2, axis=0), np.repeat(y, 2)),
        )
    )
    limit = {"BDF": 50, "Radau": 10}[method]
    assert np.max(np.abs(twice.w - once.w)) < limit * 1e-6 * np.max(np.abs(once.w))
    assert abs(twice.stats["nsteps"] - once.stats["nsteps"]) <= 0.1 * once.stats["nsteps"]


@pytest.mark.parametrize("make", [op.matrix_factorisation, op.diagonal_network])
def test_every_way_gives_one_trajectory(make, compiled_flow):
    """The compiled model, the same model as Python callbacks, and the loss without its residuals."""
    rng = np.random.default_rng(26)
    problem = make(
        rng.standard_normal((3, 4)), 2 if make is op.matrix_factorisation else rng.standard_normal(3)
    )
    w0 = rng.standard_normal(problem.num_params)
    options = {"weight_decay": 0.01, "t_eval": T, "rtol": 1e-8, "atol": 1e-11, "method": compiled_flow.method}
    tight = gf.gradient_flow(
        problem.compiled(), w0, (0, 1e3), **options | {"rtol": 1e-11, "atol": 1e-14, "method": "Radau"}
    )
    model = gf.gradient_flow(problem.compiled(), w0, (0, 1e3), curvature=compiled_flow.curvature, **options)
    calls = gf.gradient_flow(problem.callbacks(), w0, (0, 1e3), curvature=compiled_flow.curvature, **options)
    loss = op.Loss(problem.num_params, problem.loss, problem.gradient).compiled()
    bare = gf.gradient_flow(loss, w0, (0, 1e3), curvature="dense", **options)
    for sol in (model, calls, bare):
        compiled_flow.check(sol.w, tight.w)
