"""Networks whose activation has a kink: the laws of their flows, and what the modes say."""

import itertools

import grokflow as gf
import numpy as np
import pytest
from descent import errors_of_descent

KINKED = pytest.mark.parametrize("activation", ["relu", "leaky_relu", "abs"])
RATE = 1e-2


def network(*, width=12, n=6, inputs=1, activation="relu", seed=0, std=1.0, **options):
    """Return a network fitted to a teacher of three neurons, and initial weights."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (n, inputs))
    teacher = rng.standard_normal((inputs + 2, 3))
    y = np.maximum(X @ teacher[:-2] + teacher[-2], 0) @ teacher[-1]
    problem = gf.models.TwoLayerNetwork(X, y, width=width, activation=activation, **options)
    return problem, std * rng.standard_normal(problem.num_params)


def solve(problem, w0, t_end=300.0, **options):
    return gf.gradient_flow(problem, w0, (0, t_end), **{"weight_decay": RATE} | options)


def preactivations(problem, w):
    """Return z[i, j] and the sizes ||x~_i|| ||y_j|| of the terms that cancel in it."""
    X, parts = problem._arguments["X"], problem.unflatten(w)
    inner = np.column_stack([parts["V"], parts["b"]])
    inputs = np.column_stack([X, np.ones(len(X))])
    sizes = np.linalg.norm(inputs, axis=1)[:, None] * np.linalg.norm(inner, axis=1)
    return inputs @ inner.T, sizes


def sliding_at(sol, t):
    """Return the pairs (data point, neuron) that slide at time t, as the changes of mode tell."""
    pairs = set()
    for change in sol.mode_changes[sol.mode_changes["t"] <= t]:
        pair = int(change["sample"]), int(change["neuron"])
        if change["kind"] in ("stick", "pin"):
            assert pair not in pairs
            pairs.add(pair)
        elif change["kind"] in ("release", "split"):
            pairs.discard(pair)
        else:
            assert pair not in pairs
    return pairs


@KINKED
@pytest.mark.parametrize("inputs", [1, 3])
def test_energy_falls_along_modes_and_across_their_changes(activation, inputs):
    problem, w0 = network(activation=activation, inputs=inputs)
    sol = solve(problem, w0, t_eval=None, rtol=1e-7, atol=1e-10)
    assert sol.success, sol.message
    assert len(sol.mode_changes) > 5
    energy = sol["train_loss"] + 0.5 * RATE * sol["norm"] ** 2
    assert (np.diff(energy) <= 1e-9 * energy[:-1]).all()
    assert (np.diff(sol.t) > 0).all()
    assert (np.diff(sol.mode_changes["t"]) >= 0).all()


@KINKED
def test_a_sliding_kink_stays_at_its_data_point_to_round_off(activation):
    problem, w0 = network(activation=activation, inputs=2, n=8)
    sol = solve(problem, w0, t_eval=None)
    seen = 0
    for t, w in zip(sol.t, sol.w, strict=True):
        if t in sol.mode_changes["t"]:
            continue  # the last step before the change ends there too
        z, sizes = preactivations(problem, w)
        for pair in sliding_at(sol, t):
            seen += 1
            assert abs(z[pair]) <= 1e-14 * sizes[pair]
    assert seen > 50


@pytest.mark.parametrize("inputs", [1, 2])
def test_gradient_descent_tends_to_the_flow(inputs):
    problem, w0 = network(inputs=inputs, width=6, n=5)
    sol = solve(problem, w0, 10.0, rtol=1e-9, atol=1e-12)
    assert "stick" in sol.mode_changes["kind"]
    errors = errors_of_descent(problem, w0, sol, lambda t: RATE, (4e-3, 1e-3))
    assert errors[1] < 0.4 * errors[0]  # first order
    assert errors[1] < 1e-2 * np.linalg.norm(sol.final)


def test_the_number_of_changes_does_not_grow_with_the_accuracy():
    problem, w0 = network(width=20, n=8)
    counts = [
        len(solve(problem, w0, rtol=rtol, atol=1e-3 * rtol).mode_changes) for rtol in (1e-5, 1e-7, 1e-9)
    ]
    assert max(counts) <= 1.1 * min(counts) + 2


def test_the_solution_converges_with_the_tolerance():
    problem, w0 = network(width=10, n=6)
    exact = solve(problem, w0, 100.0, rtol=1e-10, atol=1e-13).final
    errors = [
        np.linalg.norm(solve(problem, w0, 100.0, rtol=r, atol=1e-3 * r).final - exact) for r in (1e-5, 1e-8)
    ]
    assert errors[1] < 0.05 * errors[0]
    assert errors[1] < 1e-5 * np.linalg.norm(exact)


def test_gram_and_dense_agree():
    problem, w0 = network(width=8, n=5)
    finals = [
        solve(problem, w0, 50.0, curvature=curvature, rtol=1e-9, atol=1e-12).final
        for curvature in ("gram", "dense")
    ]
    np.testing.assert_allclose(finals[0], finals[1], atol=1e-6)


def test_what_never_meets_a_surface_is_a_smooth_flow():
    """All neurons on at all data points: a linear network, which the identity describes as well."""
    X, y = np.array([[1.0], [2.0], [3.0]]), np.array([1.0, 1.5, 2.5])
    w0 = np.r_[0.5, 0.4, 1.0, 1.2, 0.8, 0.7]
    ours = [
        solve(gf.models.TwoLayerNetwork(X, y, width=2, activation=act), w0, 20.0, method="Radau", rtol=1e-9)
        for act in ("relu", "identity")
    ]
    assert ours[0].mode_changes.size == 0
    np.testing.assert_allclose(ours[0].final, ours[1].final, rtol=1e-7)


def test_a_flow_is_resumed_in_its_mode():
    problem, w0 = network(inputs=2)
    whole = solve(problem, w0, 60.0, rtol=1e-9, atol=1e-12)
    half = solve(problem, w0, 30.0, rtol=1e-9, atol=1e-12)
    rest = gf.gradient_flow(problem, half.final, (30, 60), weight_decay=RATE, rtol=1e-9, atol=1e-12)
    assert sliding_at(half, 30.0)
    np.testing.assert_allclose(rest.final, whole.final, atol=1e-6)


def test_weights_of_zero_stay():
    problem, _ = network()
    sol = solve(problem, np.zeros(problem.num_params), 5.0)
    assert sol.success
    assert not sol.final.any()


def test_inner_weights_of_zero_leave_by_the_steepest_descent():
    """At y = 0 every surface is touched; beyond, the neuron is consistent with gradient descent."""
    problem, w0 = network(width=4, n=6)
    w0[4:] = 0.0
    sol = solve(problem, w0, 2.0, rtol=1e-9, atol=1e-12)
    assert sol.success, sol.message
    energy = sol["train_loss"] + 0.5 * RATE * sol["norm"] ** 2
    assert (np.diff(energy) <= 1e-12).all()


def test_a_split_is_recorded():
    """A kink at a data point that repels on both sides: the side below is taken."""
    problem = gf.models.TwoLayerNetwork([[1.0]], [1.0], width=1, activation="abs")
    sol = solve(problem, [1.0, 1.0, -1.0], 5.0)
    assert tuple(sol.mode_changes[0])[1:] == (0, 0, "split")
    assert preactivations(problem, sol.final)[0][0, 0] < 0


def test_a_neuron_that_may_stay_dead_or_come_to_life_splits():
    """On the side below, which is taken, nothing moves it; on the other it would leave."""
    problem = gf.models.TwoLayerNetwork([[1.0]], [1.0], width=1, activation="relu")
    sol = solve(problem, [1.0, 1.0, -1.0], 5.0)
    assert [tuple(change)[1:] for change in sol.mode_changes] == [(0, 0, "split")]
    np.testing.assert_allclose(sol.final, np.exp(-RATE * 5.0) * np.array([1.0, 1.0, -1.0]), rtol=1e-6)


def test_a_surface_where_nothing_jumps_splits_nothing():
    """The data point is fitted: on either side of it nothing moves the neuron but the decay."""
    problem = gf.models.TwoLayerNetwork([[1.0]], [0.0], width=1, activation="relu")
    sol = solve(problem, [1.0, 1.0, -1.0], 5.0)
    assert sol.mode_changes.size == 0
    np.testing.assert_allclose(sol.final, np.exp(-RATE * 5.0) * np.array([1.0, 1.0, -1.0]), rtol=1e-6)


@KINKED
def test_the_steps_tell_the_time_once(activation):
    problem, w0 = network(activation=activation)
    integrator = gf.Integrator(problem, w0, (0, 50), weight_decay=RATE)
    times = [(integrator._run.previous_t, integrator.t) for _ in integrator]
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(times))
    assert integrator.status == "finished"
    changes = integrator.solution().mode_changes
    assert np.isin(changes["t"], [0.0, *(end for _, end in times)]).all()


def test_dense_output_inside_a_step_is_continuous():
    problem, w0 = network()
    integrator = gf.Integrator(problem, w0, (0, 50), weight_decay=RATE)
    before = integrator.w
    for step in integrator:
        start = integrator.interpolate(integrator._run.previous_t)
        np.testing.assert_allclose(start, before, atol=1e-9)
        before = step.w


def test_times_and_events_are_those_asked_for():
    problem, w0 = network()
    times = np.linspace(0, 50, 101)
    sol = solve(problem, w0, 50.0, t_eval=times)
    np.testing.assert_array_equal(sol.t, times)

    def small(t, w):
        return np.linalg.norm(w) - 0.7 * np.linalg.norm(w0)

    small.terminal = True
    stopped = solve(problem, w0, events=small)
    assert stopped.status == "event"
    assert abs(small(0.0, stopped.final)) < 1e-9
    assert (stopped.mode_changes["t"] <= stopped.t_final).all()


def test_settings_say_that_the_method_is_radau():
    problem, w0 = network()
    assert solve(problem, w0, 1.0).settings["method"] == "Radau"
    smooth = gf.models.TwoLayerNetwork([[1.0]], [1.0], width=2)
    assert solve(smooth, smooth.initial_weights(), 1.0).settings["method"] == "BDF"


def test_a_multistep_method_is_refused():
    problem, w0 = network()
    with pytest.raises(ValueError, match=r"kink.*'Radau'"):
        solve(problem, w0, method="BDF")
    with pytest.raises(ValueError, match="kink"):
        solve(problem, w0, method=gf.BDF())


@KINKED
@pytest.mark.parametrize("inputs", [1, 3])
@pytest.mark.parametrize("rates", [{"u": 0.0}, {"b": 0.0}, {"b": 5e-2, "u": 0.0}])
def test_energy_falls_where_blocks_decay_at_rates_of_their_own(activation, inputs, rates):
    problem, w0 = network(activation=activation, inputs=inputs)
    rates = {"*": RATE} | rates
    sol = solve(problem, w0, weight_decay=rates, t_eval=None, rtol=1e-7, atol=1e-10)
    assert sol.success, sol.message
    assert len(sol.mode_changes) > 5
    D = np.empty(problem.num_params)
    for name, block in problem.blocks.items():
        D[block] = rates.get(name, RATE)
    energy = sol["train_loss"] + 0.5 * sol.w**2 @ D
    assert (np.diff(energy) <= 1e-9 * energy[:-1]).all()


def test_a_dead_neuron_comes_to_life_where_its_bias_outlives_its_weights():
    """Nothing but decay moves it: v = exp(-lam t), b = 1, and the kink meets the data at t = log 2 / lam."""
    problem = gf.models.TwoLayerNetwork([[-2.0]], [1.0], width=1, activation="relu")
    sol = solve(problem, [1.0, 1.0, 1.0], weight_decay={"*": RATE, "b": 0.0}, rtol=1e-9, atol=1e-12)
    assert [tuple(change)[1:] for change in sol.mode_changes] == [(0, 0, "cross")]
    assert sol.mode_changes["t"][0] == pytest.approx(np.log(2) / RATE, rel=1e-7)
    assert sol["train_loss"][-1] < 1e-2 < sol["train_loss"][0]


def test_changes_of_mode_are_saved(tmp_path):
    problem, w0 = network()
    sol = solve(problem, w0, 50.0)
    sol.save(tmp_path / "flow.npz")
    loaded = gf.Solution.load(tmp_path / "flow.npz")
    np.testing.assert_array_equal(loaded.mode_changes, sol.mode_changes)
    assert "mode changes" in repr(loaded)
    data = sol.to_xarray()
    np.testing.assert_array_equal(data["mode_kind"], sol.mode_changes["kind"])


def test_a_limit_keeps_the_changes_until_then():
    problem, w0 = network()
    sol = solve(problem, w0, max_steps=40)
    assert sol.status == "max_steps"
    assert sol.mode_changes.size > 0


@pytest.mark.parametrize("seed", [3, 10])
def test_a_landing_is_in_the_mode_of_its_flow(seed):
    """Newton's method, which takes over from afar at this tolerance, knows one mode only."""
    rng = np.random.default_rng(seed)
    n = 4 + seed % 3
    problem = gf.models.TwoLayerNetwork(
        rng.uniform(-2, 2, (n, 1)), rng.standard_normal(n), width=12, activation="relu"
    )
    landing = gf.limit_map(problem, problem.initial_weights(seed=seed), rtol=0.5)
    assert landing.success
    (before, _), (after, sizes) = (preactivations(problem, w) for w in (landing.path.final, landing.w))
    assert (before * after > -1e-12 * sizes**2).all()


