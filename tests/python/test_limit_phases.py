"""The theorem itself: flows with small weight decay against the landing and the drift."""

import dataclasses
import io
import re
from functools import cache

import grokflow as gf
import numpy as np
import pytest
from grokflow.limit import two_phase
from limit_problems import completion, diagonal, tanh

LAMS = [1e-4, 1e-5, 1e-6, 1e-7]


@cache
def regular():
    """Return both phases where eta stays far above lam: few entries of a matrix, tolerances below lam."""
    problem = completion(size=6, width=2, fraction=0.3)
    w0 = problem.initial_weights(std=1.0, seed=3)
    return gf.two_phase(problem, w0, LAMS, s_end=2.0, rtol=1e-10, atol=1e-12)


@cache
def singular():
    """Return both phases of a network whose end is sparse, where eta falls through kappa lam on the way."""
    problem = diagonal(n=6, d=10)
    w0 = problem.initial_weights(std=1.0, seed=0)
    return gf.two_phase(problem, w0, [1e-2, 1e-3, 1e-4], s_end=6.0, rtol=1e-8, atol=1e-10)


def test_the_distance_to_the_drift_is_of_first_order():
    phases = regular()
    assert phases.success, phases.message
    assert phases.slow.monitor["eta"].min() > 50 * max(LAMS)
    distances = [phases.distance[lam] for lam in LAMS]
    slopes = np.diff(np.log10(distances)) / np.diff(np.log10(LAMS))
    assert ((slopes > 0.9) & (slopes < 1.1)).all()
    assert 0.9 < phases.slope < 1.1
    assert set(phases.horizon.values()) == {np.inf}


def test_the_distance_to_the_drift_of_a_network():
    problem = tanh()
    w0 = problem.initial_weights(std=1.0, seed=3)
    phases = gf.two_phase(problem, w0, [1e-7, 1e-8], s_end=1.0, rtol=1e-10, atol=1e-12)
    assert phases.success, phases.message
    assert 0.9 < phases.slope < 1.1


def test_it_stops_falling_where_the_monitor_says():
    """Up to the horizon the flow keeps close to the drift; with larger decay the horizon comes earlier."""
    phases = singular()
    assert phases.success, phases.message
    stars = [phases.horizon[lam] for lam in phases.flows]
    assert stars == sorted(stars)
    assert 0.0 < stars[1] < 6.0
    for lam, sol in phases.flows.items():
        s = lam * sol.t
        drift = gf.norm_flow(phases.problem, phases.landing.w, (0, 6), t_eval=np.minimum(s, 6.0)).w
        apart = np.linalg.norm(sol.w - drift, axis=1)
        before = (s > 0.1) & (s < phases.horizon[lam])
        if before.any():
            assert apart[before].max() <= 1.0 / phases.kappa * np.linalg.norm(phases.landing.w)


def test_the_composite_describes_the_flow_uniformly():
    """From the first step on to the end: the distance at all times is of order lam log(1/lam)."""
    phases = regular()
    worst = []
    for lam in LAMS[:3]:
        sol = phases.flows[lam]
        apart = np.linalg.norm(sol.w - phases.composite(lam), axis=1)
        worst.append(apart.max() / np.linalg.norm(sol.w[0]))
    assert worst[0] < 0.05
    assert np.divide(worst[1:], worst[:-1]) == pytest.approx(0.1, rel=0.5)


@pytest.mark.parametrize("corrected", [False, True])
def test_what_is_left_of_the_normal_distance_after_its_first_order_is_of_second(corrected):
    phases = regular()
    apart = []
    for lam in LAMS[:3]:
        sol = phases.flows[lam]
        late = lam * sol.t > 0.5
        composite = phases.composite(lam, normal_correction=corrected)[late]
        pairs = zip(composite, sol.w[late] - composite, strict=True)
        normal = [np.linalg.pinv(J) @ J @ e for w, e in pairs for J in [phases.problem.jacobian(w)]]
        apart.append(np.linalg.norm(normal, axis=1).max())
    assert np.polyfit(np.log(LAMS[:3]), np.log(apart), 1)[0] == pytest.approx(1.0 + corrected, abs=0.1)


