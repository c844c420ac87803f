"""Where the unregularised flow lands: closed forms, and the accuracy that is promised."""

import json

import grokflow as gf
import numpy as np
import pytest
from limit_problems import PROBLEMS, diagonal, hyperbola, landed, linear, quadric

each_problem = pytest.mark.parametrize("name", PROBLEMS)
each_curvature = pytest.mark.parametrize("curvature", ["gram", "dense", "krylov"])


@each_curvature
@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_linear_regression_in_closed_form(method, curvature):
    """Phi(w0) = w0 - X^+ (X w0 - y)."""
    problem, w0 = linear(), np.linspace(-2.0, 3.0, 9)
    X = problem.jacobian(w0)
    exact = w0 - np.linalg.pinv(X) @ problem.residual(w0)
    landing = gf.limit_map(problem, w0, rtol=1e-12, method=method, curvature=curvature)
    assert landing.success, landing.message
    assert landing.w == pytest.approx(exact, abs=1e-10)
    assert landing.curvature == curvature
    assert landing.residual_norm < 1e-13
    assert landing.loss < 1e-27


@each_curvature
@pytest.mark.parametrize("w0", [(3.0, 0.5), (0.1, 0.3), (-2.0, 1.0), (1e-6, 2e-6), (30.0, 20.0)])
def test_hyperbola_in_closed_form(w0, curvature):
    """u^2 - v^2 is kept: on u v = 1, u^2 = (q + sqrt(q^2 + 4)) / 2."""
    landing = gf.limit_map(hyperbola(), w0, curvature=curvature)
    assert landing.success, landing.message
    q = w0[0] ** 2 - w0[1] ** 2
    exact = np.sqrt([(np.hypot(q, 2.0) + q) / 2.0, (np.hypot(q, 2.0) - q) / 2.0])
    assert np.linalg.norm(np.abs(landing.w) - exact) <= 2e-6 * np.linalg.norm(exact)
    assert np.prod(landing.w) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("curvature", ["dense", "krylov"])
def test_a_loss_that_is_no_sum_of_squares(curvature):
    """The radial well: the direction of w0 is kept."""
    w0 = np.array([1.0, 2.0, 3.0])
    landing = gf.limit_map(quadric([1.0, 1.0, 1.0], hessian=curvature == "dense"), w0, curvature=curvature)
    assert landing.success, landing.message
    assert landing.w == pytest.approx(w0 / np.linalg.norm(w0), abs=1e-9)
    assert landing.eta == pytest.approx(2.0, rel=1e-6)
    assert np.isnan(landing.residual_norm)


@each_problem
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_limit_of_a_run_that_is_a_hundred_times_longer(name, seed):
    """To the tolerance, whatever the time at which Newton's method took over."""
    problem = PROBLEMS[name]()
    w0 = problem.initial_weights(std=1.0, seed=seed)
    landing = gf.limit_map(problem, w0, rtol=1e-5, atol=1e-8)
    assert landing.success, landing.message
    long = gf.gradient_flow(
        problem,
        w0,
        (0, 100.0 * landing.t),
        weight_decay=0.0,
        method="Radau",
        rtol=1e-10,
        atol=1e-13,
        observe={},
    ).final
    assert np.linalg.norm(landing.w - long) <= 1e-5 * np.linalg.norm(long)


@pytest.mark.parametrize("rtol", [1e-13, 1e-9, 1e-6, 1e-3, 0.1])
def test_the_error_follows_the_tolerance(rtol):
    problem = diagonal()
    w0 = problem.initial_weights(std=0.5, seed=1)
    exact = gf.limit_map(problem, w0, rtol=1e-12, atol=1e-15, method="Radau").w
    landing = gf.limit_map(problem, w0, rtol=rtol, atol=1e-3 * rtol)
    assert landing.success, landing.message
    assert np.linalg.norm(landing.w - exact) <= max(rtol, 1e-11) * np.linalg.norm(exact)
    assert landing.residual_norm < 1e-14  # on the manifold at any tolerance


def test_phi_is_constant_along_the_flow():
    """D Phi . grad F = 0, by finite differences at a point that is not on the manifold."""
    problem = diagonal()
    w = problem.initial_weights(std=1.0, seed=2)
    gradient = problem.gradient(w)
    h = 1e-4 / np.linalg.norm(gradient)
    ahead, back = (
        gf.limit_map(problem, w + step * gradient, rtol=1e-11, atol=1e-14, method="Radau").w
        for step in (h, -h)
    )
    across = np.cos(np.arange(len(w)))
    across *= np.linalg.norm(gradient) / np.linalg.norm(across)
    aside = gf.limit_map(problem, w + h * across, rtol=1e-11, atol=1e-14, method="Radau").w
    assert np.linalg.norm(ahead - back) < 1e-4 * np.linalg.norm(aside - back)


