"""The limit of vanishing weight decay agrees with its twins in NumPy, which go another way to each answer."""

import grokflow as gf
import numpy as np
import pytest
from reference import limit, models, phases, tangent

X = np.random.default_rng(0).standard_normal((3, 5))
SPARSE = np.array([1.0, -1.0, 0.0, 0.0, 0.0])
X_TEST = np.random.default_rng(1).standard_normal((6, 5))
DATA = (X, X @ SPARSE), {"test": (X_TEST, X_TEST @ SPARSE)}


def pairs():
    """Return {name: (our problem, its twin, w0)}."""

    def both(model, *args, seed, **options):
        ours = getattr(gf.models, model)(*args, **options)
        return (
            ours,
            getattr(models, model)(*args, **options),
            ours.initial_weights(std=0.8, seed=np.random.default_rng(seed)),
        )

    entries = [0, 0, 1, 2], [0, 1, 1, 2], [1.0, 2.0, -1.0, 0.5]
    return {
        "diagonal": both("DiagonalLinearNetwork", *DATA[0], **DATA[1], seed=1),
        "completion": both("MatrixCompletion", *entries, shape=(3, 3), width=2, seed=2),
        "tanh": both("TwoLayerNetwork", X[:, :1], [0.5, -0.5, 0.2], width=4, seed=3),
    }


PAIRS = pairs()
each_pair = pytest.mark.parametrize(("ours", "twin", "w0"), PAIRS.values(), ids=PAIRS)


@each_pair
def test_the_flow_lands_at_the_same_point(ours, twin, w0):
    a, b = gf.limit_map(ours, w0), limit.limit_map(twin, w0)
    assert a.status == b.status == "landed"
    assert a.rank == b.rank
    assert a.w == pytest.approx(b.w, abs=2e-6)
    assert [a.eta, a.largest] == pytest.approx([b.eta, b.largest], rel=1e-5)


@each_pair
def test_projections_agree(ours, twin, w0):
    w, v = gf.limit_map(ours, w0).w, np.linspace(-1.0, 1.0, len(w0))
    a, b = gf.tangent_projection(ours, w, v), tangent.tangent_projection(twin, w, v)
    assert a.v == pytest.approx(b.v, abs=1e-12)
    assert a.rank == b.rank
    assert a.eta == pytest.approx(b.eta, rel=2e-3)  # of ours to about 0.1%
    assert a.largest == pytest.approx(b.largest, rel=2e-3)


@each_pair
@pytest.mark.parametrize("regularizer", ["norm", "hessian_trace"])
def test_drifts_agree(ours, twin, w0, regularizer):
    w = gf.limit_map(ours, w0).w
    grid = [0.0, 0.1, 0.5, 1.5]
    a, b = (
        f(problem, w, (0, 1.5), regularizer=regularizer, t_eval=grid, rtol=1e-7, atol=1e-9)
        for f, problem in ((gf.norm_flow, ours), (limit.norm_flow, twin))
    )
    assert a.status == b.status == "finished"
    assert a.w == pytest.approx(b.w, abs=1e-6)
    assert a["regularizer"] == pytest.approx(b["regularizer"], rel=1e-6)
    assert a.monitor["eta"][-1] == pytest.approx(b.monitor["eta"][-1], rel=2e-3)
    assert a.monitor["rank"][-1] == b.monitor["rank"][-1]


def test_first_order_residuals_agree():
    ours, twin, w0 = PAIRS["diagonal"]
    for decay in (1e-3, {"u": 1e-3, "v": 2e-3}):
        expected = limit.first_order_residual(twin, w0, decay)
        assert gf.first_order_residual(ours, w0, decay) == pytest.approx(expected, rel=1e-10)


def test_first_order_residuals_of_a_network_that_slides_agree():
    x = np.array([-1.8, -1.0, -0.2, 0.5, 1.1, 1.9])
    ours, twin = (
        M.TwoLayerNetwork(x[:, None], np.sin(2 * x), width=12, activation="relu") for M in (gf.models, models)
    )
    slow = gf.norm_flow(
        ours,
        gf.limit_map(ours, ours.initial_weights(seed=np.random.default_rng(0))).w,
        (0, 0.5),
        t_eval=[0.0, 0.3, 0.5],
    )
    assert "stick" in slow.mode_changes["kind"]
    for w in slow.w:
        expected = limit.first_order_residual(twin, w, 1e-3)
        assert gf.first_order_residual(ours, w, 1e-3) == pytest.approx(expected, rel=1e-6)


def test_both_phases_agree():
    ours, twin, w0 = PAIRS["diagonal"]
    rates = [1e-2, 1e-3, 5e-4]
    a, b = (f(p, w0, rates, s_end=3.0) for f, p in ((gf.two_phase, ours), (phases.two_phase, twin)))
    assert list(a.flows) == list(b.flows) == rates
    assert list(a.distance.values()) == pytest.approx(list(b.distance.values()), rel=1e-3)
    assert a.slope == pytest.approx(b.slope, rel=1e-3)
    assert list(a.horizon.values()) == pytest.approx(list(b.horizon.values()), rel=1e-2)
    assert a.horizon[1e-2] < 3.0 < a.horizon[1e-3]
    assert a.limits().distance == pytest.approx(b.limits().distance, rel=1e-4)
    for lam in a.flows:
        assert a.clocks[lam].t_wd == pytest.approx(b.clocks[lam].t_wd, rel=1e-2)
        assert a.predicted_loss(lam)[-1] == pytest.approx(b.predicted_loss(lam)[-1], rel=1e-5)
        for asked in ((1e-3, 0.5), (a.slow["norm"][0] + 1.0, a.slow["norm"].mean(), "norm")):
            ours_times, twins_times = a.grokking_times(*asked)[lam], b.grokking_times(*asked)[lam]
            for name in ("train", "test", "delay", "predicted_delay", "horizon"):  # nan: beyond the horizon
                expected = pytest.approx(getattr(twins_times, name), rel=1e-2, nan_ok=True)
                assert getattr(ours_times, name) == expected
    t = np.geomspace(1e-2, 300.0, 20)
    assert a.composite(1e-2, t) == pytest.approx(b.composite(1e-2, t), abs=2e-5)


def test_horizons_agree():
    ours, _, w0 = PAIRS["diagonal"]
    slow = gf.norm_flow(ours, gf.limit_map(ours, w0).w, (0, 3))
    for lam in (1e-1, 1e-2, 5e-3, 1e-3):
        assert gf.horizon(slow, lam) == pytest.approx(limit.horizon(slow, lam), rel=1e-12)


def test_regularizers_agree():
    functions = {"value": lambda w: np.sum(w**4), "gradient": lambda w: 4 * w**3}
    value, gradient = gf.Regularizer(**functions).evaluate(SPARSE)
    assert value == limit.Regularizer(**functions).evaluate(SPARSE)[0]
    assert gradient == pytest.approx(limit.Regularizer(**functions).evaluate(SPARSE)[1], abs=0)
