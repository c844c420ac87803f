"""The end of the slow phase at once: KKT points of least norm, against oracles, the drift and the twin."""

import grokflow as gf
import numpy as np
import pytest
import reference.limit
import reference.models
from convex_oracles import least_l1
from grokflow.limit.descent import Place
from limit_problems import completion, diagonal, landed, linear, tanh


def stationary(problem, found):
    """``grad R + J^T mu`` of the norm, over ``||w||``."""
    return np.linalg.norm(found.w + problem.vjp(found.w, found.multipliers)) / np.linalg.norm(found.w)


def test_linear_regression_ends_at_the_pseudo_inverse():
    problem = linear()
    landing = gf.limit_map(problem, problem.initial_weights(seed=1))
    found = gf.minimum_norm(problem, landing.w)
    X, y = problem._arguments["X"], problem.targets
    assert found.success
    assert found.lowest == pytest.approx(1.0, rel=1e-6)
    np.testing.assert_allclose(found.w, np.linalg.pinv(X) @ y, atol=1e-12)


@pytest.mark.parametrize("name", ["completion", "tanh"])
def test_it_is_where_the_drift_goes_and_costs_less(name):
    """To round-off, in fewer projections than the drift to s = 30, and no farther out."""
    problem, w = landed(name)
    found = gf.minimum_norm(problem, w)
    drift = gf.norm_flow(problem, w, (0, 30), rtol_rank=1e-10)
    assert found.success
    assert found.stationarity < 1e-9
    assert stationary(problem, found) < 1e-8
    assert problem.loss(found.w) < 1e-25
    assert found.num_projections < drift.stats["nproject"]
    assert found.value <= 0.5 * drift["norm"][-1] ** 2 * (1 + 1e-9)


def test_a_sparse_problem_ends_at_least_l1():
    """Half the squared norm of [u, v] is at least the l1 norm of u v, with equality at the end."""
    problem = diagonal()
    landing = gf.limit_map(problem, problem.initial_weights(1.0, seed=2))
    found = gf.minimum_norm(problem, landing.w)
    assert found.stationarity < 1e-6
    X, y = problem._arguments["X"], problem.targets
    least = np.abs(least_l1(X, y)).sum()
    assert found.value == pytest.approx(least, rel=1e-6)
    assert np.abs(problem.quantity("coefficients", found.w)).sum() == pytest.approx(least, rel=1e-6)


def kinked(activation, outputs, seed):
    """Return a network with kinks, and where it lands."""
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((4, 7)), rng.standard_normal((4, outputs))
    net = gf.models.TwoLayerNetwork(X, y, width=14, activation=activation, output_scale="ntk")
    return net, gf.limit_map(net, net.initial_weights(seed=seed)).w


@pytest.mark.parametrize(
    ("activation", "seed", "rates"),
    [("relu", 5, "norm"), ("relu", 6, "norm"), ("abs", 6, {"*": 1.0, "b": 0.3}), ("leaky_relu", 8, "norm")],
)
def test_kinks_end_where_their_drift_does(activation, seed, rates):
    """Neurons stay on the data points on which they slide, and on their sides of the others."""
    net, w = kinked(activation, 1, seed)
    found = gf.minimum_norm(net, w, regularizer=rates)
    slow = gf.norm_flow(net, w, (0, 30), regularizer=rates)
    rest = gf.norm_flow(net, slow.final, (0, 1e3), regularizer=rates, kkt_tol=1e-8, rtol=1e-8)
    assert slow.mode_changes.size > 0
    assert found.status != "max_steps"  # that of leaky_relu lies in a flat valley, all but a saddle
    assert found.stationarity < 1e-9
    assert net.loss(found.w) < 1e-24
    assert found.num_projections < slow.stats["nproject"]
    assert found.value == pytest.approx(rest["regularizer"][-1], rel=1e-6)
    np.testing.assert_allclose(
        found.w, rest.final, atol=2e-3 * np.linalg.norm(found.w)
    )  # a valley may be flat


@pytest.mark.parametrize(("activation", "outputs", "seed"), [("relu", 1, 24), ("leaky_relu", 2, 26)])
def test_kinks_end_where_their_drift_is_after_a_long_time(activation, outputs, seed):
    net, w = kinked(activation, outputs, seed)
    found, slow = gf.minimum_norm(net, w), gf.norm_flow(net, w, (0, 1e4))
    assert found.status != "max_steps"
    assert found.stationarity < 1e-6
    assert found.value == pytest.approx(0.5 * slow["norm"][-1] ** 2, rel=1e-5)


def test_kinks_in_a_flat_valley_end_further_than_the_drift_has_come():
    net, w = kinked("leaky_relu", 2, 5)
    found, slow = gf.minimum_norm(net, w), gf.norm_flow(net, w, (0, 30))
    assert found.status == "minimum"
    assert found.stationarity < 1e-9
    assert net.loss(found.w) < 1e-24
    assert found.value <= 0.5 * slow["norm"][-1] ** 2
    assert found.value == pytest.approx(0.5 * slow["norm"][-1] ** 2, rel=1e-3)


