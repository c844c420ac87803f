"""Networks whose activation has a kink: the limits that their flow is, and the laws that it obeys."""

import grokflow as gf
import numpy as np
import pytest
from descent import errors_of_descent

LAM = 0.02


def network(activation="relu", seed=1, inputs=1, n=4, width=4, y=None, **options):
    rng = np.random.default_rng(seed)
    X, targets = rng.uniform(-2, 2, (n, inputs)), rng.normal(size=n)
    y = targets if y is None else y
    return gf.models.TwoLayerNetwork(X, y, width=width, activation=activation, **options)


def figure_problem(seed=3):
    """Return the paper's problem (Figure 3), and its start."""
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(-2, 2, 10))
    y = np.maximum(np.outer(x, [1, -1, 1]) + np.array([0.5, 0.3, -0.7]), 0) @ [1, 1, -2]
    net = gf.models.TwoLayerNetwork(x[:, None], y, width=100, activation="relu")
    return net, net.initial_weights(std=2.0, seed=np.random.default_rng(seed))


def run(net, w0, t_end, weight_decay=LAM, rtol=1e-8, atol=1e-11, t_eval=None, **options):
    sol = gf.gradient_flow(
        net, w0, (0, t_end), weight_decay=weight_decay, rtol=rtol, atol=atol, t_eval=t_eval, **options
    )
    assert sol.success, sol.message
    return sol


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("activation", "seed", "inputs", "rates", "options"),
    [
        ("relu", 1, 1, {"b": 0.0}, {}),
        ("relu", 5, 2, {}, {}),
        ("relu", 2, 2, {"b": 0.2, "u": 0.0}, {}),
        ("abs", 0, 1, {}, {}),
        ("abs", 5, 2, {"b": 0.0}, {}),
        ("leaky_relu", 1, 1, {"b": 0.0}, {}),
        ("relu", 1, 1, {}, {"y": [[1.0, -0.3], [0.5, 0.9], [-1.0, 0.2], [0.1, -1.2]]}),
        ("relu", 3, 2, {}, {"y": [0, 1, 2, 1], "loss": "cross_entropy"}),
    ],
)
def test_gradient_descent_tends_to_it_at_first_order(activation, seed, inputs, rates, options):
    net = network(activation, seed, inputs, **options)
    w0, t_end = net.initial_weights(seed=np.random.default_rng(seed)), 20.0
    sol = run(net, w0, t_end, {"*": LAM} | rates)
    D = np.full(w0.size, LAM)
    for name, rate in rates.items():
        D[net.blocks[name]] = rate
    steps = 0.01 / 2.0 ** np.arange(4)
    errors = errors_of_descent(net, w0, sol, lambda t: D, steps)
    assert errors[-1] < 2e-3
    assert np.polyfit(np.log(steps), np.log(errors), 1)[0] == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_smoothed_flow_tends_to_it(seed):
    exact, errors = network("relu", seed), []
    w0 = exact.initial_weights(seed=np.random.default_rng(seed))
    end = run(exact, w0, 20.0).final
    for smoothing in (1e-2, 1e-3, 1e-4, 1e-5):
        smooth = network("smooth_relu", seed, smoothing=smoothing)
        errors.append(np.abs(run(smooth, w0, 20.0, method="Radau").final - end).max())
    assert errors[-1] < 1e-4
    assert np.all(np.diff(np.log10(errors)) < -0.7)


# ---------------------------------------------------------------- laws


def test_the_regularised_loss_falls_along_every_mode_and_over_every_change():
    net, w0 = figure_problem()
    lam = 1e-3
    sol = run(net, w0, 1e5, lam, rtol=1e-6, atol=1e-9)
    energy = sol["train_loss"] + lam / 2 * sol["norm"] ** 2
    assert sol.mode_changes.size > 100
    assert np.isin(sol.mode_changes["t"], sol.t).all()  # a change of mode is the end of a step
    assert np.all(np.diff(energy) <= 1e-9 * energy[:-1])


@pytest.mark.parametrize("seed", [26, 28])
def test_figure_3_takes_few_steps_with_any_data(seed):
    """With 28 two neurons come back to the data point they have left before the stages tell them from it."""
    pytest.importorskip("matplotlib")
    from grokflow.app.experiments.relu import experiment

    figure = experiment(seed, None, small=False)
    sol = run(figure.problem, figure.w0, 1e6, 1e-3, rtol=1e-6, atol=1e-9)
    assert sol.stats["nsteps"] <= 2000
    assert sol.stats["nfev"] <= 12000


