"""Penalties in the flow by the names of the drift: F + lam R, and its limit; l1 norms with their kinks."""

import grokflow as gf
import numpy as np
import pytest
import reference.flows
import reference.limit
import reference.models
from convex_oracles import least_l1

TIGHT = {"rtol": 1e-8, "atol": 1e-11}


def quartic(library):
    return library.Regularizer(value=lambda w: np.sum(w**4) / 4, gradient=lambda w: w**3)


def sparse_regression(n, d, seed=0, noise=0.0):
    rng = np.random.default_rng(seed)
    X, b = rng.standard_normal((n, d)), np.zeros(d)
    b[:3] = 2.0, -1.0, 1.5
    return X, X @ b + noise * rng.standard_normal(n), 0.1 * rng.standard_normal(d)


# ---------------------------------------------------------------- against oracles


@pytest.mark.parametrize(("n", "d"), [(20, 50), (60, 30)])
def test_the_flow_of_an_l1_norm_ends_at_the_lasso(n, d):
    """F is convex, and the sum is stationary: |grad_i F| <= lam at 0, and -lam sign(w_i) beside."""
    X, y, w0 = sparse_regression(n, d, noise=0.1)
    lam, problem = 0.05, gf.models.LinearRegression(X, y)
    sol = gf.gradient_flow(problem, w0, (0, 3000), weight_decay=lam, regularizer="l1")
    assert sol.success, sol.message
    slope, there = problem.gradient(sol.final), sol.final != 0
    assert 0 < there.sum() < d / 2
    np.testing.assert_allclose(slope[there], -lam * np.sign(sol.final[there]), atol=1e-8)
    assert (np.abs(slope[~there]) <= lam).all()
    assert (np.diff(sol["train_loss"] + lam * sol["regularizer"]) <= 1e-12).all()
    cvxpy = pytest.importorskip("cvxpy")
    w = cvxpy.Variable(d)
    loss = cvxpy.sum_squares(X @ w - y) / (2 * n) + lam * cvxpy.norm1(w)
    cvxpy.Problem(cvxpy.Minimize(loss)).solve(
        "CLARABEL", tol_gap_abs=1e-14, tol_gap_rel=1e-14, tol_feas=1e-14
    )
    np.testing.assert_allclose(sol.final, w.value, atol=1e-8)


def test_the_drift_of_an_l1_norm_ends_at_basis_pursuit():
    X, y, w0 = sparse_regression(20, 50)
    problem = gf.models.LinearRegression(X, y)
    slow = gf.norm_flow(problem, gf.limit_map(problem, w0).w, (0, 1000), regularizer="l1")
    assert slow.success, slow.message
    np.testing.assert_allclose(slow.final, least_l1(X, y), atol=1e-8)
    assert (np.diff(slow["regularizer"]) <= 1e-12).all()


# ---------------------------------------------------------------- the twin


def diagonal(models):
    X, y, _ = sparse_regression(3, 4)
    return models.DiagonalLinearNetwork(X, y)


@pytest.mark.parametrize("weights", [1.0, {"u": 1.0, "v": 0.0}, {"*": 0.3, "v": 2.0}])
def test_l1_norms_agree_with_the_twin(weights):
    w0 = np.random.default_rng(3).standard_normal(8)
    options = {"weight_decay": 0.1, "t_eval": [2.0, 20.0]} | TIGHT
    exact = reference.flows.gradient_flow(
        diagonal(reference.models), w0, (0, 20), regularizer=reference.limit.L1(weights), **options
    )
    found = gf.gradient_flow(diagonal(gf.models), w0, (0, 20), regularizer=gf.L1(weights), **options)
    assert found.mode_changes.size > 0
    np.testing.assert_allclose(found.w, exact.w, atol=1e-6)
    for name in ("neuron", "sample", "kind"):
        assert found.mode_changes[name].tolist() == exact.mode_changes[name].tolist()
    np.testing.assert_allclose(found.mode_changes["t"], exact.mode_changes["t"], atol=1e-5)
    if weights != 1.0 and "u" in weights:
        assert set(found.mode_changes["neuron"]) <= set(range(4))


def variation(scale=1.0):
    """Return the total variation, whose kinks lie where neighbours are equal."""

    def slope(w):
        signs = scale * np.sign(np.diff(w))
        return np.append(0.0, signs) - np.append(signs, 0.0)

    return gf.Regularizer(value=lambda w: scale * np.abs(np.diff(w)).sum(), gradient=slope)


