"""What the landing says when there is no limit on a manifold, and how it ends before."""

import time
from collections import Counter

import grokflow as gf
import numpy as np
import pytest
from limit_problems import diagonal, hyperbola, linear, quadric


def scalar(loss, slope, curvature):
    return gf.Objective(
        loss=lambda w: loss(w[0]),
        gradient=lambda w: [slope(w[0])],
        hessian=lambda w: [[curvature(w[0])]],
        num_params=1,
    )


def test_weights_that_run_away():
    """exp(-w) and the logistic loss of one sample: w grows like log t."""
    exponential = scalar(lambda w: np.exp(-w), lambda w: -np.exp(-w), lambda w: np.exp(-w))
    logistic = scalar(
        lambda w: np.log1p(np.exp(-w)),
        lambda w: -1.0 / (1.0 + np.exp(w)),
        lambda w: 0.25 / np.cosh(w / 2.0) ** 2,
    )
    for problem in (exponential, logistic):
        landing = gf.limit_map(problem, [0.0])
        assert landing.status == "no_minimiser"
        assert not landing.success
        assert landing.message.startswith("The weights run away: ||w|| is still growing")
        assert landing.w[0] == pytest.approx(np.log(landing.t), rel=1e-4)


def test_the_unit_of_time_changes_no_diagnosis():
    """F times 1e-24: what took 1e18 takes 1e42, and says no more and no less."""
    c = 1e-24
    quartic = scalar(lambda w: c * w**4 / 4, lambda w: c * w**3, lambda w: 3 * c * w**2)
    exponential = scalar(lambda w: c * np.exp(-w), lambda w: -c * np.exp(-w), lambda w: c * np.exp(-w))
    square = scalar(lambda w: c * w**2 / 2, lambda w: c * w, lambda w: c)
    found = [gf.limit_map(problem, [1.0]).status for problem in (quartic, exponential, square)]
    assert found == ["degenerate", "no_minimiser", "landed"]


def test_weights_that_have_come_to_rest_late():
    """A rate of 1e-12: the norm grows a thousandfold while log t doubles, and then no more."""
    problem = gf.Objective(
        loss=lambda w: ((w[0] - 1) ** 2 + 1e-12 * (w[1] - 1e3) ** 2) / 2,
        gradient=lambda w: [w[0] - 1, 1e-12 * (w[1] - 1e3)],
        hvp=lambda w, v: np.array([1.0, 1e-12]) * v,
        num_params=2,
    )
    for curvature in ("dense", "krylov"):
        landing = gf.limit_map(problem, [0.0, 0.0], curvature=curvature, rtol_rank=1e-6)
        assert landing.status != "no_minimiser", landing.message
        np.testing.assert_allclose(landing.w, [1.0, 1e3], rtol=1e-5)


@pytest.mark.parametrize("k", [2, 3])
def test_an_algebraic_approach(k):
    """F = w^(2k) / (2k) has a minimiser, and no Hessian there."""
    landing = gf.limit_map(
        scalar(
            lambda w: w ** (2 * k) / (2 * k),
            lambda w: w ** (2 * k - 1),
            lambda w: (2 * k - 1) * w ** (2 * k - 2),
        ),
        [2.0],
    )
    assert landing.status == "degenerate"
    assert "at an algebraic rate" in landing.message
    exact = 2.0 * (1.0 + (2 * k - 2) * 2.0 ** (2 * k - 2) * landing.t) ** (-1 / (2 * k - 2))
    assert landing.w[0] == pytest.approx(exact, rel=1e-2)


def test_a_singular_point_of_the_manifold():
    """F = (u v)^2 / 2 from u = v lands on the crossing of two lines; its vanishing curvature is no saddle."""
    landing = gf.limit_map(hyperbola(0.0), [1.0, 1.0])
    assert landing.status == "degenerate"
    assert gf.limit_map(hyperbola(0.0), [2.0, 1.0]).w == pytest.approx([np.sqrt(3.0), 0.0], abs=1e-5)