def test_the_limits_do_not_commute():
    """Without decay least squares keeps what of w0 the data do not see; with ever so little it does not."""
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((5, 9)), rng.standard_normal(5)
    problem = gf.models.LinearRegression(X, y, test=(X[:2], y[:2]))
    w0 = problem.initial_weights(seed=1)
    limits = gf.two_phase(problem, w0, [1e-4], s_end=1.0).limits()
    least = np.linalg.pinv(X) @ y
    np.testing.assert_allclose(limits.t_first, least, atol=1e-9)
    np.testing.assert_allclose(limits.lam_first, least + w0 - np.linalg.pinv(X) @ X @ w0, atol=1e-6)
    assert limits.status == "minimum"
    assert limits.quantities["norm"][1] == pytest.approx(np.linalg.norm(least))
    assert {"train_loss", "test_loss", "norm"} == set(limits.quantities)
    assert "lim_lam lim_t" in repr(limits)
    commute = gf.two_phase(problem, least + 0.1 * X[0], [1e-4], s_end=1.0).limits()  # nothing unseen
    assert commute.distance < 1e-6


def test_the_limits_under_an_l1_norm():
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((3, 6)), rng.standard_normal(3)
    problem = gf.models.LinearRegression(X, y)
    limits = gf.two_phase(
        problem, problem.initial_weights(seed=1), [1e-4], s_end=300.0, regularizer="l1"
    ).limits()
    assert np.count_nonzero(limits.t_first) <= 3
    assert np.abs(limits.t_first).sum() < np.abs(limits.lam_first).sum()


@pytest.mark.parametrize(("seed", "neuron"), [(25, 14), (3, None)])
def test_neurons_leave_the_landing_as_the_flow_does(seed, neuron):
    """Both sides of a surface may repel in the drift; the last forces of the flow decide, as they fall."""
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((5, 2)), rng.standard_normal(5)
    net = gf.models.TwoLayerNetwork(X, y, width=20, activation="relu")
    phases = gf.two_phase(net, net.initial_weights(seed=seed), [1e-5, 1e-6], s_end=1.2, rtol=1e-9, atol=1e-12)
    assert 0.98 < phases.slope < 1.02
    changes = phases.slow.mode_changes
    assert not neuron or neuron in changes["neuron"][(changes["t"] == 0.0) & (changes["kind"] == "release")]
    blind = gf.norm_flow(net, phases.landing.w, (0, 0.6))
    assert ("split" in blind.mode_changes["kind"]) == (neuron is not None)


def test_the_limits_of_a_network_with_kinks():
    """relu(x) + relu(-x) / 4 has the norm of its path: |w|^2 = 2 (1 + 1/4)."""
    net = gf.models.TwoLayerNetwork([[1.0], [-1.0]], [1.0, 0.25], width=6, activation="relu", bias=False)
    limits = gf.two_phase(net, net.initial_weights(seed=0), [1e-4], s_end=40.0).limits()
    assert limits.status == "minimum"
    assert limits.quantities["norm"][1] ** 2 == pytest.approx(2.5, rel=1e-6)
    assert limits.quantities["train_loss"][1] < 1e-20
    assert limits.distance > 0.1


def ridgeless():
    """Return random features, whose eta is near the rates, and a start; the test loss falls little."""
    rng = np.random.default_rng(0)
    X, X_test = rng.standard_normal((30, 60)), rng.standard_normal((500, 60))
    test = X_test, X_test[:, 0] - X_test[:, 1]
    problem = gf.models.RandomFeatures(X, X[:, 0] - X[:, 1], width=100, test=test)
    return problem, problem.initial_weights(seed=1)