def test_the_laws_hold_with_many_inputs():
    """In ten dimensions a neuron slides on several data points, and hundreds of modes follow each other."""
    net = network("relu", 4, inputs=10, n=20, width=20)
    w0, lam, counts = net.initial_weights(seed=np.random.default_rng(4)), 1e-3, []
    for rtol in (1e-5, 1e-7, 1e-9):
        sol = run(net, w0, 1e4, lam, rtol=rtol, atol=1e-3 * rtol)
        energy = sol["train_loss"] + lam / 2 * sol["norm"] ** 2
        assert np.all(np.diff(energy) <= 1e-12 * energy[:-1])
        assert np.all(np.diff(sol.t) > 0)
        assert np.isin(sol.mode_changes["t"], sol.t).all()
        counts.append(sol.mode_changes.size)
    assert counts[0] > 200
    assert counts[-1] <= counts[0]


def test_no_time_is_stepped_over_twice():
    net, w0 = figure_problem()
    sol = run(net, w0, 1e4, 1e-3, rtol=1e-6, atol=1e-9)
    assert np.all(np.diff(sol.t) > 0)
    assert len(sol.t) == sol.stats["nsteps"] + 1
    assert np.all(np.diff(sol.mode_changes["t"]) >= 0)


def test_no_chatter():
    """Changes of mode belong to the solution: a smaller tolerance finds no more of them."""
    net, w0 = figure_problem()
    counts = [run(net, w0, 1e5, 1e-3, rtol, 1e-3 * rtol).mode_changes.size for rtol in (1e-5, 1e-7, 1e-9)]
    assert max(counts[1:]) <= 1.02 * counts[0]
    assert counts[-1] < 400


@pytest.mark.parametrize("activation", ["relu", "abs", "leaky_relu"])
@pytest.mark.parametrize("inputs", [1, 3])
def test_neurons_keep_their_balance(activation, inputs):
    """d/dt (u_j^2 - |y_j|^2) = -2 lam (u_j^2 - |y_j|^2), for act(z) = act'(z) z, and what sliding takes from
    the velocity of y_j is orthogonal to y_j."""
    net = network(activation, 2, inputs, n=8, width=12)
    parts = net.blocks

    def balance(t, w):
        inner = np.sum(w[parts["V"]].reshape(12, -1) ** 2, axis=1) + w[parts["b"]] ** 2
        return w[parts["u"]] ** 2 - inner

    sol = run(net, net.initial_weights(seed=np.random.default_rng(2)), 100.0, observe={"balance": balance})
    assert (sol.mode_changes["kind"] == "stick").sum() >= 3
    exact = np.exp(-2 * LAM * sol.t)[:, None] * sol["balance"][0]
    np.testing.assert_allclose(sol["balance"], exact, atol=1e-6)


def slid(changes):
    """Return {(neuron, sample)} that slide after these changes."""
    sliding = set()
    for _, neuron, sample, kind in changes:
        (sliding.add if kind in ("stick", "pin") else sliding.discard)((int(neuron), int(sample)))
    return sliding


def test_kinks_that_slide_stay_at_their_data_points():
    net, w0 = figure_problem()
    sol = run(net, w0, 1e4, 1e-3, rtol=1e-6, atol=1e-9)
    x, (v, b) = net._arguments["X"][:, 0], (sol.final[net.blocks[name]] for name in "Vb")
    now = slid(sol.mode_changes)
    assert len(now) > 20
    for neuron, sample in now:
        size = max(abs(v[neuron]), abs(b[neuron]))
        assert abs(v[neuron] * x[sample] + b[neuron]) <= 1e-12 * size + 1e-30  # a pinned one has all but died


def test_inputs_in_three_dimensions_let_a_neuron_slide_on_several_data_points():
    net = network("relu", 4, inputs=3, n=15, width=15)
    sol = run(net, net.initial_weights(seed=np.random.default_rng(4)), 1e3, 1e-2, rtol=1e-6, atol=1e-9)
    neurons = [neuron for neuron, _ in slid(sol.mode_changes)]
    assert 2 <= max(map(neurons.count, neurons)) <= 3


# ---------------------------------------------------------------- the same flow, told otherwise


def test_order_of_neurons_and_data_points_does_not_matter():
    net = network("relu", 1, n=6, width=5)
    w0, rng = net.initial_weights(seed=np.random.default_rng(1)), np.random.default_rng(0)
    neurons, samples = rng.permutation(5), rng.permutation(6)
    X, y = net._arguments["X"], net._arguments["y"]
    other = gf.models.TwoLayerNetwork(X[samples], y[samples], width=5, activation="relu")
    index = np.arange(15).reshape(3, 5)[:, neurons].ravel()
    a, b = run(net, w0, 50.0), run(other, w0[index], 50.0)
    np.testing.assert_allclose(b.final, a.final[index], atol=1e-6)
    assert a.mode_changes.size == b.mode_changes.size > 0
    assert neurons[b.mode_changes["neuron"]].tolist() == a.mode_changes["neuron"].tolist()
    assert samples[b.mode_changes["sample"]].tolist() == a.mode_changes["sample"].tolist()