@pytest.mark.parametrize(
    ("problem", "w0", "negative"),
    [
        (hyperbola(), [1.0, -1.0], 1),
        (hyperbola(), [0.0, 0.0], 1),
        (quadric([1.0, 1.0, 1.0]), [0.0, 0.0, 0.0], 3),
        (diagonal(), np.zeros(16), 8),
    ],
)
def test_saddles(problem, w0, negative):
    """On its stable manifold the flow comes to rest on a saddle; at the saddle itself it never leaves."""
    landing = gf.limit_map(problem, w0)
    assert landing.status == "saddle"
    assert not landing.success
    assert f"has {negative} negative eigenvalue" in landing.message
    assert landing.w == pytest.approx(np.zeros(len(landing.w)), abs=1e-6)
    assert landing.stats["nsteps"] < 2000


@pytest.mark.parametrize("size", [1.0, 1e-12])
def test_a_saddle_that_round_off_holds_on_to(size):
    """Where u = v in all digits no product becomes negative: what leads out of the saddle is lost."""
    rng = np.random.default_rng(1)
    X, y, u = rng.standard_normal((4, 6)), rng.standard_normal(4), size * np.abs(rng.standard_normal(6))
    landing = gf.limit_map(gf.models.DiagonalLinearNetwork(X, y), np.r_[u, u], max_steps=50_000)
    assert landing.status == "saddle", landing.message
    assert "has 3 negative eigenvalues" in landing.message


@pytest.mark.parametrize("curvature", ["gram", "krylov", "dense"])
@pytest.mark.parametrize("method", ["BDF", "Radau"])
@pytest.mark.parametrize("d", [1, 3, 6])
def test_residuals_alone_say_where_they_end(d, method, curvature):
    """Beside a residual that stays: at rest, whether on a minimiser is not told without the Hessian."""
    rng = np.random.default_rng(d)
    A, B, stays = rng.standard_normal((3, d)), rng.standard_normal((3, d)), np.array([0.0, 0.0, 1.0])
    A[-1] = B[-1] = 0.0
    problem = gf.LeastSquares(
        residual=lambda w: A @ w + (B @ w) ** 3 - stays,
        jacobian=lambda w: A + 3.0 * (B @ w)[:, None] ** 2 * B,
        num_params=d,
        num_residuals=3,
    )
    landing = gf.limit_map(problem, rng.standard_normal(d), method=method, curvature=curvature)
    assert landing.residual_norm == pytest.approx(1.0)
    if landing.status != "landed":
        assert landing.status == "finished"
        assert "Give the problem hvp=" in landing.message


@pytest.mark.filterwarnings("ignore:Round-off has chosen it")
@pytest.mark.parametrize("curvature", ["gram", "dense"])
@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_digits_lost_at_a_saddle_are_told(method, curvature):
    """From 1e-30 u = v in all digits there: the flow stays, or round-off has chosen where it lands."""
    rng = np.random.default_rng(1)
    X, y, w0 = rng.standard_normal((4, 6)), rng.standard_normal(4), rng.standard_normal(12)
    problem = gf.models.DiagonalLinearNetwork(X, y)
    landing = gf.limit_map(problem, 1e-30 * w0, method=method, curvature=curvature, rtol=1e-9)
    assert landing.status == "saddle" or "Round-off has chosen it" in landing.message


