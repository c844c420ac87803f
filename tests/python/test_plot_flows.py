"""Figures of several runs: one line for each, laws with their slopes, and components over time."""

import dataclasses

import grokflow as gf
import numpy as np
import pytest
from grokflow.solution import Solution

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def run(lam):
    t = np.concatenate([[0.0], np.geomspace(1e-3, 10 / lam, 60)])
    values = np.exp(-lam * t)
    return Solution(
        t=t,
        w=None,
        observed={
            "train_loss": 1e-8 + np.exp(-t),
            "test_loss": 1e-6 + values,
            "accuracy": 1.0 - 0.5 * values,
            "coefficients": np.outer(values, [1.0, 2.0, 3.0]),
        },
        final=np.zeros(1),
        t_final=10 / lam,
    )


def test_flows_are_lines_from_dark_to_light():
    flows = {lam: run(lam) for lam in (1e-2, 1e-3, 1e-4)}
    (ax,) = gf.plot_flows(flows, beside="train_loss").axes
    assert len(ax.lines) == 6
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert ax.get_xlim()[1] == pytest.approx(1e5)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == [rf"$\lambda$ = $10^{{-{k}}}$" if k > 2 else r"$\lambda$ = 0.01" for k in (2, 3, 4)]
    assert "dotted: train loss" in ax.get_ylabel()


def test_shares_are_on_a_linear_axis_and_texts_are_labels():
    (ax,) = gf.plot_flows({"a run": run(1e-2)}, "accuracy").axes
    assert ax.get_yscale() == "linear"
    assert ax.get_legend().get_texts()[0].get_text() == "a run"


def test_laws_carry_their_slopes():
    lam = np.geomspace(1e-4, 1e-1, 4)
    times = {"$t_1$": np.full(4, 3.0), "$t_2$": np.append(2.0 / lam[:3], np.nan)}
    (ax,) = gf.plot_law(lam, times).axes
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    slopes = [float(label.rpartition(" ")[2]) for label in labels]
    assert slopes == pytest.approx([0.0, -1.0], abs=1e-3)
    (ax,) = gf.plot_law([1.0, 10.0, 100.0], {"s": np.log([1.0, 10.0, 100.0])}, y="linear").axes
    assert ax.get_legend().get_texts()[0].get_text() == "s, slope 1.000"
    assert ax.get_yscale() == "linear"


def test_components_are_lines():
    sol = run(1e-2)
    figure = sol.plot_components("coefficients", highlight=[2])
    colours = [line.get_color() for line in figure.axes[0].lines]
    assert len(colours) == 3
    assert len(set(colours)) == 2
    ax = plt.figure().add_subplot()
    assert sol.plot_components("coefficients", ax=ax) is ax.figure
    assert len(ax.lines) == 3


def test_misuse_is_told():
    sol = run(1e-2)
    with pytest.raises(ValueError, match="flows is empty"):
        gf.plot_flows({})
    with pytest.raises(TypeError, match="must be a Solution"):
        gf.plot_flows({1e-2: "no run"})
    with pytest.raises(KeyError, match="margin"):
        gf.plot_flows({1e-2: sol}, "margin")
    with pytest.raises(ValueError, match="several components"):
        gf.plot_flows({1e-2: sol}, "coefficients")
    with pytest.raises(ValueError, match="is a number"):
        sol.plot_components("test_loss")
    with pytest.raises(ValueError, match=r"highlight is \[3\]; the components of 'coefficients' are 0 to 2"):
        sol.plot_components("coefficients", highlight=[3])
    with pytest.raises(ValueError, match="not positive"):
        gf.plot_law([1.0, 2.0], {"t": [0.0, 1.0]})
    with pytest.raises(ValueError, match="x has numbers"):
        gf.plot_law([0.0, 2.0], {"t": [2.0, 1.0]})
    with pytest.raises(ValueError, match=r"shape \(1,\)"):
        gf.plot_law([1.0, 2.0], {"t": [1.0]})
    with pytest.raises(ValueError, match="yscale is"):
        gf.plot_flows({1e-2: sol}, yscale="sqrt")
    with pytest.raises(ValueError, match="y is"):
        gf.plot_law([1.0], {"t": [1.0]}, y="sqrt")
    with pytest.raises(KeyError):
        dataclasses.replace(sol, observed={}).plot_components("coefficients")
