"""Curvature without a matrix: its solves, what it learns from them, and the flows that it drives."""

import grokflow as gf
import numpy as np
import pytest
from grokflow._backend import core
from scipy.special import expit

FORCING = 0.02  # the error of a solve, relative to the solution
SHIFTS = pytest.mark.parametrize("z", [1e-2, 1.0, 1e2, 1e4, 1e6])
SPACES = pytest.mark.parametrize("space", ["kernel", "parameter"])


def network(n, width, inputs=5, seed=0, fitted=False):
    """A tanh network and weights, with n residuals and d = width * (inputs + 2) + 1; all zero if `fitted`."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, inputs))
    y = np.tanh(X @ rng.standard_normal((inputs, 2))) @ np.array([1.0, -1.5])
    options = {"width": width, "activation": "tanh", "output_bias": True, "output_scale": width**-0.5}
    problem = gf.models.TwoLayerNetwork(X, y, **options)
    w = problem.initial_weights(seed=1)
    if fitted:
        problem = gf.models.TwoLayerNetwork(X, problem.predict(w, X), **options)
    return problem, w


def logistic(n, d, seed=3, **others):
    """Logistic regression as an `Objective` with Hessian-vector products, and weights; `others` replace."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) / np.sqrt(d)
    s = np.sign(X @ rng.standard_normal(d))

    def hvp(w, v):
        p = expit(s * (X @ w))
        return X.T @ (p * (1 - p) * (X @ v)) / n

    functions = {
        "loss": lambda w: np.logaddexp(0.0, -s * (X @ w)).mean(),
        "gradient": lambda w: -(X.T @ (s * expit(-s * (X @ w)))) / n,
        "hvp": hvp,
    }
    return gf.Objective(**functions | others, num_params=d), rng.standard_normal(d)


def spectrum(n=600, top=3e1, decades=8.0, seed=2):
    """Linear regression whose kernel has eigenvalues from `top` down by so many decades, and weights."""
    rng = np.random.default_rng(seed)
    eigenvalues = top * 10 ** (-decades * (np.arange(n) / (n - 1)) ** 0.3)
    left = np.linalg.qr(rng.standard_normal((n, n)))[0]
    right = np.linalg.qr(rng.standard_normal((n + 10, n)))[0]
    X = (left * np.sqrt(eigenvalues)) @ right.T
    return gf.models.LinearRegression(X, X @ rng.standard_normal(n + 10), scale="sum")


def curvature(problem, w, rates, kind="krylov", rank=200, forcing=FORCING):
    made = core.SteppedCurvature(problem._core, rates, kind, 2.0**32, rank, forcing)
    made.linearize(w)
    return made