def test_l1_norms_end_at_the_least_of_them():
    """In regression at basis pursuit; in a network of two factors too, where its weights may be 0."""
    problem = linear()
    X, y = problem._arguments["X"], problem.targets
    w = gf.limit_map(problem, problem.initial_weights(seed=1)).w
    found = gf.minimum_norm(problem, w, regularizer=gf.L1({"*": 2.0}))
    assert found.success
    assert found.value == pytest.approx(2.0 * np.abs(least_l1(X, y)).sum(), rel=1e-8)
    problem = diagonal()
    w = gf.limit_map(problem, problem.initial_weights(1.0, seed=2)).w
    found = gf.minimum_norm(problem, w, regularizer="l1")
    slow = gf.norm_flow(problem, w, (0, 60), regularizer="l1")
    assert found.success
    assert (found.w == 0.0).any()
    assert found.value == pytest.approx(slow["regularizer"][-1], rel=1e-8)
    np.testing.assert_array_equal(found.w == 0.0, slow.final == 0.0)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_end_of_the_drift_where_there_are_several(seed):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((3, 5)), rng.standard_normal((3, 2))
    net = gf.models.TwoLayerNetwork(X, y, width=9, activation="gelu")
    w = gf.limit_map(net, net.initial_weights(seed=seed)).w
    found = gf.minimum_norm(net, w)
    rest = gf.norm_flow(net, w, (0, 1e3), kkt_tol=1e-7)
    assert found.stationarity < 1e-9
    np.testing.assert_allclose(found.w, rest.final, atol=1e-4 * np.linalg.norm(found.w))


def test_the_twin_finds_the_same():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((3, 2)), rng.choice([-0.5, 0.5], 3)
    options = {"width": 5, "output_scale": 5**-0.5}
    ours, twin = gf.models.TwoLayerNetwork(X, y, **options), reference.models.TwoLayerNetwork(X, y, **options)
    w = gf.limit_map(ours, ours.initial_weights(seed=3), rtol=1e-9).w
    a, b = gf.minimum_norm(ours, w), reference.limit.minimum_norm(twin, w)
    assert a.value == pytest.approx(b.value, rel=1e-6)


@pytest.fixture
def ellipsoid():
    """Return a problem whose minimisers are w with w.A w = 1: six KKT points, of which two are minima."""
    a = np.array([1.0, 2.0, 3.0])
    return gf.LeastSquares(
        residual=lambda w: [w @ (a * w) - 1.0], jacobian=lambda w: [2 * a * w], num_params=3, num_residuals=1
    )


def test_second_derivatives_tell_a_minimum_from_a_saddle(ellipsoid):
    axes = np.diag([1.0, 0.5**0.5, 3**-0.5])
    for axis, status, lowest in zip(axes, ("saddle", "saddle", "minimum"), (-2.0, -0.5, 1 / 3), strict=True):
        found = gf.minimum_norm(ellipsoid, axis)
        assert found.status == status
        assert found.lowest == pytest.approx(lowest, abs=1e-4)
        np.testing.assert_allclose(found.w, axis, atol=1e-12)


def test_a_start_beside_a_saddle_leaves_it(ellipsoid):
    w = np.array([1e-3, 1.0, 1e-3])
    w /= np.sqrt(w @ ([1.0, 2.0, 3.0] * w))
    found = gf.minimum_norm(ellipsoid, w)
    assert found.success
    np.testing.assert_allclose(np.abs(found.w), [0.0, 0.0, 3**-0.5], atol=1e-9)


def test_weights_by_block_and_functions():
    """R = |u|^2 / 2 alone, and the same as a function."""
    problem, w = landed("tanh")
    block = problem.blocks["u"]
    own = np.zeros(problem.num_params)
    own[block] = 1.0
    function = gf.Regularizer(value=lambda w: 0.5 * np.sum(own * w**2), gradient=lambda w: own * w)
    a = gf.minimum_norm(problem, w, regularizer={"*": 0.1, "u": 1.0})
    b = gf.minimum_norm(problem, w, regularizer=function, max_steps=20)
    assert a.stationarity < 1e-8
    assert b.value <= 0.5 * np.sum(w[block] ** 2)


def test_the_projection_is_that_of_the_tangent_space():
    problem, w = landed("completion")
    v = np.cos(np.arange(w.size))
    from grokflow.regularizers import as_regularizer

    place = Place(problem._core, w, as_regularizer("norm", problem), 1e-12)
    np.testing.assert_allclose(place.project(v), gf.tangent_projection(problem, w, v).v, atol=1e-10)


def test_a_start_off_the_manifold_is_told():
    problem = completion()
    with pytest.raises(
        ValueError, match=r"not on the manifold of minimisers: its distance is about .*land first"
    ):
        gf.minimum_norm(problem, problem.initial_weights(seed=0))
    with pytest.raises(TypeError, match="no residuals"):
        gf.minimum_norm(
            gf.Objective(loss=lambda w: w @ w, gradient=lambda w: 2 * w, num_params=2), np.zeros(2)
        )


def test_steps_have_a_limit():
    problem, w = landed("tanh")
    assert gf.minimum_norm(problem, w, max_steps=1).status == "max_steps"
    assert tanh().num_params == problem.num_params