def test_predictions_are_corrected_to_first_order_and_withheld_where_that_is_much():
    problem, w0 = ridgeless()
    phases = gf.two_phase(problem, w0, [6e-5, 1e-5, 1e-6], s_end=6.0)
    test = phases.slow["test_loss"]
    found = phases.grokking_times(1e-3, np.sqrt(test[0] * test.min()))
    late = gf.crossing_time(phases.slow, "test_loss", below=np.sqrt(test[0] * test.min()))
    for lam in (1e-5, 1e-6):
        assert found[lam].delay == pytest.approx(found[lam].predicted_delay, rel=1e-3)
    assert abs(found[1e-5].test * 1e-5 - late) > 0.05 * late  # what the drift itself says is off by more
    assert phases.horizon[6e-5] == np.inf
    assert np.isnan(found[6e-5].predicted_delay)


def test_delays_are_predicted_by_accuracy():
    rng = np.random.default_rng(0)
    X, X_test = rng.standard_normal((12, 3)), rng.standard_normal((2000, 3))
    codes = np.eye(3)
    y, y_test = codes[X.argmax(axis=1)], codes[X_test.argmax(axis=1)]
    net = gf.models.TwoLayerNetwork(X, y, width=30, activation="gelu", scale="samples", test=(X_test, y_test))
    phases = gf.two_phase(net, net.initial_weights(seed=1), [1e-5], s_end=4.0)
    wrong = 1.0 - phases.slow["test_accuracy"]
    times = phases.grokking_times(0.02, (wrong[0] + wrong.min()) / 2, by="accuracy")[1e-5]
    assert times.delay == pytest.approx(times.predicted_delay, rel=0.03)
    assert times.delay > 100.0 * times.train


def test_delays_are_predicted_by_what_was_observed():
    """By one observable with two levels, by functions of train and test data, and by a penalty itself."""
    problem = completion(size=6, width=2, fraction=0.3)

    def share(t, w):  # of the largest singular value
        values = problem.quantity("singular_values", w)
        return values[0] / values.sum()

    observe = {"size": "norm", "train_misfit": "train_loss", "test_misfit": share, "s": "singular_values"}
    phases = gf.two_phase(problem, problem.initial_weights(seed=3), [1e-5, 1e-6], s_end=2.0, observe=observe)
    size, other = phases.slow["size"], phases.slow["test_misfit"]
    middle = (size[0] + size[-1]) / 2
    for by, levels in (("size", (size[0] + 1.0, middle)), ("misfit", (1e-4, (other[0] + other[-1]) / 2))):
        for times in phases.grokking_times(*levels, by=by).values():
            assert times.delay == pytest.approx(times.predicted_delay, rel=1e-3)
            assert times.test > 1e3 > times.train >= 0.0
    with pytest.raises(ValueError, match="'s' has 2 components"):
        phases.grokking_times(1.0, 1.0, by="s")


