"""Figures of networks with one input: kinks, functions, and what cannot be drawn. No comparison of images."""

import dataclasses
import io

import grokflow as gf
import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

X, Y = np.array([[-1.0], [0.0], [0.5], [1.0]]), np.array([1.0, 0.5, 0.0, 0.5])


def network(activation="smooth_relu", **options):
    return gf.models.TwoLayerNetwork(X, Y, width=6, activation=activation, **options)


@pytest.fixture(scope="module")
def problem():
    return network()


@pytest.fixture(scope="module")
def sol(problem):
    return gf.gradient_flow(problem, problem.initial_weights(seed=0), (0, 1e3), weight_decay=1e-2)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def png(figure):
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def test_kinks_are_where_the_pre_activation_is_0(sol, problem):
    (ax,) = sol.plot_modes().axes
    (collection,) = ax.collections
    V, b = (sol.w[:, problem.blocks[name]] for name in "Vb")
    drawn = np.concatenate([segment for segment in collection.get_segments() if len(segment) == 2])
    for t, x in drawn[::7]:
        row = np.flatnonzero(sol.t == t)[0]
        assert np.abs(V[row] * x + b[row]).min() < 1e-12
    assert collection.get_array().size == 6 * np.sum(sol.t > ax.get_xlim()[0])  # one segment up to each
    assert collection.get_array().min() >= 0
    assert ax.get_xscale() == "log"
    lines = {line.get_ydata()[0] for line in ax.lines}
    assert lines == set(X[:, 0])


def test_function_at_the_recorded_time_that_is_nearest(sol, problem):
    (ax,) = sol.plot_function([0, 1.0, 1e3], teacher=np.abs).axes
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[0] == "$t=0$"
    assert "teacher" in labels
    assert labels[-1] == "data"
    x, start = ax.lines[0].get_data()
    np.testing.assert_allclose(start, problem.predict(sol.w[0], np.reshape(x, (-1, 1))))
    end = ax.lines[2].get_ydata()
    np.testing.assert_allclose(end, problem.predict(sol.w[-1], np.reshape(x, (-1, 1))))
    assert len(ax.lines) == 5


def test_smooth_networks_and_one_time_are_drawn_too():
    smooth = network("tanh", output_bias=True)
    sol = gf.gradient_flow(smooth, smooth.initial_weights(seed=0), (0, 10), weight_decay=1e-2)
    assert png(sol.plot_modes()).startswith(b"\x89PNG")
    assert png(sol.plot_function(3.0)).startswith(b"\x89PNG")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_run_that_ended_at_once_gives_a_figure(sol, count):
    short = dataclasses.replace(sol, t=sol.t[:count], w=sol.w[:count], observed={})
    assert png(short.plot_modes())
    assert png(short.plot_function([0]))


def test_given_axes_are_drawn_on(sol):
    figure, axes = plt.subplots(2)
    before = dict(matplotlib.rcParams)
    assert sol.plot_modes(ax=axes[0]) is figure
    assert sol.plot_function([1], ax=axes[1]) is figure
    assert dict(matplotlib.rcParams) == before
    assert png(figure)


def test_a_loaded_solution_takes_the_problem_from_its_caller(sol, problem, tmp_path):
    sol.save(tmp_path / "run.npz")
    loaded = gf.Solution.load(tmp_path / "run.npz")
    with pytest.raises(ValueError, match=r"plot_modes needs the problem.*problem="):
        loaded.plot_modes()
    assert png(loaded.plot_modes(problem))
    assert png(loaded.plot_function([1.0], problem))


def test_networks_of_several_outputs_are_drawn():
    """One line for each output; a kink has the colour of the length of its outer weights."""
    net = gf.models.TwoLayerNetwork(X, np.stack([Y, 1.0 - Y], axis=1), width=5, activation="relu")
    sol = gf.gradient_flow(net, net.initial_weights(seed=0), (0, 100), weight_decay=1e-2)
    lines = sol.plot_modes().axes[0].collections[0].get_array()
    u = sol.w[:, net.blocks["u"]].reshape(len(sol.t), 5, 2)
    assert lines.max() <= np.linalg.norm(u, axis=2).max() * (1 + 1e-12)
    assert len(sol.plot_function([100.0]).axes[0].lines) >= 2


def test_what_cannot_be_drawn(sol, problem):
    plane = gf.models.TwoLayerNetwork(np.hstack([X, X]), Y, width=6, activation="relu")
    with pytest.raises(ValueError, match="one input, and this one has 2"):
        sol.plot_modes(plane)
    with pytest.raises(TypeError, match="problem is LinearRegression"):
        sol.plot_modes(gf.models.LinearRegression(X, Y))
    with pytest.raises(ValueError, match="problem has 3 parameters, and the solution 18"):
        sol.plot_modes(gf.models.TwoLayerNetwork(X, Y, width=1))
    with pytest.raises(ValueError, match="save_states=True"):
        dataclasses.replace(sol, w=None).plot_function([1.0], problem)
    with pytest.raises(ValueError, match=r"times has 2000.0; recorded are 0.0 to 1000.0"):
        sol.plot_function([1.0, 2000.0])


def test_many_times_have_a_legend_of_several_rows(sol, problem):
    figure = sol.plot_function([0, 1, 5, 10, 100, 1e3], problem=problem)
    figure.canvas.draw()
    (ax,) = figure.axes
    frame, legend = ax.get_window_extent(), ax.get_legend().get_window_extent()
    assert frame.width > 0.8 * figure.bbox.width
    assert legend.x1 <= figure.bbox.x1
    assert legend.y0 >= frame.y1


def test_drifts_are_drawn_in_slow_time():
    net = gf.models.TwoLayerNetwork(X, Y, width=12, activation="relu")
    slow = gf.norm_flow(net, gf.limit_map(net, net.initial_weights(seed=0)).w, (0, 2))
    assert slow.plot().axes[1].get_xlabel() == "$s$"
    assert slow.plot_modes().axes[0].get_xlabel() == "$s$"
    legend = slow.plot_function([0, 2]).axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()][:2] == ["$s=0$", "$s=2$"]