def test_the_derivative_of_phi_on_the_manifold_is_the_projector():
    """D Phi = P there, by central differences."""
    problem, w = landed("diagonal")
    h = 1e-3
    for v in (np.cos(np.arange(16.0)), np.eye(16)[3]):
        ahead, back = (gf.limit_map(problem, w + step * v, rtol=1e-11, atol=1e-14).w for step in (h, -h))
        expected = gf.tangent_projection(problem, w, v).v
        assert (ahead - back) / (2.0 * h) == pytest.approx(expected, abs=1e-5)


@each_problem
@each_curvature
def test_a_point_of_the_manifold_stays(name, curvature):
    problem, w = landed(name)
    landing = gf.limit_map(problem, w, curvature=curvature)
    assert landing.success, landing.message
    assert landing.w == pytest.approx(w, abs=1e-12)


def test_settings_repeat_it():
    problem = diagonal()
    w0 = problem.initial_weights(std=1.0, seed=1)
    landing = gf.limit_map(problem, w0, rtol=1e-4, atol=1e-7, t_max=1e9)
    settings = json.loads(json.dumps(landing.settings))
    names = "method curvature rtol atol rtol_rank t_max t_eval observe save_states max_steps max_time"
    again = gf.limit_map(problem, w0, **{name: settings[name] for name in names.split()})
    np.testing.assert_array_equal(again.w, landing.w)
    assert again.stats["nsteps"] == landing.stats["nsteps"]


def test_what_is_reported():
    problem = diagonal()
    w0 = problem.initial_weights(std=1.0, seed=1)
    landing = gf.limit_map(problem, w0)
    values = problem.scale * np.linalg.eigvalsh(problem.gram(landing.w))
    assert landing.rank == problem.num_residuals
    assert [landing.eta, landing.largest] == pytest.approx([values[0], values[-1]], rel=1e-9)
    assert landing.gap > 1e12
    assert landing.loss == problem.loss(landing.w)
    assert landing.gradient_norm == pytest.approx(np.linalg.norm(problem.gradient(landing.w)))
    path = landing.path
    assert path.t_final == landing.t
    i = np.searchsorted(path.t, landing.t_gf)
    assert path["grad_norm"][i] <= 1e-3 * path["grad_norm"][0] <= path["grad_norm"][i - 1]
    assert path["train_loss"][i] <= landing.loss_gf <= path["train_loss"][i - 1]
    assert landing.pulled == pytest.approx(np.linalg.norm(landing.w - path.final))
    assert landing.stats["nsteps"] == path.stats["nsteps"]
    assert "landed" in repr(landing)
    assert "rank 4" in repr(landing)