def test_a_degenerate_saddle():
    """At weights of zero all but the last bias is at rest, and no eigenvalue of the Hessian is negative."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((6, 2)), rng.standard_normal(6)
    for widths in ((4, 4), (4, 4, 4), (3,) * 5):
        problem = gf.models.MLP(X, y, widths=widths)
        landing = gf.limit_map(problem, np.zeros(problem.num_params))
        assert landing.status == "saddle"
        assert "degenerate saddle" in landing.message
        assert landing.loss == pytest.approx(y.var() / 2)


@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_a_degenerate_saddle_that_is_left_late_is_no_end(method):
    """Three layers from 1e-8 leave it at t = 1e8, while all that is seen of the gradient is round-off."""
    rng = np.random.default_rng(0)
    problem = gf.models.MLP(
        rng.standard_normal((3, 4)), rng.standard_normal(3), widths=(4, 4), activation="tanh"
    )
    landing = gf.limit_map(problem, 1e-8 * problem.initial_weights(seed=1), method=method, rtol=1e-4)
    assert landing.status == "landed", landing.message
    assert landing.loss < 1e-30
    assert landing.t > 1e7


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e-12])
def test_small_targets_do_not_hide_a_degenerate_saddle(scale):
    """Four layers at zero fall with the fourth power of the weights, to targets that are soon overshot."""
    X = np.random.default_rng(3).standard_normal((4, 3))
    problem = gf.models.MLP(X, scale * np.array([1.0, -0.5, 0.3, 2.0]), widths=(3, 3, 3), activation="tanh")
    assert gf.limit_map(problem, np.zeros(problem.num_params)).status == "saddle"


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_saddle_approached_until_weights_vanish(scale):
    """On a ridge, down to the smallest numbers there are, whose round-off is all of them."""
    well = gf.Objective(
        loss=lambda w: scale * (w[0] ** 2 / 2 - w[1] ** 2 / 2 + w[1] ** 4 / 4),
        gradient=lambda w: scale * np.array([w[0], -w[1] + w[1] ** 3]),
        hvp=lambda w, v: scale * np.array([v[0], (3 * w[1] ** 2 - 1) * v[1]]),
        num_params=2,
    )
    landing = gf.limit_map(well, [1.0, 0.0], max_steps=20_000)
    assert landing.status == "saddle"
    assert landing.rank == 2


def test_beside_a_saddle_it_escapes():
    landing = gf.limit_map(diagonal(), 1e-9 * np.cos(np.arange(16)))
    assert landing.success, landing.message


@pytest.mark.parametrize("t_max", [1e-3, 1.0, 30.0])
def test_a_time_that_is_too_short(t_max):
    problem = diagonal()
    landing = gf.limit_map(problem, problem.initial_weights(std=0.3, seed=0), t_max=t_max, rtol=1e-9)
    assert landing.status == "finished"
    assert not landing.success
    assert landing.message == f"The flow had not landed at t_max = {t_max:g}; raise t_max."
    assert landing.t == t_max


def test_limits_on_the_work_end_it_as_any_flow():
    landing = gf.limit_map(linear(), np.ones(9), max_steps=5)
    assert landing.status == "max_steps"
    assert "raise max_steps" in landing.message
    assert landing.w == pytest.approx(landing.path.final)
    landing = gf.limit_map(linear(), np.ones(9), callback=lambda t, w: t > 1e-2)
    assert landing.status == "interrupted"
    assert landing.path.t_final > 1e-2


@pytest.mark.parametrize(("d", "limit"), [(300, {}), (2100, {}), (2100, {"max_steps": 20})])
def test_the_hessian_is_looked_at_where_the_flow_may_land(d, limit):
    """And no more work is spent on it than on the flow."""
    rng = np.random.default_rng(0)
    X, w0 = rng.standard_normal((20, d)) / np.sqrt(d), rng.standard_normal(d)
    y = np.tanh(X @ rng.standard_normal(d)) / 2
    calls = Counter()

    def gradient(w):
        calls["gradient"] += 1
        f = np.tanh(X @ w)
        return X.T @ ((f - y) * (1 - f**2))

    def hvp(w, v):
        calls["hvp"] += 1
        f = np.tanh(X @ w)
        return X.T @ (((1 - f**2) ** 2 - 2 * f * (f - y) * (1 - f**2)) * (X @ v))

    problem = gf.Objective(
        loss=lambda w: np.sum((np.tanh(X @ w) - y) ** 2) / 2, gradient=gradient, hvp=hvp, num_params=d
    )
    landing = gf.limit_map(problem, w0, **limit)
    assert landing.status == ("max_steps" if limit else "landed"), landing.message
    flow = landing.path.stats
    assert landing.stats["nhvp"] + landing.stats["nfev"] <= 2 * (flow["nhvp"] + flow["nfev"]) + 2000
    assert calls["hvp"] < 20_000


def test_a_run_that_ended_before_its_time_is_not_looked_at_for_long():
    rng = np.random.default_rng(0)
    net = gf.models.MLP(
        rng.standard_normal((100, 8)), rng.standard_normal(100), widths=(100,), activation="tanh"
    )
    own = gf.Objective(loss=net.loss, gradient=net.gradient, hvp=net.hvp, num_params=net.num_params)
    landing = gf.limit_map(own, net.initial_weights(seed=0), curvature="krylov", max_steps=50)
    assert landing.status == "max_steps"
    assert landing.stats["nhvp"] < 2000


@pytest.mark.parametrize("curvature", ["auto", "gram"])
def test_the_full_hessian_is_left_alone_where_the_residual_vanishes(curvature):
    """However slowly: the smallest eigenvalue is 1e-6 of the largest, and d too large for a dense one."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((12, 300)) * np.geomspace(1.0, 1e-3, 12)[:, None]
    net = gf.models.MLP(X, np.zeros(12), widths=(8,), activation="tanh")
    assert net.num_params > 2000
    landing = gf.limit_map(net, net.initial_weights(seed=0), curvature=curvature)
    assert landing.status == "landed", landing.message
    assert landing.largest > 1e4 * landing.eta
    assert landing.stats["nhvp"] == landing.path.stats["nhvp"]