def rates_of(problem, by_block):
    d = problem.num_params
    return [(0, d // 3, 1e-4), (d // 3, d, 1e-6)] if by_block else [(0, d, 1e-4)]


def matrix(problem, w, rates, z, full=False):
    """I + z (D + H), with the full Hessian or its Gauss-Newton part."""
    J = problem.jacobian(w)
    H = problem._core.linearize(w).hessian() if full else problem._core.scale * J.T @ J
    D = np.concatenate([np.full(end - begin, rate) for begin, end, rate in rates])
    return np.eye(w.size) + z * (np.diag(D) + H)


@SHIFTS
@SPACES
@pytest.mark.parametrize("by_block", [False, True])
@pytest.mark.parametrize("turn", [1.0, np.exp(0.9j)], ids=["real", "complex"])
def test_solve_is_as_accurate_as_promised(z, space, by_block, turn):
    """In the solution, not in the residual: also where the right side is dominated by stiff directions.

    Along ker J the solve in kernel space is exact. In parameter space it has the full Hessian, taken at a
    minimiser, where it is semidefinite.
    """
    problem, w = network(30, 20) if space == "kernel" else network(80, 8, fitted=True)
    rates, z = rates_of(problem, by_block), z * turn
    M = matrix(problem, w, rates, z, full=space == "parameter")
    rng = np.random.default_rng(4)
    solver = curvature(problem, w, rates)
    for v in (rng.standard_normal(w.size), (M @ rng.standard_normal(w.size)).real):
        v = v * turn
        x, exact = solver.solve(z, v), np.linalg.solve(M, v)
        assert np.linalg.norm(x - exact) < 2 * FORCING * np.linalg.norm(exact)
        if space == "kernel" and not by_block:
            J = problem.jacobian(w)
            _, _, rows = np.linalg.svd(J)
            tangent = rows[problem.num_residuals :]
            lost = np.linalg.norm(tangent @ (x - exact))
            assert lost < 1e-13 * np.linalg.norm(v) + 1e-9 * np.linalg.norm(exact)


@pytest.mark.parametrize("size", [0.0, 1e-7, 1.0, 1e7])
@pytest.mark.parametrize("name", ["identity", "rank one"])
@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_solves_that_end_in_an_iteration_or_two(name, size, method):
    """A multiple of I, of a projector, or zero: what is left of a residual then is round-off."""
    d, lam, t = 300, 1e-3, 1e3
    product = {"identity": lambda v: size * v, "rank one": lambda v: np.full(d, size * v.mean())}[name]
    problem = gf.Objective(
        loss=lambda w: w @ product(w) / 2, gradient=product, hvp=lambda w, v: product(v), num_params=d
    )
    for w0 in (np.ones(d), np.cos(np.arange(d)), np.zeros(d)):
        sol = gf.gradient_flow(problem, w0, (0, t), weight_decay=lam, method=method, curvature="krylov")
        assert sol.success, sol.message
        kept = product(w0) / size if size else 0.0 * w0
        exact = np.exp(-lam * t) * (w0 - kept + np.exp(-size * t) * kept)
        np.testing.assert_allclose(sol.final, exact, rtol=0, atol=3e-5)


@pytest.mark.parametrize("z", [1e-1, 1.0])
def test_solve_with_the_full_hessian(z):
    """Sharpened, the solve in kernel space preconditions one with the full Hessian."""
    problem, w = network(30, 20)
    rates = rates_of(problem, by_block=False)
    M = matrix(problem, w, rates, z, full=True)
    assert np.linalg.eigvalsh(M).min() > 0
    v = np.random.default_rng(5).standard_normal(w.size)
    solver, exact = curvature(problem, w, rates), np.linalg.solve(M, v)
    assert solver.sharpen()
    assert np.linalg.norm(solver.solve(z, v) - exact) < 0.25 * np.linalg.norm(exact)
    assert solver.stats["nhvp"] > 0


def test_solve_is_symmetric():
    problem, w = network(30, 20)
    solver = curvature(problem, w, rates_of(problem, True))
    a, b = np.random.default_rng(6).standard_normal((2, w.size))
    left, right = a @ solver.solve(10.0, b), b @ solver.solve(10.0, a)
    assert abs(left - right) < 2 * FORCING * np.linalg.norm(a) * np.linalg.norm(b)


def test_negative_curvature_is_refused():
    """Beyond z = 1 / |lambda| the matrix is indefinite, and the answer is a smaller step."""
    A = np.diag(np.r_[-0.5, np.linspace(0.1, 2.0, 9)])
    saddle = gf.Objective(
        loss=lambda w: w @ A @ w / 2, gradient=lambda w: A @ w, hvp=lambda w, v: A @ v, num_params=10
    )
    solver = curvature(saddle, np.ones(10), [(0, 10, 0.0)])
    x = solver.solve(1.0, np.ones(10))
    np.testing.assert_allclose(x, np.linalg.solve(np.eye(10) + A, np.ones(10)), atol=0.1)
    assert solver.solve(10.0, np.ones(10)) is None


def test_solves_teach_the_next_ones():
    """Each shift in turn, twice over: the second round needs a small part of the iterations of plain CG."""
    problem = spectrum()
    rng = np.random.default_rng(7)
    d = problem.num_params
    w, shifts = np.zeros(d), [1e-2, 1e-3, 1e-4, 1e-5]

    def iterations(solver, rounds):
        counts = []
        for _ in range(rounds):
            for shift in shifts:
                before = solver.stats["niter"]
                for _ in range(3):
                    solver.solve(1 / shift, rng.standard_normal(d))
                counts.append((solver.stats["niter"] - before) / 3)
        return np.array(counts).reshape(rounds, -1)

    plain = iterations(curvature(problem, w, [(0, d, 0.0)], rank=1), 1)[0]
    first, second = iterations(curvature(problem, w, [(0, d, 0.0)]), 2)
    assert (second < 0.25 * plain).all()
    assert first.sum() < plain.sum()


@pytest.mark.parametrize(("shift", "share"), [(1e-3, 0.75), (1e-4, 0.6), (1e-5, 0.35)])
def test_a_long_solve_learns_on_its_way(shift, share):
    """The very first one beats plain conjugate gradients, which are stopped at an error they cannot know."""
    problem, rng = spectrum(), np.random.default_rng(0)
    n, d = problem.num_residuals, problem.num_params
    X, v = problem.jacobian(np.zeros(d)), rng.standard_normal(d)
    exact = v - X.T @ np.linalg.solve(X @ X.T + shift * np.eye(n), X @ v)
    size = np.linalg.norm(exact)

    x, r, plain = v.copy(), X @ v, 0
    p = r
    while np.linalg.norm(x - exact) > 1e-4 * size:
        q = X.T @ p
        image = X @ q + shift * p
        length = r @ r / (p @ image)
        x, last, r = x - length * q, r @ r, r - length * image
        p = r + r @ r / last * p
        plain += 1

    solver = curvature(problem, np.zeros(d), [(0, d, 0.0)], rank=100, forcing=1e-4)
    found = solver.solve(1 / shift, v)
    assert np.linalg.norm(found - exact) < 2e-4 * size
    assert solver.stats["niter"] < share * plain


@pytest.mark.parametrize("forcing", [0.3, 1e-2, 1e-4, 1e-6])
def test_forcing(forcing):
    """The error is what was asked for, and not much smaller."""
    problem = spectrum()
    rng, d = np.random.default_rng(9), problem.num_params
    rates = [(0, d, 0.0)]
    solver = curvature(problem, np.zeros(d), rates, forcing=forcing)
    M = matrix(problem, np.zeros(d), rates, 1e3)
    errors = []
    for v in rng.standard_normal((10, d)):
        exact = np.linalg.solve(M, v)
        errors.append(np.linalg.norm(solver.solve(1e3, v) - exact) / np.linalg.norm(exact))
    assert max(errors) < 2 * forcing
    assert np.median(errors) > 1e-2 * forcing


def test_what_was_learnt_serves_an_operator_that_moves():
    """A flow whose kernel changes all along, at a decay so small that plain CG needs many iterations.

    The solves also have to be accurate, or Newton's method would ask for more of them.
    """
    problem, w0 = network(80, 40)
    lam, stats = 1e-5, []
    for curvature in (gf.Gram(), gf.Krylov(rank=200), gf.Krylov(rank=1)):
        sol = gf.gradient_flow(problem, w0, (0, 10 / lam), weight_decay=lam, curvature=curvature)
        assert sol.success, sol.message
        stats.append(sol.stats)
    gram, learnt, plain = stats
    assert learnt["niter"] < 4 * learnt["nsolve"]
    assert learnt["niter"] < 0.25 * plain["niter"]
    assert learnt["nsolve"] < 1.3 * gram["nsolve"]


def test_what_was_learnt_is_bounded_by_the_budget():
    problem = spectrum()
    d = problem.num_params
    small = core.SteppedCurvature(
        problem._core, [(0, d, 0.0)], "krylov", 1.0, 200
    )  # one byte: no preconditioner
    small.linearize(np.zeros(d))
    x = small.solve(1e2, np.ones(d))
    exact = np.linalg.solve(matrix(problem, np.zeros(d), [(0, d, 0.0)], 1e2), np.ones(d))
    assert np.linalg.norm(x - exact) < 2 * FORCING * np.linalg.norm(exact)


@pytest.mark.parametrize("lam", [1e-3, 1e-6])
@pytest.mark.parametrize("rtol", [1e-6, 1e-8])
def test_flow_keeps_the_tolerance_along_the_whole_path(lam, rtol):
    """Also where the drift is lam times slower than the stiff directions are fast."""
    problem, w0 = network(20, 15)
    options = {"weight_decay": lam, "t_eval": np.r_[0, np.logspace(-1, np.log10(10 / lam), 40)]}
    span = (0, 10 / lam)
    exact = gf.gradient_flow(problem, w0, span, rtol=1e-10, atol=1e-13, **options)
    errors, solves = {}, {}
    for kind in ("gram", "krylov"):
        sol = gf.gradient_flow(problem, w0, span, rtol=rtol, atol=1e-3 * rtol, curvature=kind, **options)
        assert sol.success, sol.message
        errors[kind] = np.abs(sol.w - exact.w).max() / np.abs(exact.w).max()
        solves[kind] = sol.stats["nsolve"]
    assert errors["krylov"] < 20 * rtol + 2 * errors["gram"]
    # A fresh kernel in each step spares `gram` the second correction.
    assert solves["krylov"] < 2 * solves["gram"]


def test_flow_with_decay_by_block():
    problem, w0 = network(20, 15)
    rates = {"*": 1e-3, "b": 0.0, "a": 0.0}
    sols = [
        gf.gradient_flow(problem, w0, (0, 1e4), weight_decay=rates, curvature=kind, rtol=1e-7, atol=1e-10)
        for kind in ("gram", "krylov")
    ]
    np.testing.assert_allclose(sols[1].final, sols[0].final, atol=2e-5)


def test_runs_repeat_bit_by_bit():
    problem, w0 = network(20, 15)
    first, second = (
        gf.gradient_flow(problem, w0, (0, 1e4), weight_decay=1e-3, curvature="krylov") for _ in range(2)
    )
    assert first.w.tobytes() == second.w.tobytes()
    assert first.stats["niter"] == second.stats["niter"] > 0


def test_many_parameters_and_nothing_but_hessian_vector_products():
    problem, w0 = logistic(60, 2500)
    lam = 1e-3
    options = {"weight_decay": lam, "t_eval": np.logspace(0, 4, 20)}
    sol = gf.gradient_flow(problem, w0, (0, 1e4), rtol=1e-5, atol=1e-8, **options)
    assert sol.success, sol.message
    assert sol.settings["curvature"] == "krylov"
    assert sol.stats["nhessian"] == sol.stats["ngram"] == 0
    exact = gf.gradient_flow(problem, w0, (0, 1e4), rtol=1e-9, atol=1e-12, **options)
    assert np.abs(sol.w - exact.w).max() < 50 * 1e-5 * np.abs(w0).max()
    stationary = problem.gradient(exact.final) + lam * exact.final
    assert np.linalg.norm(stationary) < 1e-3 * lam * np.linalg.norm(exact.final)


def test_more_residuals_than_parameters():
    """Parameter space, with Hessian-vector products or, without, with products J and J^T."""
    rng = np.random.default_rng(8)
    X, y = rng.standard_normal((50, 6)), rng.standard_normal(50)
    regression = gf.models.LinearRegression(X, y)
    without_hvp = gf.LeastSquares(
        residual=lambda w: X @ w - y,
        jvp=lambda w, v: X @ v,
        vjp=lambda w, u: X.T @ u,
        num_params=6,
        num_residuals=50,
    )
    times = np.logspace(-1, 3, 10)
    exact, *others = (
        gf.gradient_flow(
            problem, np.ones(6), (0, 1e3), weight_decay=0.01, curvature=kind, t_eval=times, rtol=1e-8
        )
        for problem, kind in ((regression, "dense"), (regression, "krylov"), (without_hvp, "krylov"))
    )
    for sol in others:
        np.testing.assert_allclose(sol.w, exact.w, rtol=1e-6, atol=1e-7)


def test_radau():
    problem, w0 = network(20, 15)
    options = {"weight_decay": 1e-3, "rtol": 1e-7, "atol": 1e-10, "t_eval": np.logspace(-1, 4, 20)}
    gram, krylov = (
        gf.gradient_flow(problem, w0, (0, 1e4), method="Radau", curvature=kind, **options)
        for kind in ("gram", "krylov")
    )
    assert krylov.success
    np.testing.assert_allclose(krylov.w, gram.w, atol=1e-6)


def test_landing_without_a_matrix():
    problem, w0 = network(12, 20)
    exact, landing = (gf.limit_map(problem, w0, curvature=kind) for kind in ("gram", "krylov"))
    assert landing.success
    assert landing.stats["ngram"] == landing.stats["nhessian"] == 0
    np.testing.assert_allclose(landing.w, exact.w, atol=1e-5)


def test_a_budget_too_small_for_the_kernel():
    """Automatic choice takes krylov, and says so; `gram` is refused with the need and the ways out."""
    problem, w0 = network(400, 300)
    sol = gf.gradient_flow(
        problem, w0, (0, 1.0), weight_decay=1e-3, curvature=gf.Auto(memory_budget=1e6), observe={}
    )
    assert sol.success
    assert sol.settings["curvature"] == "krylov"
    assert 8 <= sol.settings["rank"] < 200  # more would cost more than half of a product
    with pytest.raises(ValueError, match=r"0.00477 GiB .* 400 x 400 .* memory_budget, or use 'krylov'"):
        gf.gradient_flow(problem, w0, (0, 1.0), weight_decay=1e-3, curvature=gf.Gram(memory_budget=1e6))


@pytest.mark.parametrize("error", [RuntimeError("no more"), KeyboardInterrupt()])
def test_exceptions_inside_a_solve_pass_unchanged(error):
    calls = []

    def faulty(w, v):
        calls.append(1)
        if len(calls) == 30:
            raise error
        return 0.1 * v

    broken, w0 = logistic(10, 2100, hvp=faulty)
    with pytest.raises(type(error)) as caught:
        gf.gradient_flow(broken, w0, (0, 1e4), weight_decay=1e-3)
    assert caught.value is error
    assert caught.value.solution.t_final > 0


def test_a_hessian_that_is_not_finite_ends_the_run_with_a_status():
    bad, w0 = logistic(10, 2100, hvp=lambda w, v: np.full(2100, np.nan))
    sol = gf.gradient_flow(bad, w0, (0, 1e4), weight_decay=1e-3)
    assert sol.status in ("solver_failed", "step_too_small", "non_finite")
    assert np.isfinite(sol.final).all()


@pytest.mark.parametrize(
    ("options", "kind", "named"),
    [
        ({"rank": 0}, ValueError, "rank"),
        ({"rank": 2.5}, TypeError, "rank"),
        ({"memory_budget": -1.0}, ValueError, "budget"),
    ],
)
def test_bad_options(options, kind, named):
    with pytest.raises(kind, match=named):
        gf.Krylov(**options)


def test_what_krylov_needs():
    bare = gf.Objective(loss=lambda w: w @ w / 2, gradient=lambda w: w, num_params=3)
    with pytest.raises(ValueError, match="residuals or hvp="):
        gf.gradient_flow(bare, np.ones(3), (0, 1), weight_decay=0.1, curvature="krylov")


def objective(d, *names):
    """Half of ||w||^2 with the given second derivatives."""
    second = {"hessian": lambda w: np.eye(d), "hvp": lambda w, v: v}
    return gf.Objective(
        loss=lambda w: w @ w / 2, gradient=lambda w: w, num_params=d, **{name: second[name] for name in names}
    )


@pytest.mark.parametrize(
    ("problem", "chosen"),
    [
        (network(20, 40)[0], "gram"),
        (network(300, 25)[0], "dense"),  # n > d = 176
        (network(300, 35)[0], "krylov"),  # n > d = 246
        (gf.models.LinearRegression(np.ones((400, 300)), np.ones(400)), "dense"),  # one Hessian for all w
        (objective(150, "hvp"), "dense"),
        (objective(250, "hvp"), "krylov"),
        (objective(250, "hessian"), "dense"),
    ],
    ids=["n < d", "n > d, small", "n > d", "quadratic", "small hvp", "hvp", "hessian"],
)
def test_automatic_choice(problem, chosen):
    assert core.curvature_of(problem._core, "auto", 2.0**32) == chosen