@pytest.mark.parametrize(
    ("activation", "inputs", "width", "n", "seed", "rests"),
    [
        ("relu", 1, 3, 9, 2, False),  # what was reached long ago was not seen, and the flow went on
        ("relu", 1, 3, 9, 4, False),
        ("leaky_relu", 1, 3, 9, 3, False),
        ("abs", 1, 3, 9, 1, False),
        ("abs", 2, 3, 12, 18, False),  # slides at a data point that is fitted
        ("relu", 1, 2, 8, 36, True),  # has died on a surface, where it would come to life again
        ("relu", 2, 3, 12, 17, True),
        ("relu", 3, 4, 20, 24, True),
    ],
)
def test_networks_that_cannot_fit_land_where_the_loss_falls_to_no_side(
    activation, inputs, width, n, seed, rests
):
    rng = np.random.default_rng(1000 * n + seed)
    problem = gf.models.TwoLayerNetwork(
        rng.standard_normal((n, inputs)), rng.standard_normal(n), width=width, activation=activation
    )
    landing = gf.limit_map(problem, problem.initial_weights(seed=seed))
    assert landing.status == ("saddle" if rests else "landed"), landing.message
    assert landing.t < 2e6
    reach, here = 1e-6, problem.loss(landing.w)
    z, sizes = preactivations(problem, landing.w)
    falls = []
    for i, j in zip(*np.nonzero(np.abs(z) < 1e-12 * sizes), strict=True):
        for side in (-reach, reach):
            w = landing.w.copy()
            parts = problem.unflatten(w)
            parts["V"][j] += side * problem._arguments["X"][i]
            parts["b"][j] += side
            falls.append((here - problem.loss(w)) / reach)
        if falls[-1] > 1e-4 or falls[-2] > 1e-4:
            assert f"neuron {j} at data point {i}" in landing.message
    assert falls
    assert (max(falls) > 1e-4) == rests