def test_a_look_ends_with_the_time():
    """Without an end of its products a solve would take an hour; the flow is at rest from the start."""

    def hvp(w, v):
        time.sleep(0.01)
        return scales * v

    d = 2100
    scales = 10.0 ** -(8.0 * np.arange(d) / d)
    problem = gf.Objective(
        loss=lambda w: w @ (scales * w) / 2, gradient=lambda w: scales * w, hvp=hvp, num_params=d
    )
    landing = gf.limit_map(problem, 1.0 / scales, max_time=0.5)
    assert landing.status == "time_limit"
    assert "max_time" in landing.message


def test_an_interrupt_keeps_the_path():
    def stop(t, w):
        if t > 1e-2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        gf.limit_map(linear(), np.ones(9), callback=stop)
    assert caught.value.solution.status == "interrupted"
    assert caught.value.solution.t_final > 1e-2


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"problem": None}, TypeError, "must be a grokflow.Problem"),
        ({"w0": np.full(9, np.nan)}, ValueError, r"w0\[0\] is nan"),
        ({"w0": np.ones(4)}, ValueError, r"w0 has shape \(4,\)"),
        ({"w0": "abc"}, TypeError, "w0"),
        ({"t_max": -1.0}, ValueError, "t_max"),
        ({"t_max": np.nan}, ValueError, "t_max"),
        ({"rtol": 0.0}, ValueError, "rtol"),
        ({"atol": -1.0}, ValueError, "atol"),
        ({"rtol_rank": 2.0}, ValueError, "rtol_rank"),
        ({"curvature": "qr"}, ValueError, "curvature is 'qr'"),
        ({"method": "Tsit5"}, ValueError, "method is 'Tsit5'"),
        ({"observe": ["nothing"]}, ValueError, "unknown observable 'nothing'"),
    ],
)
def test_misuse(change, error, message):
    with pytest.raises(error, match=message):
        gf.limit_map(**({"problem": linear(), "w0": np.ones(9)} | change))


def test_a_gradient_that_is_not_finite_at_the_start():
    problem = scalar(lambda w: np.log(w), lambda w: np.inf, lambda w: 1.0)
    with pytest.raises(ValueError, match="gradient at t = 0"):
        gf.limit_map(problem, [0.0])


def test_a_rank_that_round_off_decides_is_told():
    """Two eigenvalues so close to each other and to round-off that either might be noise."""
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    X = np.diag([1.0, 8e-8, 5e-8]) @ Q
    problem, start = gf.models.LinearRegression(X, X @ np.ones(3)), np.ones(3)
    landing = gf.limit_map(problem, start, curvature="dense")
    assert landing.status == "degenerate"
    assert "rank of the Hessian cannot be decided" in landing.message
    assert landing.gap < 10
    assert gf.limit_map(problem, start, curvature="dense", rtol_rank=1e-10).status == "landed"


def around_one(rates):
    """Return a quadratic loss with its minimum at ones, and weights that are elsewhere in the first only."""
    rates = np.asarray(rates)
    problem = gf.Objective(
        loss=lambda w: 0.5 * rates @ (w - 1) ** 2,
        gradient=lambda w: rates * (w - 1),
        hessian=lambda w: np.diag(rates),
        num_params=rates.size,
    )
    return problem, np.r_[2.0, np.ones(rates.size - 1)]


