"""Networks whose activation has a kink: the exact flow against closed forms, its twin, and its laws."""

import grokflow as gf
import numpy as np
import pytest
import reference.flows
import reference.models
import reference.theory
from relu_cases import CASES, Hinge

RTOL, ATOL = 1e-8, 1e-11


def run(how, network, w0, t_span, *, weight_decay, rtol=RTOL, atol=ATOL, t_eval=None, **options):
    """Integrate a function models -> network by the library or by its twin."""
    if how == "reference":
        flow, models = reference.flows.gradient_flow, reference.models
    else:
        flow, models = gf.gradient_flow, gf.models
    sol = flow(
        network(models), w0, t_span, weight_decay=weight_decay, rtol=rtol, atol=atol, t_eval=t_eval, **options
    )
    assert sol.success, sol.message
    return sol


@pytest.fixture(params=["reference", "compiled"])
def how(request):
    return request.param


# ---------------------------------------------------------------- solved by hand


@pytest.mark.parametrize("hinge", [Hinge(1.7, 0.4, 1.2, 0.9), Hinge(0.8, 1.0, 1.3, 1.3, 0.2)])
def test_hinge_solves_its_equations(hinge):
    t, h = np.linspace(0, 3, 7), 1e-5
    (u, zeta), after, before = hinge.at(t), hinge.at(t + h), hinge.at(t - h)
    r = hinge.kappa * u * zeta - hinge.target
    for i, (x, other) in enumerate([(u, zeta), (zeta, u)]):
        slope = (after[i] - before[i]) / (2 * h)
        np.testing.assert_allclose(slope, -hinge.kappa * other * r - hinge.weight_decay * x, atol=1e-9)
    assert hinge.at(0.0) == pytest.approx((hinge.u, hinge.zeta))
    assert hinge.time_at(hinge.at(0.7)[1]) == pytest.approx(0.7)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_case_solved_by_hand(how, case):
    times = [t for t, _ in case.states]
    sol = run(how, case.network, case.w0, (0, case.t_end), weight_decay=case.weight_decay, t_eval=times)
    for w, (t, exact) in zip(sol.w, case.states, strict=True):
        np.testing.assert_allclose(w, exact, atol=20 * RTOL, err_msg=f"at t = {t}")
    found = sol.mode_changes
    assert [(c["neuron"], c["sample"]) for c in found] == [(j, i) for _, j, i, _ in case.changes]
    for change, (t, _, _, kind) in zip(found, case.changes, strict=True):
        assert change["t"] == pytest.approx(t, abs=20 * RTOL)
        assert kind in (None, change["kind"])


# ---------------------------------------------------------------- the twin


def small_problem(activation, inputs, seed, outputs=(), **options):
    """Return a function models -> network of 4 neurons on 4 data points."""
    rng = np.random.default_rng(seed)
    X, y = rng.uniform(-2, 2, (4, inputs)), rng.normal(size=(4, *outputs))
    if activation == "leaky_relu":
        options["negative_slope"] = 0.2
    return lambda models: models.TwoLayerNetwork(X, y, width=4, activation=activation, **options)


@pytest.mark.parametrize(
    ("activation", "inputs", "seed", "options", "decay"),
    [
        ("relu", 1, 1, {}, {}),
        ("relu", 1, 1, {}, {"b": 0.0}),
        ("relu", 1, 1, {}, {"b": 0.2}),
        ("relu", 2, 3, {}, {}),
        ("relu", 2, 5, {}, {"b": 0.2}),
        ("relu", 2, 2, {}, {"b": 0.0}),
        ("leaky_relu", 1, 1, {"output_bias": True}, {"b": 0.0, "a": 0.0}),
        ("abs", 1, 0, {"output_scale": 0.5}, {"b": 0.1}),
        ("abs", 2, 5, {}, {}),
        ("relu", 2, 3, {"bias": False}, {}),
        ("leaky_relu", 2, 1, {"bias": False, "output_bias": True}, {}),
        ("abs", 3, 2, {"bias": False}, {"u": 0.0}),
        ("relu", 2, 1, {"outputs": (2,), "output_bias": True}, {}),
        ("abs", 2, 3, {"outputs": (3,)}, {"b": 0.0}),
    ],
)
def test_agrees_with_the_twin(activation, inputs, seed, options, decay):
    network = small_problem(activation, inputs, seed, **options)
    w0 = network(gf.models).initial_weights(seed=np.random.default_rng(seed))
    decay = {"*": 0.02, "u": 0.05} | decay
    exact = run("reference", network, w0, (0, 20), weight_decay=decay, rtol=1e-7, atol=1e-10, t_eval=[3, 20])
    found = run("compiled", network, w0, (0, 20), weight_decay=decay, t_eval=[3, 20])
    np.testing.assert_allclose(found.w, exact.w, atol=1e-6)
    for name in ("neuron", "sample", "kind"):
        assert found.mode_changes[name].tolist() == exact.mode_changes[name].tolist()
    np.testing.assert_allclose(found.mode_changes["t"], exact.mode_changes["t"], rtol=1e-5)