def test_the_drift_slides_on_the_manifold():
    problem, w0 = network(width=30, n=5)
    landing = gf.limit_map(problem, w0)
    assert landing.success, landing.message
    slow = gf.norm_flow(problem, landing.w, (0, 2))
    assert slow.success, slow.message
    assert slow["train_loss"].max() < 1e-18 * slow["norm"][0] ** 2
    assert (np.diff(slow["norm"]) < 0).all()
    assert "stick" in slow.mode_changes["kind"]


def test_a_drift_that_starts_beside_the_manifold_is_pulled_back_in_its_mode():
    """Scaled, neurons stay at their data points, and the outputs are off by so much."""
    problem, w0 = network(width=30, n=5)
    w = gf.limit_map(problem, w0).w
    assert np.linalg.norm(problem.residual((1 + 1e-9) * w)) > 1e-10
    start = gf.norm_flow(problem, (1 + 1e-9) * w, (0, 0.1)).w[0]
    assert np.linalg.norm(problem.residual(start)) < 1e-13
    assert np.linalg.norm(start - w) < 1e-8 * np.linalg.norm(w)
    (z, sizes), (before, _) = preactivations(problem, start), preactivations(problem, w)
    assert (np.abs(z)[np.abs(before) < 1e-14 * sizes] < 1e-13).all()