@pytest.mark.parametrize(("gap", "status"), [(10.05, "landed"), (9.95, "degenerate")])
def test_a_gap_of_ten_is_clear(gap, status):
    landing = gf.limit_map(*around_one([1.0, 4e-15, 4e-15 / gap]))
    assert landing.status == status
    assert landing.rank == 2
    assert landing.gap == pytest.approx(gap, rel=1e-6)


@pytest.mark.parametrize(("growth", "status"), [(2.2e-3, "no_minimiser"), (4e-4, "degenerate")])
def test_weights_that_grow_by_a_thousandth_in_a_decade_run_away(growth, status):
    """dw/dt = exp(-(w - 1) / size): w = 1 + size log(1 + t / size)."""
    size = growth / np.log(10)
    problem, w0 = (
        scalar(
            lambda w: size * np.exp(-(w - 1) / size),
            lambda w: -np.exp(-(w - 1) / size),
            lambda w: np.exp(-(w - 1) / size) / size,
        ),
        [1.0],
    )
    landing = gf.limit_map(problem, w0)
    assert landing.status == status, landing.message


@pytest.mark.parametrize("curvature", ["krylov", "dense"])
@pytest.mark.parametrize("kernel", [0, 20])
@pytest.mark.parametrize("least", [1e-3, 1e-6])
def test_bowls_that_are_told_by_the_loss_alone(least, kernel, curvature):
    """Beside zero and along a kernel round-off is all of the loss, and the look costs more than the flow."""
    rng = np.random.default_rng(0)
    values = np.r_[np.geomspace(1.0, least, 40 - kernel), np.zeros(kernel)]
    vectors = np.linalg.qr(rng.standard_normal((40, 40)))[0]
    H = (vectors * values) @ vectors.T
    bowl = gf.Objective(
        loss=lambda w: 0.5 * float(w @ (H @ w)),
        gradient=lambda w: H @ w,
        hvp=lambda w, v: H @ v,
        num_params=40,
    )
    w0 = rng.standard_normal(40)
    landing = gf.limit_map(bowl, w0, curvature=curvature)
    assert landing.status == "landed", landing.message
    flat = vectors[:, values == 0.0]
    np.testing.assert_allclose(landing.w, flat @ (flat.T @ w0), atol=1e-5)


@pytest.mark.parametrize("seed", [1, 7])
def test_a_bowl_is_no_saddle_where_the_gradient_left_explains_what_the_loss_falls(seed):
    """Projections by products leave a part along the flattest directions, down which it still is some way."""
    rng = np.random.default_rng(seed)
    vectors = np.linalg.qr(rng.standard_normal((60, 60)))[0]
    A = np.sqrt(np.geomspace(1e-6, 1.0, 30))[:, None] * vectors.T[30:]
    bowl = gf.Objective(
        loss=lambda w: 0.5 * float((A @ w) @ (A @ w)),
        gradient=lambda w: A.T @ (A @ w),
        hvp=lambda w, v: A.T @ (A @ v),
        num_params=60,
    )
    w0 = rng.standard_normal(60)
    landing = gf.limit_map(bowl, w0, curvature="krylov")
    assert landing.status == "landed", landing.message
    flat = vectors[:, :30]
    np.testing.assert_allclose(landing.w, flat @ (flat.T @ w0), atol=1e-8)


@pytest.mark.parametrize("least", [1e-9, 1e-12])
def test_looks_cost_no_more_than_the_flow(least):
    """Those that are cut short are counted, and the two that may take a thousand products at any time."""
    rng = np.random.default_rng(0)
    vectors = np.linalg.qr(rng.standard_normal((60, 60)))[0]
    H = (vectors * np.geomspace(1.0, least, 60)) @ vectors.T
    bowl = gf.Objective(
        loss=lambda w: 0.5 * float(w @ (H @ w)),
        gradient=lambda w: H @ w,
        hvp=lambda w, v: H @ v,
        num_params=60,
    )
    landing = gf.limit_map(bowl, rng.standard_normal(60), curvature="krylov", max_steps=1400)
    assert landing.status == "max_steps"
    flow, whole = (stats["nfev"] + stats["nhvp"] for stats in (landing.path.stats, landing.stats))
    assert 0.5 * flow < whole - flow < flow + 2 * 1000 + 200