@pytest.mark.parametrize(
    ("activation", "inputs", "seed", "options", "train"),
    [
        ("relu", 2, 3, {}, ["V"]),
        ("abs", 3, 2, {}, ["u", "V"]),
        ("leaky_relu", 2, 1, {"outputs": (2,), "output_bias": True}, ["V", "a"]),
        ("relu", 2, 5, {}, ["b"]),
        ("leaky_relu", 3, 2, {}, ["b", "u"]),
        ("abs", 2, 3, {"outputs": (3,)}, ["b"]),
        ("abs", 1, 0, {"output_scale": 0.5}, ["V", "b"]),
        ("relu", 2, 3, {"bias": False}, ["V"]),
    ],
)
def test_agrees_with_the_twin_whichever_weights_are_trained(activation, inputs, seed, options, train):
    whole = small_problem(activation, inputs, seed, **options)
    w0 = 2 * whole(gf.models).initial_weights(seed=np.random.default_rng(seed))

    def network(models):
        trained = models.Trained if models is gf.models else reference.theory.Trained
        return trained(whole(models), w0, train=train)

    v0 = network(gf.models).initial_weights()
    exact = run("reference", network, v0, (0, 8), weight_decay=0.1, rtol=1e-7, atol=1e-10, t_eval=[3, 8])
    found = run("compiled", network, v0, (0, 8), weight_decay=0.1, t_eval=[3, 8])
    assert exact.mode_changes.size > 0
    np.testing.assert_allclose(found.w, exact.w, atol=1e-6)
    for name in ("neuron", "sample", "kind"):
        assert found.mode_changes[name].tolist() == exact.mode_changes[name].tolist()
    np.testing.assert_allclose(found.mode_changes["t"], exact.mode_changes["t"], rtol=1e-5)


def test_without_biases_a_sample_at_0_has_no_surface_and_opposite_ones_share_it():
    """It adds a constant to F. Neurons (u, v) and (u, -v) are u |<v, x>|, and each sees one of x and -x."""
    X, y = np.array([[1.0, 0.5], [-0.3, 1.2]]), np.array([0.4, -0.7])
    u, V = np.array([0.5, -1.0, 0.8]), np.array([[0.4, 1.0], [-0.9, 0.2], [0.1, -1.3]])
    options = {"bias": False, "scale": "sum"}
    one = gf.models.TwoLayerNetwork(X, y, width=3, activation="abs", **options)
    both = gf.models.TwoLayerNetwork(
        [*X, *-X, [0.0, 0.0]], [*y, *y, 1.0], width=6, activation="relu", **options
    )
    a, b = (
        gf.gradient_flow(net, np.concatenate(w0, axis=None), (0, 30), weight_decay=0.02, rtol=RTOL, atol=ATOL)
        for net, w0 in ((one, (u, V)), (both, (u, u, V, -V)))
    )
    assert a.mode_changes.size > 0
    u, V = a.final[:3], a.final[3:]
    np.testing.assert_allclose(b.final, np.concatenate([u, u, V, -V]), atol=1e-6)


@pytest.mark.parametrize("seed", [62, 74])
def test_agrees_with_the_twin_on_a_grid(seed):
    """Where a neuron that slides on two data points is repelled (62), and with equal inputs (74)."""
    rng = np.random.default_rng(seed)
    inputs, n, width = rng.integers(1, 4), rng.integers(2, 7), rng.integers(2, 7)
    X, y = np.round(2 * rng.uniform(-2, 2, (n, inputs))) / 2, rng.normal(size=n)
    check_against_twin(X, y, width, lambda net: net.initial_weights(seed=np.random.default_rng(seed)))


def test_agrees_with_the_twin_where_a_neuron_slides_through_zero():
    """At y = 0 all its signs change at once; several modes are consistent, and it goes on as it came."""
    X = [[0.5], [0.5], [0.0], [-2.0], [1.0], [2.0]]
    y = [0.1757, -0.1958, 0.8137, 1.5428, 0.9991, -0.3134]
    changes = check_against_twin(X, y, 3, lambda net: 3 * net.initial_weights(seed=np.random.default_rng(74)))
    assert max(np.unique(changes["t"], return_counts=True)[1]) == 5


def check_against_twin(X, y, width, start):
    """Compare the flow of a leaky network with its twin's, and return the changes of mode."""

    def network(models):
        return models.TwoLayerNetwork(X, y, width=width, activation="leaky_relu", negative_slope=0.2)

    w0 = start(network(gf.models))
    exact = run("reference", network, w0, (0, 60), weight_decay=0.02, rtol=1e-6, atol=1e-9, t_eval=[20, 60])
    found = run("compiled", network, w0, (0, 60), weight_decay=0.02, t_eval=[20, 60])
    np.testing.assert_allclose(found.w, exact.w, atol=1e-6)
    for name in ("neuron", "sample", "kind"):
        assert found.mode_changes[name].tolist() == exact.mode_changes[name].tolist()
    return found.mode_changes