def test_decay_may_hold_the_train_loss_up_long_after_the_landing():
    """It rises with the drift, and falls below a level that is as small as that in the slow phase only."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((6, 12))
    problem = gf.models.DeepDiagonalNetwork(X, X[:, 0] - X[:, 1], depth=3)
    phases = gf.two_phase(problem, problem.initial_weights(seed=1, scale=2.0), [1e-5, 1e-6], s_end=3.0)
    for lam in phases.flows:
        excess = phases.predicted_loss(lam)
        times = phases.grokking_times(1e-2, np.sqrt(excess.max() * excess[-1]), by="train_loss")[lam]
        assert times.test > 1.0 / lam
        assert times.delay == pytest.approx(times.predicted_delay, rel=2e-3)


def test_delays_are_predicted_by_a_penalty():
    rng = np.random.default_rng(0)
    problem = gf.models.LinearRegression(rng.standard_normal((4, 8)), rng.standard_normal(4))
    phases = gf.two_phase(problem, 2.0 * rng.standard_normal(8), [1e-5], s_end=9.0, regularizer="l1")
    l1 = phases.slow["regularizer"]
    times = phases.grokking_times(2.0 * l1[0], (l1[0] + l1[-1]) / 2, by="regularizer")[1e-5]
    assert times.delay == pytest.approx(times.predicted_delay, rel=1e-3)


def test_the_composite_at_times_of_ones_own():
    phases = regular()
    lam = LAMS[0]
    t = np.array([0.0, 0.1, 10.0, 1e3, 2.0 / lam])
    w = phases.composite(lam, t)
    assert w[0] == pytest.approx(phases.w0, abs=1e-8)
    assert w[-1] == pytest.approx(phases.slow.final, abs=1e-8)
    near = phases.composite(lam)
    i = [int(np.argmin(np.abs(phases.flows[lam].t - 1e3)))]
    assert w[3] == pytest.approx(near[i[0]], abs=1e-2)


@pytest.mark.parametrize("own", [False, True], ids=["times of the flow", "times of one's own"])
def test_the_composite_on_disk_is_that_in_memory(own, tmp_path):
    """Nothing is left there but the one file, from which any program can read the states."""
    phases, lam = regular(), LAMS[1]
    t = np.array([0.0, 0.1, 10.0, 1e3, phases.s_end / lam]) if own else None
    w = phases.composite(lam, t, save_states=tmp_path / "composite.npy")
    assert isinstance(w, np.memmap)
    assert w == pytest.approx(phases.composite(lam, t), abs=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["composite.npy"]
    kept = np.load(tmp_path / "composite.npy", mmap_mode="r")
    np.testing.assert_array_equal(kept["t"], phases.flows[lam].t if t is None else t)
    with pytest.raises(ValueError, match=r"must end in \.npy"):
        phases.composite(lam, t, save_states=tmp_path / "composite.zarr")
    with pytest.raises(FileNotFoundError):
        phases.composite(lam, t, save_states=tmp_path / "nowhere" / "composite.npy")


def test_the_loss_of_the_slow_phase_is_predicted():
    """To first order in lam the residual beside the manifold gives the train loss, which falls as lam^2."""
    phases = regular()
    for lam in LAMS[:3]:
        sol = phases.flows[lam]
        late = lam * sol.t > 0.1
        loss = np.interp(lam * sol.t[late], phases.slow.t, phases.predicted_loss(lam))
        assert sol["train_loss"][late] == pytest.approx(loss, rel=max(0.02, 100 * lam))


def test_the_drift_costs_the_same_for_any_decay():
    problem = completion(size=6, width=2, fraction=0.3)
    w0 = problem.initial_weights(std=1.0, seed=1)
    work = [gf.two_phase(problem, w0, [lam], s_end=2.0).slow.stats["nproject"] for lam in (1e-3, 1e-6, 1e-9)]
    assert max(work) == min(work)


@pytest.mark.parametrize("model", [completion, diagonal, tanh])
def test_evaluations_of_the_flow_hardly_grow(model):
    """From lam = 1e-3 to 1e-8, to t = 10 / lam: five decades more of time for less than thrice the work."""
    problem = model()
    w0 = problem.initial_weights(std=1.0, seed=1)
    work = {}
    for lam in (1e-3, 1e-8):
        sol = gf.gradient_flow(problem, w0, (0, 10.0 / lam), weight_decay=lam)
        assert sol.success, sol.message
        work[lam] = sol.stats["nfev"]
    assert work[1e-8] < 3 * work[1e-3]


def test_decay_that_differs_by_block():
    """The drift is that of the weighted norm in units of the largest rate."""
    problem = diagonal()
    w0 = problem.initial_weights(std=1.0, seed=1)
    decays = [{"u": lam, "v": 0.5 * lam} for lam in (1e-5, 1e-6)]
    phases = gf.two_phase(problem, w0, decays, s_end=1.0, rtol=1e-9, atol=1e-12)
    assert phases.success, phases.message
    assert list(phases.flows) == [1e-5, 1e-6]
    assert 0.9 < phases.slope < 1.1
    own = gf.norm_flow(problem, phases.landing.w, (0, 1), regularizer={"u": 1.0, "v": 0.5}, rtol=1e-9)
    assert phases.slow.final == pytest.approx(own.final, abs=1e-8)


def test_both_phases_without_a_matrix():
    """Two strategies, the same phases; `krylov` forms neither a kernel nor a Hessian."""
    problem = tanh()
    w0 = problem.initial_weights(std=1.0, seed=3)
    options = {"s_end": 1.0, "rtol": 1e-7, "atol": 1e-10}
    gram, krylov = (
        gf.two_phase(problem, w0, [1e-3, 1e-4], curvature=curvature, **options)
        for curvature in ("gram", "krylov")
    )
    assert krylov.success, krylov.message
    for run in (krylov.fast, krylov.slow, krylov.landing, *krylov.flows.values()):
        assert run.stats["ngram"] == run.stats["nhessian"] == run.stats["nfactor"] == 0
    np.testing.assert_allclose(krylov.landing.w, gram.landing.w, atol=1e-6)
    np.testing.assert_allclose(krylov.slow.final, gram.slow.final, atol=1e-5)
    for lam, sol in krylov.flows.items():
        np.testing.assert_allclose(sol.final, gram.flows[lam].final, atol=1e-5)


def test_grokking_times_of_made_up_losses():
    """The last time above the tolerance counts, found on a power law between two records."""
    from dataclasses import replace

    phases = singular()
    t = np.array([0.0, 1.0, 10.0, 100.0, 1000.0])
    losses = {
        "train_loss": np.array([4.0, 1.0, 1e-4, 2.0, 0.02]),
        "test_loss": np.array([1.0, 1.0, 1.0, 1.0, 1e-2]),
    }
    lam = 1e-3
    flow = replace(phases.flows[lam], t=t, observed=losses)
    fast = replace(
        phases.fast, t=t[:3], observed={"train_loss": np.array([4.0, 1.0, 1e-4]), "test_loss": np.ones(3)}
    )
    slow = replace(
        phases.slow,
        t=np.array([0.0, 0.1, 1.0]),
        w=None,
        observed={"train_loss": np.full(3, 1e-30), "test_loss": np.array([1.0, 1.0, 1e-2])},
    )
    made_up = replace(phases, fast=fast, slow=slow, flows={lam: flow}, horizon={lam: 0.9})
    found = made_up.grokking_times(0.2, 0.1)[lam]
    assert found.train == pytest.approx(10.0**2.5)  # 2 -> 0.02 over a decade: 0.2 at half of it
    assert found.test == pytest.approx(10.0**2.5)
    assert found.delay == pytest.approx(0.0, abs=1e-9)
    first = 10.0 ** (np.log(1.0 / 0.2) / np.log(1.0 / 1e-4))
    assert found.predicted_delay == pytest.approx(10.0**-0.5 / lam - first)
    assert found.horizon == pytest.approx(0.9 / lam)
    early = replace(made_up, horizon={lam: 0.3}).grokking_times(0.2, 0.1)[lam]
    assert np.isnan(early.predicted_delay)  # at s = 0.316, beyond the horizon
    jumped = made_up.grokking_times(1e-5, 0.1)[
        lam
    ]  # which the fast phase has not reached when Newton takes over
    assert jumped.predicted_delay == pytest.approx(10.0**-0.5 / lam - phases.landing.t)
    never = made_up.grokking_times(1e-3, 1e-3)[lam]
    assert np.isnan([never.train, never.test, never.delay]).all()
    always = made_up.grokking_times(10.0, 10.0)[lam]
    assert (always.train, always.test, always.predicted_delay) == (0.0, 0.0, 0.0)


def large():
    """Return a sparse problem and large weights, which have the manifold close by from the start."""
    rng = np.random.default_rng(1)
    X, X_test = rng.choice([-1.0, 1.0], (10, 40)), rng.choice([-1.0, 1.0], (50, 40))
    problem = gf.models.DiagonalLinearNetwork(2 * X, X[:, 0], test=(2 * X_test, X_test[:, 0]))
    return problem, np.r_[np.full(40, 16.0), np.zeros(40)]


def test_large_weights_have_a_fast_phase_too():
    """They learn their data before they land, and the limit predicts when they grok."""
    phases = gf.two_phase(*large(), [1e-4], s_end="auto")
    assert phases.success, phases.message
    assert len(phases.fast.t) > 10
    assert phases.fast["grad_norm"][-1] <= 3e-3 * phases.fast["grad_norm"][0]
    assert 0.0 < phases.landing.t_gf <= phases.landing.t
    found = phases.grokking_times(1e-2, 1e-2)[1e-4]
    assert found.predicted_delay == pytest.approx(found.delay, rel=0.05)


def test_the_end_of_slow_time_is_where_the_drift_rests():
    """It comes later the larger the weights are, by log alpha for a model of degree 2."""
    problem, w0 = large()
    ends = []
    for alpha in (1.0, 16.0):
        phases = gf.two_phase(problem, alpha / 16.0 * w0, [1e-2], s_end="auto")
        ends.append(phases.s_end)
        assert phases.flows[1e-2].t[-1] == pytest.approx(phases.s_end / 1e-2)
        w = phases.slow.final
        P = gf.tangent_projection(problem, w, w, land=True, rtol_rank=1e-9)
        assert np.linalg.norm(P.v) <= 2e-3 * np.linalg.norm(w)
    assert ends[1] - ends[0] == pytest.approx(np.log(16.0), abs=1.0)
    assert gf.two_phase(diagonal(), np.zeros(16), [1e-2], s_end="auto").s_end == 10.0  # it does not land


def test_no_slope_of_noise():
    """Flows that are as close to the drift as their tolerance says have no distance to fit."""
    rng = np.random.default_rng(0)
    problem = gf.models.LinearRegression(rng.standard_normal((10, 20)), rng.standard_normal(10))
    w0 = problem.initial_weights(seed=1)
    phases = gf.two_phase(problem, w0, [1e-7, 1e-8], s_end=2.0)
    assert np.isnan(phases.slope)
    assert "at the tolerance" in phases.fit.reason
    phases.report(text := io.StringIO())
    assert "at the tolerance" in text.getvalue()
    finer = gf.two_phase(problem, w0, [1e-3, 1e-4], s_end=2.0, rtol=1e-9)
    assert finer.slope == pytest.approx(1.0, abs=0.02)


def test_no_slope_beyond_the_horizon():
    phases = singular()
    late = gf.two_phase(phases.problem, phases.w0, [1e-1, 3e-2], s_end=6.0)
    assert np.isnan(late.slope)
    assert "the horizon lies beyond eps" in late.fit.reason
    assert phases.fit.s_end < phases.s_end
    assert phases.slope == pytest.approx(1.0, abs=0.1)


def test_a_flow_that_does_not_land_leaves_no_drift():
    phases = gf.two_phase(diagonal(), np.zeros(16), [1e-2])
    assert not phases.success
    assert phases.slow is None
    assert phases.message.startswith("landing: The flow came to rest on a saddle")
    assert np.isnan(phases.slope)
    with pytest.raises(ValueError, match="there is no drift, because the flow has not landed"):
        phases.composite(1e-2)
    with pytest.raises(ValueError, match="there is no drift"):
        phases.predicted_loss(1e-2)


def test_an_interrupt_keeps_the_flows():
    seen = []

    def stop(t, w):
        seen.append(t)
        if t == 0.0 or (len(seen) > 2 and seen[-1] < seen[-2]):  # the second flow has begun
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        gf.two_phase(diagonal(), np.ones(16), [1e-2, 1e-3], callback=stop)
    assert list(caught.value.flows) == [1e-2]
    assert caught.value.solution.status == "interrupted"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"problem": "diagonal"}, TypeError, "must be a grokflow.Problem"),
        ({"w0": np.ones(2)}, ValueError, r"w0 has shape \(2,\)"),
        ({"weight_decay": 1e-3}, TypeError, "must be a list of rates"),
        ({"weight_decay": []}, ValueError, "weight_decay is empty"),
        ({"weight_decay": [0.0]}, ValueError, "a rate must be positive"),
        ({"weight_decay": [1e-3, 1e-3]}, ValueError, "holds the rate 0.001 twice"),
        ({"weight_decay": [1e-3, {"u": 1e-4, "v": 0.0}]}, ValueError, "not in the proportions"),
        ({"s_end": 0.0}, ValueError, "s_end"),
        ({"s_end": "late"}, TypeError, "s_end is 'late'"),
        ({"eps": 20.0}, ValueError, "eps is 20; it must be smaller than s_end"),
        ({"kappa": 0.0}, ValueError, "kappa"),
    ],
)
def test_misuse(change, error, message):
    with pytest.raises(error, match=message):
        gf.two_phase(**({"problem": diagonal(), "w0": np.ones(16), "weight_decay": [1e-2]} | change))


def test_misuse_of_the_result():
    phases = regular()
    with pytest.raises(ValueError, match="the flows are those of"):
        phases.composite(0.5)
    with pytest.raises(ValueError, match="train_tol"):
        phases.grokking_times(0.0, 1.0)
    with pytest.raises(ValueError, match="by is 'loss', but neither train_loss and test_loss nor"):
        phases.grokking_times(1e-3, 1e-3)  # this matrix has no test entries


def test_a_network_with_kinks_has_both_phases():
    """Its drift slides too."""
    x = np.array([-1.8, -1.0, -0.2, 0.5, 1.1, 1.9])
    net = gf.models.TwoLayerNetwork(x[:, None], np.maximum(x, 0.0), width=10, activation="relu")
    phases = gf.two_phase(net, net.initial_weights(seed=0), [1e-3, 1e-4], s_end=0.1, eps=0.01)
    assert phases.success, phases.message
    assert np.abs(phases.slow["train_loss"]).max() < 1e-20
    assert np.diff(phases.slow["norm"]).max() <= 1e-12
    phases.plot()


@pytest.mark.parametrize("target", [lambda x: np.maximum(x, 0.0), lambda x: np.abs(x) - 0.5])
def test_the_loss_of_a_network_with_kinks_is_predicted(target):
    """With K of those that slide: with |x| some neurons only touch a data point, and do not."""
    x = np.array([-1.8, -1.0, -0.2, 0.5, 1.1, 1.9])
    net = gf.models.TwoLayerNetwork(x[:, None], target(x), width=12, activation="relu")
    phases = gf.two_phase(net, net.initial_weights(seed=0), [1e-6], s_end=0.5)
    assert phases.slow.mode_changes.size > 0
    sol = phases.flows[1e-6]
    late = 1e-6 * sol.t > 0.05
    loss = np.interp(1e-6 * sol.t[late], phases.slow.t, phases.predicted_loss(1e-6))
    assert sol["train_loss"][late] == pytest.approx(loss, rel=5e-3)


def overdetermined():
    """Return a ReLU network that cannot fit its data."""
    x = np.linspace(-2, 2, 15)[:, None]
    return gf.models.TwoLayerNetwork(x, np.sin(3 * x[:, 0]), width=2, activation="relu")


def test_where_no_drift_starts_the_flows_are_kept():
    net = overdetermined()
    w0 = net.initial_weights(seed=0)
    phases = gf.two_phase(net, w0, [1e-2], s_end=1.0)
    assert phases.landing.success
    assert phases.flows[1e-2].success
    assert phases.slow is None
    assert not phases.success
    assert re.search(r"drift: the residual does not vanish at w: .*'smooth_relu'", phases.message)
    phases.report(text := io.StringIO())
    assert "the residual does not vanish" in " ".join(text.getvalue().split())
    assert "has landed where no drift starts" in phases.plot().axes[1].get_title()
    with pytest.raises(ValueError, match="there is no drift, because the residual does not vanish"):
        phases.composite(1e-2)
    with pytest.raises(ValueError, match="the residual does not vanish"):
        gf.norm_flow(net, phases.landing.w, (0, 1))


@pytest.mark.parametrize("curvature", ["dense", "krylov", gf.Dense()])
def test_kinks_ask_for_kernel_space_before_any_work(curvature, monkeypatch):
    net = overdetermined()
    monkeypatch.setattr(two_phase, "flow", None)
    for run in (gf.two_phase, lambda *a, **o: gf.norm_flow(*a, (0, 1), **o)):
        with pytest.raises(ValueError, match=r"curvature is '\w+', but .* a kink.* choose 'gram' or 'auto'"):
            run(net, net.initial_weights(seed=0), curvature=curvature)


def test_an_error_of_the_callback_is_not_taken_for_one_of_the_drift():
    problem = gf.models.LinearRegression(np.eye(2, 4), np.ones(2))

    def fail(t, w):
        if t < 1.0 and problem.loss(w) < 1e-25:  # the drift
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine") as caught:
        gf.two_phase(problem, np.ones(4), [1e-2], callback=fail)
    assert caught.value.landing.success


def test_composite_knows_nothing_beyond_the_drift():
    X = np.eye(2, 4)
    problem = gf.models.LinearRegression(X, np.ones(2))
    phases = gf.two_phase(problem, np.ones(4), [1e-2], s_end=3.0)
    short = gf.norm_flow(problem, phases.landing.w, (0, 1), t_eval=phases.slow.t[phases.slow.t <= 1.0])
    cut = dataclasses.replace(phases, slow=short).composite(1e-2)
    beyond = 1e-2 * phases.flows[1e-2].t > 1.0 + 1e-9
    assert beyond.any()
    assert np.isnan(cut[beyond]).all()
    assert cut[~beyond] == pytest.approx(phases.composite(1e-2)[~beyond], abs=1e-5)


def kinked(seed):
    """Return a network with kinks and a start, at random."""
    rng = np.random.default_rng(seed)
    inputs, n, width = 1 + seed % 3, 3 + seed % 5, 8 + seed % 9
    X, y = rng.uniform(-2, 2, (n, inputs)), rng.standard_normal(n)
    activation = ["relu", "leaky_relu", "abs"][seed // 3 % 3]
    net = gf.models.TwoLayerNetwork(X, y, width=width, activation=activation)
    return net, rng.standard_normal(net.num_params)


@pytest.mark.parametrize(
    ("seed", "regularizer"),
    [(10, {"*": 1.0, "V": 0.2}), (14, {"*": 1.0, "V": 0.2}), (79, "norm"), (113, "norm")],
)
def test_flows_of_networks_with_kinks_tend_to_the_drift(seed, regularizer):
    """Where decay alone moves a neuron that has died (10, 14), and several leave at one slow time (79, 113).

    It decides on which side they go on what their forces reach first on the way to a new equilibrium.
    """
    phases = gf.two_phase(
        *kinked(seed), [1e-5, 1e-6], s_end=1.0, rtol=1e-8, atol=1e-11, regularizer=regularizer
    )
    assert phases.success, phases.message
    assert phases.slope == pytest.approx(1.0, abs=0.05)
    assert np.isnan(phases.fit.parting)


def test_where_the_limit_branches_is_said():
    """A neuron ends at 0 in the fast phase, where it may stay or leave again."""
    with pytest.warns(UserWarning, match="does not fall with lam from s = 0.1 on: the limit branches"):
        phases = gf.two_phase(*kinked(72), [1e-5, 1e-6], s_end=1.0, rtol=1e-8, atol=1e-11)
    assert "split" in phases.fast.mode_changes["kind"]
    assert phases.success
    assert "branches" in phases.message
    assert "branches" in " ".join(repr(phases).split())
    assert phases.fit.parting == pytest.approx(0.1)


def test_a_corner_of_the_loss_where_no_drift_is_known_says_what_to_do():
    """The flow has landed where kinks hold what it has not fitted."""
    net, w0 = kinked(12)
    landing = gf.limit_map(net, w0)
    assert landing.success, landing.message
    with pytest.raises(
        ValueError, match=r"not on the manifold.*if they are not after landing, make the network wider"
    ):
        gf.norm_flow(net, landing.w, (0, 1))
