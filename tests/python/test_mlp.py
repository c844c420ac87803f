"""Deep networks: the kernel in tiles, the flows through both phases, and laws that only they have."""

import subprocess
import sys
from itertools import pairwise

import grokflow as gf
import numpy as np
import pytest
import reference.models
from reference import flows as reference_flows

rng = np.random.default_rng(11)


def network(n, p, widths, outputs=(), **options):
    return gf.models.MLP(rng.normal(size=(n, p)), rng.normal(size=(n, *outputs)), widths, **options)


# ---------------------------------------------------------------- functions


@pytest.mark.parametrize(("n", "outputs"), [(450, ()), (90, (3,)), (60, (10,))])
def test_kernel_over_many_tiles(n, outputs):
    net = network(n, 7, (40, 30), outputs)
    w = net.initial_weights()
    J = net.jacobian(w)
    np.testing.assert_allclose(net.gram(w), J @ J.T, atol=1e-12 * np.abs(J @ J.T).max())


def test_one_hidden_layer_is_a_two_layer_network():
    X, y, m = rng.normal(size=(6, 3)), rng.normal(size=6), 5
    deep = gf.models.MLP(X, y, (m,), activation="erf")
    two = gf.models.TwoLayerNetwork(X, y, width=m, activation="erf", output_bias=True)
    w, v = rng.normal(size=(2, deep.num_params))
    order = np.concatenate([np.arange(w.size)[deep.blocks[name]] for name in ("W2", "W1", "b1", "b2")])
    np.testing.assert_allclose(deep.gradient(w)[order], two.gradient(w[order]), atol=1e-13)
    np.testing.assert_allclose(deep.hvp(w, v)[order], two.hvp(w[order], v[order]), atol=1e-12)
    np.testing.assert_allclose(deep.gram(w), two.gram(w[order]), atol=1e-12)


def test_outputs_in_a_column_are_one_output():
    X, y = rng.normal(size=(4, 2)), rng.normal(size=4)
    flat, column = gf.models.MLP(X, y, (3,)), gf.models.MLP(X, y[:, None], (3,))
    w = flat.initial_weights()
    assert np.array_equal(flat.gradient(w), column.gradient(w))
    assert flat.predict(w).shape == (4,)
    assert column.predict(w).shape == (4, 1)


def test_outputs_do_not_grow_with_the_widths():
    X = rng.normal(size=(300, 50))
    sizes = []
    for width in (50, 800):
        net = gf.models.MLP(X, np.zeros(300), (width, width))
        sizes.append(np.std([net.predict(net.initial_weights(seed=seed)) for seed in range(20)]))
    assert sizes[1] == pytest.approx(sizes[0], rel=0.3)


MEMORY = """
import resource
import numpy as np, grokflow as gf
problem = gf.models.MLP(np.ones((200, 10)), np.ones(200), (1000, 1000))
w = problem.initial_weights()
begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
problem.gradient(w)
print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - begin) / w.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts in KiB on Linux")
def test_a_gradient_takes_the_memory_of_a_few_weight_vectors():
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 4


# ---------------------------------------------------------------- flows


def test_flow_is_that_of_the_reference():
    net = network(4, 2, (3, 2), (2,), activation="softplus")
    twin = reference.models.MLP(net._arguments["X"], net._arguments["y"], (3, 2), activation="softplus")
    w0 = net.initial_weights()
    options = {"weight_decay": 1e-2, "rtol": 1e-8, "atol": 1e-11, "t_eval": None}
    expected = reference_flows.gradient_flow(twin, w0, (0, 50), **options)
    for method in ("BDF", "Radau"):
        sol = gf.gradient_flow(net, w0, (0, 50), method=method, **options)
        assert sol.success
        np.testing.assert_allclose(sol.final, expected.final, atol=5e-7)


def test_layers_of_a_linear_network_balance():
    """d/dt (W2^T W2 - W1 W1^T) = -2 lam (W2^T W2 - W1 W1^T), for each pair of layers."""
    net = network(6, 3, (4, 5), (2,), activation="identity", bias=False)
    w0, lam, t = net.initial_weights(), 0.05, 7.0

    def balance(w):
        W = list(net.unflatten(w).values())
        return [above.T @ above - below @ below.T for below, above in pairwise(W)]

    sol = gf.gradient_flow(net, w0, (0, t), weight_decay=lam, rtol=1e-9, atol=1e-12)
    for before, after in zip(balance(w0), balance(sol.final), strict=True):
        np.testing.assert_allclose(after, np.exp(-2 * lam * t) * before, atol=1e-7)


def test_weight_decay_by_block_leaves_out_the_biases():
    net = network(5, 2, (6, 6))
    decay = {"*": 1e-2} | {name: 0.0 for name in net.blocks if name.startswith("b")}
    w0 = net.initial_weights()
    gram, dense = (
        gf.gradient_flow(net, w0, (0, 100), weight_decay=decay, curvature=curvature, rtol=1e-8, atol=1e-11)
        for curvature in ("gram", "dense")
    )
    np.testing.assert_allclose(gram.final, dense.final, atol=1e-6)


def test_both_phases():
    X = rng.normal(size=(8, 2))
    net = gf.models.MLP(X, np.sin(X[:, 0]), (10, 10), test=(X + 0.1, np.sin(X[:, 0] + 0.1)))
    phases = gf.two_phase(net, net.initial_weights(), weight_decay=[1e-2, 1e-3], s_end=1.0)
    assert phases.landing.success
    assert np.linalg.norm(net.residual(phases.landing.w)) < 1e-8
    assert np.all(np.diff(phases.slow["norm"]) <= 1e-9)


def test_kinks_are_told_where_a_flow_is_asked_for():
    for activation in ("relu", "leaky_relu", "abs"):
        net = network(3, 2, (4, 4), activation=activation)
        w = net.initial_weights()
        net.gradient(w)
        with pytest.warns(UserWarning, match=f"activation '{activation}' has kinks, .*'smooth_relu'"):
            gf.gradient_flow(net, w, (0, 1e-3), weight_decay=1e-2)
    with pytest.warns(UserWarning, match="has kinks"):
        gf.limit_map(net, w, max_steps=1)
    smooth = network(3, 2, (4, 4), activation="smooth_relu", smoothing=0.1)
    assert gf.gradient_flow(smooth, smooth.initial_weights(), (0, 1), weight_decay=1e-2).success