@pytest.mark.parametrize("spread", [0.0, 0.5])
@pytest.mark.parametrize("activation", ["relu", "abs"])
def test_a_repeated_data_point_is_one_of_twice_the_weight(activation, spread):
    """Its target is their mean: the rest of F is constant."""
    net = network(activation, 1)
    X, y, w0 = net._arguments["X"], net._arguments["y"], net.initial_weights(seed=np.random.default_rng(1))
    twice = np.repeat(np.arange(4), 2)
    targets = y[twice] + np.tile([-spread, spread], 4)
    two = gf.models.TwoLayerNetwork(X[twice], targets, width=4, activation=activation, scale="sum")
    one = gf.models.TwoLayerNetwork(X, y, width=4, activation=activation, scale=2.0)
    a, b = run(one, w0, 20.0), run(two, w0, 20.0)
    np.testing.assert_allclose(b.final, a.final, atol=1e-6)
    assert (twice[b.mode_changes["sample"]] == a.mode_changes["sample"]).all()


def test_leaky_relu_of_slope_0_is_relu():
    a, b = (network(name, 1, **o) for name, o in [("relu", {}), ("leaky_relu", {"negative_slope": 0.0})])
    w0 = a.initial_weights(seed=np.random.default_rng(1))
    assert np.array_equal(run(a, w0, 20.0).final, run(b, w0, 20.0).final)


def test_leaky_relu_of_slope_1_has_no_kink():
    net = network("leaky_relu", 1, negative_slope=1.0)
    linear = network("identity", 1)
    w0 = net.initial_weights(seed=np.random.default_rng(1))
    a, b = run(net, w0, 20.0), run(linear, w0, 20.0)
    np.testing.assert_allclose(a.final, b.final, atol=1e-7)
    assert a.mode_changes.size == 0


# ---------------------------------------------------------------- limits of what it does


def test_dead_neurons_and_zero_weights_only_decay():
    net = network("relu", 1)
    sol = run(net, np.zeros(net.num_params), 5.0)
    assert not sol.final.any()
    dead = np.array([1.0, -1.0, 0.5, 2.0, *np.zeros(4), -1.0, -2.0, -3.0, -1e-9])
    np.testing.assert_allclose(run(net, dead, 5.0).final, dead * np.exp(-LAM * 5.0), rtol=1e-6)


def test_bdf_needs_a_smooth_past():
    net = network("relu", 1)
    with pytest.raises(ValueError, match="smooth only piece by piece"):
        gf.gradient_flow(net, net.initial_weights(), (0, 1), weight_decay=1e-3, method="BDF")


# ---------------------------------------------------------------- small weight decay