def test_samples_that_contradict_each_other_leave_a_residual():
    """n > d, or one input with two targets: the minimiser of positive loss, and the message says so."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((12, 4)), rng.standard_normal(12)
    landing = gf.limit_map(gf.models.LinearRegression(X, y), np.zeros(4))
    assert landing.success
    assert landing.w == pytest.approx(np.linalg.lstsq(X, y, rcond=None)[0], abs=1e-9)
    assert "The residual is not zero there: ||r|| = " in landing.message
    assert landing.rank == 4
    network = gf.models.DiagonalLinearNetwork(X, y)
    landing = gf.limit_map(network, network.initial_weights(std=1.0, seed=1))
    assert landing.success
    assert landing.curvature == "dense"
    assert landing.gradient_norm < 1e-12
    w = landing.w
    assert gf.tangent_projection(network, w, w).rank == landing.rank == 4
    sol = gf.norm_flow(network, w, (0, 2))
    assert sol.success, sol.message
    assert sol["train_loss"] == pytest.approx(landing.loss, rel=1e-12)
    assert sol["norm"][-1] < sol["norm"][0]


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("curvature", ["gram", "dense"])
def test_a_graded_spectrum_lands_in_its_slowest_direction_too(curvature, rotated):
    """Rates from 1 to 1e-14: where the others are at rest the gradient along the last is no round-off."""
    sizes = 10.0 ** -np.arange(8)
    Q = np.linalg.qr(np.random.default_rng(1).standard_normal((8, 8)))[0] if rotated else np.eye(8)
    problem = gf.models.LinearRegression(Q * sizes, Q @ np.ones(8))
    landing = gf.limit_map(problem, np.zeros(8), curvature=curvature)
    assert landing.success, landing.message
    assert landing.rank == 8
    np.testing.assert_allclose(landing.w, 1 / sizes, rtol=1e-9)
    assert landing.loss < 1e-28


def test_a_residual_that_stays_beside_a_kernel_that_is_nearly_one():
    """The resistance of a thermistor (Meyer's function): curvatures from 1e14 down to 1e-2."""
    t = 45.0 + 5.0 * np.arange(1, 17)
    y = [
        34780,
        28610,
        23650,
        19630,
        16370,
        13720,
        11540,
        9744,
        8261,
        7030,
        6005,
        5147,
        4427,
        3820,
        3307,
        2872,
    ]

    def jacobian(w):
        e = np.exp(w[1] / (t + w[2]))
        return np.stack([e, w[0] * e / (t + w[2]), -w[0] * w[1] * e / (t + w[2]) ** 2], axis=1)

    problem = gf.LeastSquares(
        residual=lambda w: w[0] * np.exp(w[1] / (t + w[2])) - y,
        jacobian=jacobian,
        num_params=3,
        num_residuals=16,
        scale="sum",
    )
    landing = gf.limit_map(problem, [0.02, 4000.0, 250.0])
    assert landing.success, landing.message
    assert 2 * landing.loss == pytest.approx(87.9458551705, rel=1e-9)  # NIST StRD, MGH10
    certified = [5.6096364710e-3, 6.1813463463e3, 3.4522363462e2]
    np.testing.assert_allclose(landing.w, certified, rtol=1e-5)


@pytest.mark.parametrize("method", ["auto", "BDF", "Radau"])
@pytest.mark.parametrize("weight", [1.0, 1e-9, 1e-15, 0.0])
def test_a_minimiser_beside_zero_whose_residual_stays(method, weight):
    """Round-off of the gradient is that of the data then, beyond what the last digits of w tell."""
    X = np.array([[0.67], [-0.84]])
    y = weight * X[:, 0] + 1.3 * np.array([0.84, 0.67])
    landing = gf.limit_map(gf.models.LinearRegression(X, y, scale="sum"), [-2.0], method=method)
    assert landing.status == "landed", landing.message
    np.testing.assert_allclose(landing.w, [weight], rtol=0, atol=1e-15)


@pytest.mark.parametrize("method", ["BDF", "Radau"])
@pytest.mark.parametrize("n", [3, 5, 8])
def test_a_minimiser_at_zero(method, n):
    """The weights themselves tell nothing of their size."""
    problem = gf.models.LinearRegression(np.random.default_rng(0).standard_normal((n, 5)), np.zeros(n))
    landing = gf.limit_map(problem, np.ones(5), method=method)
    assert landing.status == "landed", landing.message
    assert landing.rank == min(n, 5)
    bowl = gf.Objective(
        loss=lambda w: np.cosh(w).sum(), gradient=np.sinh, hvp=lambda w, v: np.cosh(w) * v, num_params=n
    )
    landing = gf.limit_map(bowl, np.linspace(-3, 2, n), method=method)
    assert landing.status == "landed", landing.message
    np.testing.assert_allclose(landing.w, 0.0, atol=1e-15)


def saddles(seed, size):
    """A diagonal network that goes from saddle to saddle, and its start."""
    rng = np.random.default_rng(seed)
    X, y, w0 = rng.standard_normal((4, 6)), rng.standard_normal(4), rng.standard_normal(12)
    return gf.models.DiagonalLinearNetwork(X, y), size * w0


def test_what_round_off_has_chosen_is_told():
    """Another method, whose round-off is another, lands elsewhere."""
    problem, w0 = saddles(0, 1e-8)
    with pytest.warns(gf.PrecisionWarning, match="Round-off has chosen it"):
        landing = gf.limit_map(problem, w0)
    with pytest.warns(gf.PrecisionWarning, match="Round-off has chosen it"):
        other = gf.limit_map(problem, w0, method="Radau")
    assert landing.success
    assert "with other last digits end 0." in landing.message
    away = np.linalg.norm(landing.w - other.w) / np.linalg.norm(landing.w)
    assert 1e-3 < landing.round_off < 30 * away < 1e3 * landing.round_off


def test_what_saddles_leave_of_the_digits_is_known():
    """Here they decide nothing from 1e-8, and from 1e-2 no saddle is near. Only the first run is seen."""
    for size in (1e-8, 1e-2):
        problem, w0 = saddles(6, size)
        calls = []
        landing = gf.limit_map(problem, w0, callback=lambda t, w, calls=calls: calls.append(t))
        assert len(calls) == landing.path.stats["nsteps"]
        other = gf.limit_map(problem, w0, method="Radau")
        assert np.linalg.norm(landing.w - other.w) < 1e-8 * np.linalg.norm(landing.w)
        assert landing.round_off < 1e-9 if size == 1e-8 else np.isnan(landing.round_off)