@pytest.mark.parametrize("weights", [{"*": 1.0}, {"*": 1.0, "b": 0.0}, {"*": 0.5, "b": 1.0, "u": 0.2}])
def test_the_drift_is_the_limit_of_the_flow(weights):
    problem, w0 = network(width=30, n=5)
    landing = gf.limit_map(problem, w0)
    s = np.array([0.05, 0.1, 0.2])
    slow = gf.norm_flow(problem, landing.w, (0, 0.2), t_eval=s, regularizer=weights, rtol=1e-8, atol=1e-11)
    assert slow.mode_changes.size > 0
    distances = []
    for rate in (1e-5, 1e-6):
        times, limits = s / rate, (0, 0.2 / rate)
        rates = {name: rate * weight for name, weight in weights.items()}
        flow = gf.gradient_flow(
            problem, landing.w, limits, weight_decay=rates, t_eval=times, rtol=1e-8, atol=1e-11
        )
        distances.append(np.linalg.norm(flow.w - slow.w, axis=1).max())
    assert distances[1] < 0.2 * distances[0]  # first order in the rate
    assert distances[1] < 1e-3 * np.linalg.norm(landing.w)


def test_the_drift_asks_for_the_norm():
    problem, w0 = network(width=30, n=5)
    w = gf.limit_map(problem, w0).w
    with pytest.raises(ValueError, match="kink"):
        gf.norm_flow(problem, w, (0, 1), regularizer="hessian_trace")
