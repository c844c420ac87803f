"""Figures: panels, labels, clocks, and a PNG that is one. No comparison of images."""

import dataclasses
import io

import grokflow as gf
import numpy as np
import pytest
from grokflow.solution import Solution

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from grokflow.figures.run import plot  # noqa: E402
from grokflow.figures.style import scientific, start_of_axis  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402


@pytest.fixture
def sol():
    t = np.concatenate([[0.0], np.geomspace(1e-7, 1e5, 150)])
    grad = np.exp(-t) + 1e-6
    return Solution(
        t=t,
        w=None,
        observed={
            "train_loss": grad**2,
            "test_loss": 1.0 / (1.0 + 1e-3 * t),
            "norm": 3.0 / (1.0 + 1e-4 * t),
            "grad_norm": grad,
        },
        final=np.zeros(1),
        t_final=1e5,
        settings={"weight_decay": 1e-4},
    )


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def png(figure):
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def test_a_new_figure_has_two_panels_on_one_logarithmic_time_axis(sol):
    figure = sol.plot()
    upper, lower = figure.axes
    assert upper.get_xscale() == lower.get_xscale() == upper.get_yscale() == "log"
    assert lower.get_xlabel() == "$t$"
    assert upper.get_ylabel() == "loss"
    assert lower.get_ylabel() == r"$\|w\|^2$"
    assert upper.get_xlim() == lower.get_xlim()
    assert [text.get_text() for text in upper.get_legend().get_texts()] == ["train loss $F(w)$", "test loss"]
    assert [text.get_text() for text in upper.texts] == [r"$t_{\mathrm{GF}}$", r"$t_{\mathrm{WD}}$"]
    image = png(figure)
    assert image.startswith(b"\x89PNG")
    assert len(image) > 10_000


def test_a_given_figure_is_filled_like_a_new_one(sol):
    """As the commands do, for which pyplot has nothing to show."""
    given, shown = Figure(), plt.get_fignums()
    assert plot(sol, figure=given) is given
    assert plt.get_fignums() == shown
    assert png(given) == png(sol.plot())


def test_axes_of_a_figure_within_a_figure(sol):
    figure = plt.figure()
    assert sol.plot(figure.subfigures(1, 2)[1].subplots()) is figure


def test_the_time_axis_starts_where_something_begins_to_happen(sol):
    assert start_of_axis(sol) == pytest.approx(1e-3)
    assert sol.plot().axes[0].get_xlim() == pytest.approx((1e-3, 1e5))


def test_the_legend_is_outside_of_the_axes(sol):
    figure = sol.plot()
    png(figure)
    upper = figure.axes[0]
    assert upper.get_legend().get_window_extent().y0 >= upper.get_window_extent().y1


def test_given_axes_get_the_norm_on_the_right(sol):
    figure, ax = plt.subplots()
    assert sol.plot(ax) is figure
    assert len(figure.axes) == 2
    assert figure.axes[1].get_ylabel() == r"$\|w\|^2$"
    assert png(figure)


def test_style_stays_with_the_figure(sol):
    before = dict(matplotlib.rcParams)
    sol.plot()
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("names", [[], ["norm"], ["train_loss"], ["train_loss", "norm", "grad_norm"]])
def test_any_set_of_observables_gives_a_figure(sol, names):
    few = dataclasses.replace(sol, observed={name: sol.observed[name] for name in names})
    assert png(few.plot())


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_run_that_ended_at_once_gives_a_figure(sol, count):
    observed = {name: values[:count] for name, values in sol.observed.items()}
    assert png(dataclasses.replace(sol, t=sol.t[:count], observed=observed).plot())


def test_a_loss_of_zero_has_no_place_on_the_axis_and_does_no_harm(sol):
    sol.observed["train_loss"][:] = 0.0
    assert png(sol.plot())


def test_scientific():
    assert scientific(1e-4) == "$10^{-4}$"
    assert scientific(3e-4) == r"$3\times 10^{-4}$"
    assert scientific(0.0125) == r"$1.25\times 10^{-2}$"


@pytest.mark.parametrize("t0", [-5.0, 0.0, 7.0])
def test_the_axis_is_the_time_since_the_start(t0):
    """Wherever that is: the flow knows no time, and so looks the same."""
    problem = gf.models.LinearRegression(np.eye(2, 3), np.ones(2))
    lines = []
    for start in (0.0, t0):
        times = start + np.r_[0.0, np.geomspace(1e-2, 1e3, 30)[:-1], 1e3]
        span = (start, start + 1e3)
        sol = gf.gradient_flow(problem, np.ones(3) * 3, span, weight_decay=0.01, t_eval=times)
        upper, lower = sol.plot().axes
        lines.append(
            [line.get_data() for ax in (upper, lower) for line in ax.lines if len(line.get_xdata()) > 2]
        )
        assert lower.get_xlabel() == {-5.0: "$t +5$", 0.0: "$t$", 7.0: "$t -7$"}[start]
    for (t, y), (other_t, other_y) in zip(*lines, strict=True):
        assert t == pytest.approx(other_t, rel=1e-4)
        assert y == pytest.approx(other_y, rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("t_eval", [[0.0], [10.0], [0.0, 10.0]])
def test_few_times_are_seen(t_eval):
    problem = gf.models.LinearRegression(np.eye(2, 3), np.ones(2))
    sol = gf.gradient_flow(problem, np.ones(3) * 3, (0, 10), weight_decay=0.01, t_eval=t_eval)
    figure = sol.plot()
    upper, lower = figure.axes
    low, high = upper.get_xlim()
    for line in (upper.lines[0], lower.lines[0]):
        t, y = line.get_data()
        assert len(t) == len(set(t)) == len(t_eval)
        assert low <= min(t) <= max(t) <= high
        assert np.isfinite(y).all()
        assert (line.get_marker() == "o") == (len(t) == 1)
    none = {name: values[:0] for name, values in sol.observed.items()}
    empty = dataclasses.replace(sol, t=sol.t[:0], observed=none).plot()
    assert empty.axes[0].texts[0].get_text() == "no times were recorded"


@pytest.mark.parametrize("t_end", [1e150, 1e250, 1e300, 1e308])
def test_times_up_to_the_largest_numbers(t_end):
    sol = gf.gradient_flow(
        gf.models.LinearRegression([[1.0, 0.5]], [1.0]), [3.0, 2.0], (0, t_end), weight_decay=1e-3
    )
    figure = sol.plot()
    figure.savefig(io.BytesIO(), format="png")
    assert len(figure.axes[-1].get_xticks()) > 3
    plt.close(figure)