def random_network(seed):
    """Return a network with some activation that has a kink, some inputs and targets; and a start."""
    rng = np.random.default_rng(seed)
    inputs, activation = 1 + seed % 3, ("relu", "leaky_relu", "abs")[seed // 3 % 3]
    X = rng.standard_normal((9, inputs))
    y = np.sin(X.sum(axis=1)) if seed % 2 else rng.standard_normal(9)
    net = gf.models.TwoLayerNetwork(X, y, width=18, activation=activation)
    return net, (1.0 if seed % 4 else 0.3) * net.initial_weights(seed=np.random.default_rng(seed))


def check_no_chatter(seed, lam, rtol, rates):
    net, w0 = random_network(seed)
    rates = {"*": lam} | {name: lam * factor for name, factor in rates.items()}
    sol = gf.gradient_flow(
        net, w0, (0, 10 / lam), weight_decay=rates, rtol=rtol, atol=1e-3 * rtol, max_steps=100_000
    )
    assert sol.success, sol.message
    assert sol.mode_changes.size <= 250
    assert sol.stats["nsteps"] <= 4000
    assert np.all(np.diff(sol.mode_changes["t"]) >= 0)


@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
@pytest.mark.parametrize("seed", [*range(13), 34, 71, 144])
def test_forces_far_below_the_tolerance_make_no_chatter(seed, rtol):
    """In the slow phase residuals are of the size of the weight decay, and still decide who slides.

    With 34, 144 and, at 1e-6, 4 a plateau of the loss is left where a neuron crosses a data point."""
    check_no_chatter(seed, 1e-8, rtol, {})


@pytest.mark.parametrize("seed", range(6))
def test_nor_where_biases_decay_otherwise(seed):
    check_no_chatter(seed, 1e-8, 1e-3, {"b": 0.0} if seed % 2 else {"b": 2.0, "u": 0.5})


@pytest.mark.parametrize(("seed", "rtol"), [(25, 1e-9), (93, 1e-6), (102, 1e-6)])
def test_several_units_leave_their_surfaces_almost_at_once(seed, rtol):
    """Where a plateau is left, so that forces change sooner than a step of the plateau can tell."""
    check_no_chatter(seed, 1e-8, rtol, {"b": 2.0, "u": 0.5})


@pytest.mark.slow
@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
def test_two_hundred_networks_make_no_chatter(rtol):
    for seed in range(200):
        check_no_chatter(seed, 1e-8, rtol, {})


@pytest.mark.parametrize("seed", range(12))
def test_the_path_does_not_depend_on_the_tolerance(seed):
    net, w0 = random_network(seed)
    lam, ends = 1e-8, []
    for rtol in (1e-3, 1e-7):
        sol = gf.gradient_flow(net, w0, (0, 3 / lam), weight_decay=lam, rtol=rtol, atol=1e-3 * rtol)
        ends.append(sol.final)
    assert np.abs(ends[0] - ends[1]).max() < 1e-3 * np.abs(ends[1]).max()


@pytest.mark.parametrize("seed", [4, 7, 8, 9, 11])
def test_a_weaker_decay_takes_no_more_than_its_decades(seed):
    """From 1e-5 to 1e-8 time has half as many decades more, and the same modes."""
    rng = np.random.default_rng(seed)
    n = 4 + seed % 3
    X, y = rng.uniform(-2, 2, (n, 1 + seed % 2)), rng.standard_normal(n)
    net = gf.models.TwoLayerNetwork(X, y, width=10, activation="relu")
    w0 = net.initial_weights(seed=np.random.default_rng(seed))
    strong, weak = (
        gf.gradient_flow(net, w0, (0, 10 / lam), weight_decay=lam, rtol=1e-4, observe={})
        for lam in (1e-5, 1e-8)
    )
    assert weak.mode_changes.size == strong.mode_changes.size
    assert weak.stats["nfev"] < 2 * strong.stats["nfev"]


def test_neurons_pinned_at_zero_stay_there_exactly():
    """Round-off of their inner weights would cross all surfaces, over and over, and pass for curvature."""
    rng = np.random.default_rng(8058)
    X, y = rng.standard_normal((8, 1)), rng.standard_normal(8)
    net = gf.models.TwoLayerNetwork(X, y, width=2, activation="abs")
    landing = gf.limit_map(net, net.initial_weights(seed=58), max_steps=2000)
    assert landing.status == "landed", landing.message
    assert not landing.w[2:].any()
    loss = net.loss(landing.w)
    for direction in rng.standard_normal((200, 6)):
        assert net.loss(landing.w + 1e-4 * direction) > loss


@pytest.mark.parametrize("seed", [2, 16, 28, 34])
def test_round_off_is_no_crossing(seed):
    """The tolerance is that of the steps of a landing with rtol 1e-11."""
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((6, 2)), rng.standard_normal(6)
    net = gf.models.TwoLayerNetwork(X, y, width=30, activation="relu")
    w0 = net.initial_weights(seed=seed)
    exact = run(net, w0, 0.08, 1e-4, rtol=3e-13, atol=3e-16)
    near = run(net, w0, 0.08, 1e-4, rtol=1e-9, atol=1e-12)
    assert exact.mode_changes.size > 0
    assert exact.mode_changes["sample"].tolist() == near.mode_changes["sample"].tolist()
    np.testing.assert_allclose(exact.final, near.final, atol=1e-7)


@pytest.mark.parametrize("seed", [12, 29])
def test_what_slides_on_the_manifold_goes_on_sliding(seed):
    """Beside the surface forces might keep it there, too; but the flow slides, and so is its residual."""
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((5, 2)), rng.standard_normal(5)
    net = gf.models.TwoLayerNetwork(X, y, width=20, activation="relu")
    w0, lam, s = net.initial_weights(seed=seed), 1e-6, np.array([0.2, 0.7, 1.3])
    slow = gf.norm_flow(net, gf.limit_map(net, w0, rtol=1e-8).w, (0, 1.3), rtol=1e-8, t_eval=s)
    sol = run(net, w0, 1.3 / lam, lam, t_eval=s / lam)
    for w, beside in zip(slow.w, sol.w, strict=True):
        residual = net.residual(beside)
        error = np.linalg.norm(gf.first_order_residual(net, w, lam) - residual)
        assert error < 2e-3 * np.linalg.norm(residual)


def test_steps_at_the_spacing_of_times_leave_the_loss_where_it_is():
    """Where modes change within the last digits of t, no step goes beyond what it knows."""
    rng = np.random.default_rng(3)
    net = gf.models.TwoLayerNetwork(
        rng.standard_normal((4, 6)), rng.standard_normal(4), width=5, activation="relu"
    )
    w0 = 1e-12 * np.random.default_rng(53).standard_normal(net.num_params)
    with pytest.warns(gf.PrecisionWarning, match="leave it at another time"):
        landing = gf.limit_map(net, w0, rtol=1e-11)
    assert np.diff(landing.path["train_loss"]).max() < 1e-9