def test_the_rate_of_an_l1_norm_may_change_over_time():
    """Weights that are held at 0 are let go where it ends."""
    problem, w0 = diagonal(gf.models), np.random.default_rng(3).standard_normal(8)
    rate = gf.schedules.OffAfter(0.1, 6.0)
    sol = gf.gradient_flow(problem, w0, (0, 20), weight_decay=rate, regularizer="l1", **TIGHT)
    before = gf.gradient_flow(problem, w0, (0, 6), weight_decay=0.1, regularizer="l1", **TIGHT)
    after = gf.gradient_flow(problem, before.final, (6, 20), weight_decay=0.0, **TIGHT)
    assert "release" in sol.mode_changes["kind"]
    np.testing.assert_allclose(sol.final, after.final, atol=1e-8)
    assert sol["slow_time"][-1] == pytest.approx(0.6)


@pytest.mark.filterwarnings("ignore:The gradient is not smooth enough")
@pytest.mark.parametrize("run", ["flow", "drift"])
def test_kinks_elsewhere_are_told_where_weights_have_rattled(run):
    X, y, _ = sparse_regression(4, 8)
    problem = gf.models.LinearRegression(X, y)
    w0 = problem.initial_weights()
    if run == "flow":
        sol = gf.gradient_flow(
            problem, w0, (0, 1e4), weight_decay=1e-2, regularizer=variation(), max_steps=600
        )
    else:
        w = gf.limit_map(problem, w0).w
        sol = gf.norm_flow(problem, w, (0, 20), regularizer=variation(), max_steps=600)
    assert sol.status == "max_steps"
    assert "The slope of the regularizer jumps beside the last weights" in sol.message
    assert "regularizer='l1'" in sol.message


def test_kinks_of_some_weights_and_of_no_others_are_seen_before_a_run():
    problem = gf.models.LinearRegression(*sparse_regression(4, 8)[:2])
    part = gf.Regularizer(
        value=lambda w: np.abs(w[2]) + w @ w,
        gradient=lambda w: 2 * w + np.sign(w) * (np.arange(w.size) == 2),
    )
    w0 = problem.initial_weights()
    with pytest.raises(ValueError, match=r"where w\[2\], in 'w', changes its sign.*say regularizer='l1'"):
        gf.gradient_flow(problem, w0, (0, 1), weight_decay=0.1, regularizer=part)
    groups = gf.Regularizer(
        value=lambda w: np.linalg.norm(w[:4]) + np.linalg.norm(w[4:]),
        gradient=lambda w: np.concatenate([g / np.linalg.norm(g) for g in (w[:4], w[4:])]),
    )
    assert gf.gradient_flow(problem, w0, (0, 1), weight_decay=0.1, regularizer=groups).success


@pytest.mark.parametrize(
    ("make", "weights"),
    [("linear", {"w": 2.0}), ("diagonal", {"*": 1.0, "v": 0.5})],
)
def test_the_drift_of_an_l1_norm_agrees_with_the_twin(make, weights):
    """From mode to mode, where forces jump with the mode."""

    def problem(library):
        return (
            diagonal(library)
            if make == "diagonal"
            else library.LinearRegression(*sparse_regression(2, 5)[:2])
        )

    ours, (end, options) = problem(gf.models), (1.0, {"rtol": 1e-4, "atol": 1e-7, "t_eval": [0.3, 1.0]})
    w = gf.limit_map(ours, np.random.default_rng(4).standard_normal(ours.num_params)).w
    exact = reference.limit.norm_flow(
        problem(reference.models), w, (0, end), regularizer=reference.limit.L1(weights), **options
    )
    found = gf.norm_flow(ours, w, (0, end), regularizer=gf.L1(weights), **options | TIGHT)
    assert found.mode_changes.size > 0
    np.testing.assert_allclose(found.w, exact.w, atol=1e-4)
    for name in ("neuron", "kind"):
        assert found.mode_changes[name].tolist() == exact.mode_changes[name].tolist()
    np.testing.assert_allclose(found.mode_changes["t"], exact.mode_changes["t"], atol=1e-3)


@pytest.mark.parametrize("name", ["quartic", "norm", "weights"])
def test_smooth_penalties_agree_with_the_twin(name):
    w0 = np.random.default_rng(3).standard_normal(8)

    def penalty(library):
        return {"quartic": quartic(library), "weights": {"u": 1.0, "v": 0.5}}.get(name, name)

    options = {"weight_decay": 0.05, "t_eval": [2.0, 20.0]} | TIGHT
    exact = reference.flows.gradient_flow(
        diagonal(reference.models), w0, (0, 20), regularizer=penalty(reference.limit), **options
    )
    found = gf.gradient_flow(diagonal(gf.models), w0, (0, 20), regularizer=penalty(gf), **options)
    np.testing.assert_allclose(found.w, exact.w, atol=1e-6)


