"""Work that a run must not do twice."""

from collections import Counter

import grokflow as gf
import numpy as np
import pytest

rng = np.random.default_rng(5)


@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_equal_steps_share_a_factorisation(method):
    """With two rates of decay as with one: a step of the same size at the same linearisation costs none."""
    problem = gf.models.DiagonalLinearNetwork(rng.standard_normal((4, 6)), rng.standard_normal(4))
    w0 = problem.initial_weights(std=1.0, seed=0)
    names = list(problem.blocks)
    work = {
        decay: gf.gradient_flow(
            problem, w0, (0, 1e3), weight_decay={"*": 0.01, names[0]: decay}, method=method
        )
        for decay in (0.01, 0.02)
    }
    attempts, factored = zip(
        *((sol.stats["nsteps"] + sol.stats["nrejected"], sol.stats["nfactor"]) for sol in work.values()),
        strict=True,
    )
    per_step = np.array(factored) / np.array(attempts)
    assert per_step[1] < 1.1 * per_step[0]


@pytest.mark.parametrize("rates", [{"*": 1e-3}, {"u": 1e-3, "v": 1.0}], ids=["one rate", "two rates"])
def test_kernel_and_hessian_take_the_same_steps(rates):
    """Radau's complex systems, large enough for blocks: Cholesky of the kernel against LU of the Hessian.

    On the minimisers the Hessian is that of Gauss and Newton, so that the two agree to round-off.
    """
    X = rng.standard_normal((80, 120))
    u, v = rng.standard_normal((2, 120))
    problem = gf.models.DiagonalLinearNetwork(X, X @ (u * v))
    start = np.concatenate([u, v])
    sols = [
        gf.gradient_flow(
            problem,
            start,
            (0, 1e-2),
            weight_decay=rates,
            method="Radau",
            curvature=curvature,
            rtol=1e-10,
            atol=1e-12,
        )
        for curvature in ("gram", "dense")
    ]
    np.testing.assert_allclose(sols[0].final, sols[1].final, rtol=1e-11)
    assert sols[0].stats["nsteps"] == sols[1].stats["nsteps"]
    assert sols[0].stats["nfev"] == pytest.approx(sols[1].stats["nfev"], rel=0.1)
    assert sols[0].stats["nfailed"] == 0


def drift_problems():
    """Return pairs of name and problem, one of each kind of model."""
    rng = np.random.default_rng(21)
    X, entries = rng.standard_normal((10, 30)), rng.permutation(64)[:30]
    low_rank = np.outer(rng.standard_normal(8), rng.standard_normal(8))
    problems = {
        "linear": gf.models.LinearRegression(X, rng.standard_normal(10)),
        "diagonal": gf.models.DiagonalLinearNetwork(X, X[:, :3].sum(axis=1)),
        "completion": gf.models.MatrixCompletion(
            *np.divmod(entries, 8), low_rank.flat[entries], shape=(8, 8), width=4
        ),
        "tanh": gf.models.TwoLayerNetwork(X[:, :3], np.tanh(X[:, 0]), width=30, output_scale=30**-0.5),
    }
    return problems.items()


@pytest.mark.parametrize(("name", "problem"), drift_problems())
def test_a_drift_costs_few_projections(name, problem):
    """Each at the price of one factorisation; the way back to the manifold costs none, and few solves.

    On the tanh network the drift has rates of 15, so that its stability bounds the steps of the method.
    """
    start = gf.limit_map(problem, problem.initial_weights(std=1.0, seed=0)).w
    work = gf.norm_flow(problem, start, (0, 10), t_eval=None).stats
    assert work["nproject"] <= (400 if name == "tanh" else 250)
    assert work["nproject"] == work["ngram"] == work["nfactor"] == work["nfev"]
    corrections = work["nvjp"] - work["njvp"]
    assert corrections <= 5 * work["nsteps"]


@pytest.mark.parametrize(("condition", "passes"), [(10.0, 1), (1e6, 2)])
def test_a_projection_is_repeated_where_one_would_not_do(condition, passes):
    """On a linear problem w(s) = X^+ y + e^-s P w(0)."""
    rng = np.random.default_rng(6)
    left, right = (np.linalg.qr(rng.standard_normal((size, 8)))[0] for size in (8, 20))
    X = left @ np.diag(np.geomspace(1.0, 1.0 / condition, 8)) @ right.T
    free = rng.standard_normal(20)
    free -= right @ (right.T @ free)
    inside = right @ rng.standard_normal(8)
    problem = gf.models.LinearRegression(X, X @ inside)
    sol = gf.norm_flow(problem, inside + free, (0, 5), rtol=1e-10, atol=1e-12, t_eval=None)
    assert sol.stats["njvp"] == passes * sol.stats["nproject"]
    for s, w in zip(sol.t, sol.w, strict=True):
        np.testing.assert_allclose(w, inside + np.exp(-s) * free, rtol=0, atol=1e-8)


@pytest.mark.parametrize(("name", "problem"), drift_problems())
def test_every_recorded_state_is_on_the_manifold(name, problem):
    """Also between two steps past a point where eta all but vanishes, as on the way of this completion."""
    start = gf.limit_map(problem, problem.initial_weights(std=1.0, seed=0)).w
    sol = gf.norm_flow(problem, start, (0, 10), t_eval=np.linspace(0, 10, 201))
    assert max(np.linalg.norm(problem.residual(w)) for w in sol.w) < 1e-12


@pytest.mark.parametrize("method", ["BDF", "Radau"])
@pytest.mark.parametrize("curvature", ["gram", "dense", "krylov"])
def test_the_stats_count_what_was_called(method, curvature):
    """A gradient is a residual and a product with J^T; one more tells whether the functions fit together."""
    X = np.random.default_rng(0).standard_normal((6, 2))
    net = gf.models.TwoLayerNetwork(X, np.sin(X[:, 0]), width=5, activation="tanh")
    calls = Counter()

    def counted(name):
        def function(*arguments):
            calls[name] += 1
            return getattr(net, name)(*arguments)

        return function

    functions = {name: counted(name) for name in ("residual", "jvp", "vjp", "gram", "hvp")}
    problem = gf.LeastSquares(**functions, num_params=net.num_params, num_residuals=6)
    calls.clear()
    stats = gf.gradient_flow(
        problem,
        net.initial_weights(seed=0),
        (0, 100),
        weight_decay=1e-3,
        method=method,
        curvature=curvature,
        rtol=1e-5,
        observe={},
        t_eval=None,
    ).stats
    assert calls["residual"] == stats["nfev"] + 1
    assert calls["jvp"] == stats["njvp"]
    assert calls["vjp"] == stats["nvjp"] + stats["nfev"] + 1
    assert calls["gram"] == stats["ngram"]
    assert calls["hvp"] == stats["nhvp"] + problem.num_params * stats["nhessian"]