# ---------------------------------------------------------------- the limit


@pytest.mark.parametrize("name", ["quartic", "hessian_trace", "weights", "l1"])
def test_the_drift_is_the_limit_of_the_flow_at_first_order(name):
    X, y, _ = sparse_regression(10, 20)
    problem = gf.models.DiagonalLinearNetwork(X, y)
    w0 = 1 + 0.3 * np.random.default_rng(1).standard_normal(problem.num_params)
    penalty = {"quartic": quartic(gf), "weights": {"u": 1.0, "v": 0.5}}.get(name, name)
    rates = [1e-3, 1e-4, 1e-5]
    phases = gf.two_phase(problem, w0, rates, s_end=0.3, regularizer=penalty, rtol=1e-8)
    assert phases.slope == pytest.approx(1.0, abs=0.02)
    assert list(phases.flows) == rates
    late = phases.slow.t >= 0.1
    flow = phases.flows[1e-5]
    loss = np.interp(phases.slow.t[late], 1e-5 * flow.t, flow["train_loss"])
    np.testing.assert_allclose(phases.predicted_loss(1e-5)[late], loss, rtol=0.05)


@pytest.mark.parametrize("rtol", [1e-3, 1e-6, 1e-9])
@pytest.mark.parametrize("lam", [1e-5, 1e-8])
def test_weights_that_stay_at_zero_do_not_rattle(lam, rtol):
    X, y, _ = sparse_regression(10, 20)
    problem = gf.models.DiagonalLinearNetwork(X, y)
    w0 = 0.5 * np.random.default_rng(1).standard_normal(problem.num_params)
    sol = gf.gradient_flow(
        problem, w0, (0, 10 / lam), weight_decay=lam, regularizer="l1", rtol=rtol, max_steps=3000
    )
    assert sol.success, sol.message
    assert sol.mode_changes.size < 100
    energy = sol["train_loss"] + lam * sol["regularizer"]
    assert (np.diff(energy) <= rtol * energy[:-1]).all()


def test_a_run_with_an_l1_norm_is_resumed_to_the_same_bits(tmp_path):
    X, y, w0 = sparse_regression(10, 20)
    problem = gf.models.LinearRegression(X, y)
    options = {"weight_decay": 0.05, "regularizer": gf.L1({"*": 1.0})}
    whole = gf.gradient_flow(problem, w0, (0, 100), **options)
    gf.gradient_flow(problem, w0, (0, 100), max_steps=40, checkpoint=tmp_path / "run", **options)
    rest = gf.resume(tmp_path / "run", problem, max_steps=None, regularizer=options["regularizer"])
    assert np.array_equal(rest.final, whole.final)
    assert np.array_equal(rest.mode_changes, whole.mode_changes)


# ---------------------------------------------------------------- misuse


def test_a_penalty_whose_kinks_nobody_named():
    problem, w0 = diagonal(gf.models), np.ones(8)
    hidden = gf.Regularizer(value=lambda w: np.abs(w).sum(), gradient=np.sign)
    with pytest.raises(ValueError, match="say regularizer='l1'"):
        gf.gradient_flow(problem, w0, (0, 1), weight_decay=0.1, regularizer=hidden)
    with pytest.raises(ValueError, match="say regularizer='l1'"):
        gf.norm_flow(problem, gf.limit_map(problem, w0).w, (0, 1), regularizer=hidden)


@pytest.mark.parametrize(
    ("error", "match", "options"),
    [
        (TypeError, "one number", {"weight_decay": {"*": 0.1}, "regularizer": "l1"}),
        (ValueError, "choose from", {"weight_decay": 0.1, "regularizer": "l2"}),
        (ValueError, "names 'x'", {"weight_decay": 0.1, "regularizer": gf.L1({"x": 1.0})}),
        (ValueError, "Radau", {"weight_decay": 0.1, "regularizer": "l1", "method": "BDF"}),
    ],
)
def test_bad_penalties_are_refused(error, match, options):
    with pytest.raises(error, match=match):
        gf.gradient_flow(diagonal(gf.models), np.ones(8), (0, 1), **options)


def test_networks_with_kinks_take_no_other_penalty():
    net = gf.models.TwoLayerNetwork([[1.0], [2.0]], [1.0, 0.0], width=3, activation="relu")
    with pytest.raises(ValueError, match="kink"):
        gf.gradient_flow(net, net.initial_weights(), (0, 1), weight_decay=0.1, regularizer="l1")
