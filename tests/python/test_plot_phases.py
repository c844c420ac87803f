"""What `TwoPhase` shows: figure and report. The lines hold what they should; images are not compared."""

import dataclasses
import io

import grokflow as gf
import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from grokflow import _options  # noqa: E402
from grokflow.limit.compare import Fit  # noqa: E402
from grokflow.limit.figure import limit_of, loss_beside_the_manifold  # noqa: E402

RATES = [1e-3, 1e-4]


def tanh_network(test=True):
    """A small network whose manifold is regular along the drift."""
    rng = np.random.default_rng(1)
    X, X_test = rng.standard_normal((6, 3)), rng.standard_normal((50, 3))
    y, y_test = (np.tanh(x[:, 0]) - np.tanh(x[:, 1]) for x in (X, X_test))
    problem = gf.models.TwoLayerNetwork(
        X, y, width=12, activation="tanh", scale="sum", test=(X_test, y_test) if test else None
    )
    return problem, problem.initial_weights(std=1.0, seed=0)


@pytest.fixture(scope="module")
def phases():
    found = gf.two_phase(*tanh_network(), RATES)
    assert found.success
    return found


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def drawn(figure):
    """Draw the figure for real, and return its axes."""
    figure.savefig(io.BytesIO(), format="png")
    return figure.axes


def labels(legend):
    return [text.get_text() for text in legend.get_texts()]


# the figure


def test_the_figure_has_losses_norm_distances_and_slope(phases):
    figure = phases.plot()
    losses, norm, apart, slope = drawn(figure)
    assert losses.get_xscale() == losses.get_yscale() == norm.get_xscale() == "log"
    assert losses.get_xlim() == norm.get_xlim()
    assert norm.get_yscale() == "linear"
    names = ["train loss", "test loss", r"limit $\lambda\to0$", "plateau", "drop"]
    assert labels(losses.get_legend()) == names
    assert [ax.get_xlabel() for ax in (norm, apart, slope)] == ["$t$", r"$s=\lambda t$", r"$\lambda$"]
    assert all(ax.get_xscale() == ax.get_yscale() == "log" for ax in (apart, slope))
    assert figure.get_suptitle() == r"$\lambda$ = $10^{-4}$"


def test_lines_are_the_flow_and_its_limit(phases):
    sol = phases.flows[1e-4]
    losses, norm = phases.plot().axes[:2]
    after = sol.t > 0.0
    composite = phases.composite(1e-4)[after]
    train, test, train_limit, test_limit = losses.lines[:4]
    for line, values in (
        (train, sol["train_loss"][after]),
        (test, sol["test_loss"][after]),
        (test_limit, [phases.problem.test_loss(w) for w in composite]),
        (norm.lines[0], sol["norm"][after] ** 2),
        (norm.lines[1], np.sum(composite**2, axis=1)),
    ):
        assert line.get_xdata() == pytest.approx(sol.t[after])
        assert line.get_ydata() == pytest.approx(np.array(values), rel=1e-12)
    # Beside the manifold the train loss of the limit is that of first order in lam, and meets the flow's.
    late = (sol.t[after] > 3.0 * phases.landing.t) & (sol.t[after] < 1e4)
    assert np.count_nonzero(late) > 10
    assert train_limit.get_ydata()[late] == pytest.approx(train.get_ydata()[late], rel=0.02)


def test_the_loss_beside_the_manifold_is_the_predicted_one(phases):
    sol = phases.flows[1e-4]
    found = loss_beside_the_manifold(phases, sol, 1e-4)
    expected = np.interp(1e-4 * sol.t, phases.slow.t, phases.predicted_loss(1e-4))
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_predicted_loss_ends_at_the_horizon(phases):
    sol = phases.flows[1e-4]
    cut = dataclasses.replace(phases, horizon=phases.horizon | {1e-4: 2.0})
    found = loss_beside_the_manifold(cut, sol, 1e-4)
    assert np.array_equal(np.isnan(found), 1e-4 * sol.t > 2.0)


def test_plateau_and_drop_are_shaded_where_the_test_loss_falls(phases):
    plateau, drop = phases.plot().axes[0].patches
    assert (plateau.get_label(), drop.get_label()) == ("plateau", "drop")
    assert plateau.get_x() == pytest.approx(phases.landing.t_gf)
    begin, end = drop.get_x(), drop.get_x() + drop.get_width()
    assert plateau.get_x() + plateau.get_width() == pytest.approx(begin)
    loss = phases.slow["test_loss"]
    at_begin, at_end = np.interp(1e-4 * np.array([begin, end]), phases.slow.t, loss)
    depth = loss[0] - loss[-1]
    assert at_begin == pytest.approx(loss[0], abs=0.06 * depth)
    assert at_end == pytest.approx(loss[-1], abs=0.06 * depth)


def test_a_late_drop_is_shaded_and_in_the_inset(phases):
    """As of large weights: the test loss stays until s = 8.7."""
    s = phases.slow.t
    made_up = dataclasses.replace(
        phases.slow, observed=phases.slow.observed | {"test_loss": np.where(s < 8.7, 1.0, 0.1)}
    )
    losses = dataclasses.replace(phases, slow=made_up).plot().axes[0]
    _, drop = losses.patches
    assert 1e-4 * drop.get_x() == pytest.approx(8.7, rel=0.2)
    assert losses.child_axes[0].get_xlim()[1] > 9.0


def test_what_does_not_fall_is_not_shaded(phases):
    flat = {name: np.ones_like(phases.slow.t) for name in ("test_loss", "norm")}
    still = dataclasses.replace(phases.slow, observed=phases.slow.observed | flat)
    assert not dataclasses.replace(phases, slow=still).plot().axes[0].patches


def test_losses_below_the_error_of_the_solver_are_cut_off(phases):
    """Of the train loss on the plateau; what is predicted there is shown all the same."""
    sol = phases.flows[1e-4]
    noisy = np.where(sol.t > 10.0, 1e-25, sol["train_loss"])
    flow = dataclasses.replace(sol, observed=sol.observed | {"train_loss": noisy})
    shown = dataclasses.replace(phases, flows=phases.flows | {1e-4: flow}).plot().axes[0]
    bottom = shown.get_ylim()[0]
    assert bottom >= 1e-13 * noisy.max()
    predicted = phases.predicted_loss(1e-4)
    assert bottom < predicted[predicted > 0].min()
    assert flow.plot().axes[0].get_ylim()[0] == pytest.approx(1e-12 * noisy.max())


def test_the_inset_has_linear_time_and_hides_no_line(phases):
    losses = drawn(phases.plot())[0]
    (inset,) = losses.child_axes
    assert inset.get_xscale() == inset.get_yscale() == "linear"
    sol = phases.flows[1e-4]
    assert inset.lines[0].get_xdata()[-1] == pytest.approx(1e-4 * sol.t[-1])
    assert inset.lines[0].get_ydata()[-1] == sol["test_loss"][-1]
    box = inset.get_window_extent()
    for line in losses.lines:
        x, y = losses.transData.transform(np.asarray(line.get_xydata())).T
        assert not np.any((x > box.x0) & (x < box.x1) & (y > box.y0) & (y < box.y1))


def test_distances_and_their_slope(phases):
    apart, slope = phases.plot().axes[2:]
    for line, (lam, sol) in zip(apart.lines, phases.flows.items(), strict=False):
        s, far = line.get_xdata(), line.get_ydata()
        assert s[-1] == pytest.approx(lam * sol.t[-1])
        assert far[s >= 0.1].max() == pytest.approx(phases.distance[lam])
    fit, *points = slope.lines
    x, y = np.log(fit.get_xdata()), np.log(fit.get_ydata())
    assert (y[1] - y[0]) / (x[1] - x[0]) == pytest.approx(phases.slope)
    assert [point.get_ydata()[0] for point in points] == list(phases.distance.values())
    assert [text.get_text() for text in slope.texts] == [f"slope {phases.slope:.2f}"]


def test_horizons_are_always_told(phases):
    assert all(value == np.inf for value in phases.horizon.values())
    assert labels(phases.plot().legends[0]) == [
        r"$\lambda$ = $10^{-3}$, $s^*$ > 10",
        r"$\lambda$ = $10^{-4}$, $s^*$ > 10",
    ]
    closer = dataclasses.replace(phases, horizon={1e-3: 0.0, 1e-4: 0.7})
    figure = closer.plot()
    assert [label[-5:] for label in labels(figure.legends[0])] == ["$ = 0", "= 0.7"]
    marks = [line.get_xdata()[0] for line in figure.axes[2].lines if len(line.get_xdata()) == 2]
    assert min(marks) == pytest.approx(0.01)  # one before the axis begins is marked there
    assert 0.7 in marks
    assert "horizon" in labels(figure.axes[0].get_legend())


def test_nothing_lies_on_another(phases):
    figure = phases.plot()
    losses, norm, apart, slope = drawn(figure)
    boxes = [ax.get_tightbbox() for ax in (norm, apart, slope)]
    boxes += [losses.get_window_extent(), losses.get_legend().get_window_extent()]
    boxes += [figure.legends[0].get_window_extent()]
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_one_rate_has_no_slope(phases):
    figure = gf.two_phase(*tanh_network(), [1e-3]).plot()
    assert [ax.get_xlabel() for ax in drawn(figure)] == ["", "$t$", r"$s=\lambda t$"]


def test_without_test_data_the_inset_shows_the_norm():
    losses = drawn(gf.two_phase(*tanh_network(test=False), [1e-3]).plot())[0]
    assert labels(losses.get_legend())[:2] == ["train loss", r"limit $\lambda\to0$"]
    assert losses.child_axes[0].get_title() == r"$\|w\|^2$"


def test_states_that_were_not_kept(phases, monkeypatch):
    monkeypatch.setattr(_options, "STATE_BUDGET", 1000)
    bare = gf.two_phase(*tanh_network(), RATES)
    assert bare.slow.w is None
    axes = drawn(bare.plot())
    assert len(axes) == 2
    sol = bare.flows[1e-4]
    for name in ("test_loss", "norm"):
        composite = limit_of(name, phases, phases.flows[1e-4], 1e-4)
        # Apart from the time of the landing both are the limit, up to how far the drift has gone by then.
        assert limit_of(name, bare, sol, 1e-4) == pytest.approx(composite, rel=1e-2)
    assert len(axes[1].lines) == 2


def test_the_limit_ends_where_the_drift_does(phases):
    slow = gf.norm_flow(phases.problem, phases.landing.w, (0, 1), t_eval=phases.slow.t[phases.slow.t <= 1.0])
    shorter = dataclasses.replace(phases, slow=slow)
    losses, norm = drawn(shorter.plot())[:2]
    for line in (*losses.lines[2:4], norm.lines[1]):
        t, values = line.get_data()
        assert np.isnan(values[1e-4 * t > 1.001]).all()
        assert np.isfinite(values[(1e-4 * t > 0.01) & (1e-4 * t < 0.9)]).all()


def test_a_drift_that_ended_before_eps_has_distances_and_no_slope(phases):
    slow = gf.norm_flow(
        phases.problem, phases.landing.w, (0, 0.05), t_eval=phases.slow.t[phases.slow.t <= 0.05]
    )
    shorter = dataclasses.replace(phases, slow=slow, distance=dict.fromkeys(RATES, np.nan), fit=Fit())
    assert [ax.get_xlabel() for ax in drawn(shorter.plot())] == ["", "$t$", r"$s=\lambda t$"]


def test_a_drift_that_ended_at_once_has_no_distances(phases):
    slow = gf.norm_flow(phases.problem, phases.landing.w, (0, 1e-4), t_eval=[0.0])
    shorter = dataclasses.replace(phases, slow=slow, distance=dict.fromkeys(RATES, np.nan), fit=Fit())
    assert len(drawn(shorter.plot())) == 2


def test_a_flow_that_has_not_landed():
    fall = gf.Objective(
        loss=lambda w: np.exp(-w).sum(),
        gradient=lambda w: -np.exp(-w),
        hvp=lambda w, v: np.exp(-w) * v,
        num_params=2,
    )
    phases = gf.two_phase(fall, [0.1, 0.2], [1e-2])
    assert not phases.success
    losses, norm = drawn(phases.plot())
    assert labels(losses.get_legend()) == ["train loss"]
    assert not losses.patches
    assert norm.get_title() == ("no limit is drawn: the unregularised flow has not landed (no_minimiser)")


@pytest.mark.parametrize("observe", [[], ["norm"], ["train_loss"], {"test_loss": lambda t, w: w @ w}])
def test_any_set_of_observables_gives_a_figure(observe):
    assert len(drawn(gf.two_phase(*tanh_network(test=False), [1e-3], observe=observe).plot())) == 3


def test_a_run_that_ended_at_once_gives_a_figure():
    assert len(drawn(gf.two_phase(*tanh_network(), [1e-3], max_time=1e-9).plot())) == 2


def test_close_rates_give_axes_with_two_labels_at_least():
    slope = drawn(gf.two_phase(*tanh_network(), [3e-4, 5e-4]).plot())[3]
    for low, high in (slope.get_xlim(), slope.get_ylim()):
        assert np.floor(np.log10(high) + 1e-9) - np.ceil(np.log10(low) - 1e-9) >= 1.0


def test_an_unknown_rate_is_refused(phases):
    with pytest.raises(ValueError, match=r"weight_decay is 0.1; the flows are those of \[0.001, 0.0001\]"):
        phases.plot(0.1)


def test_style_stays_with_the_figure(phases):
    before = dict(matplotlib.rcParams)
    phases.plot()
    assert dict(matplotlib.rcParams) == before


# the report


def test_the_report_fits_a_terminal_and_tells_everything(phases):
    stream = io.StringIO()
    phases.report(stream)
    lines = stream.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert [line.split()[0] for line in lines[:4]] == ["landing", "drift", "Hess", "distance"]
    assert lines[4] == ""
    assert f"lam^{phases.slope:.3f}" in lines[3]
    header, rows = phases.table()
    assert lines[5].split() == " ".join(header).split()
    assert [line.split() for line in lines[6:]] == [" ".join(row).split() for row in rows]
    for line, (lam, sol) in zip(lines[6:], phases.flows.items(), strict=True):
        cells = line.split()
        assert float(cells[0]) == lam
        assert float(cells[2]) == pytest.approx(phases.clocks[lam].t_wd, rel=1e-2)
        assert float(cells[4]) == pytest.approx(phases.distance[lam], rel=1e-2)
        assert cells[5:7] == [">", "10"]
        assert cells[7] == str(sol.stats["nfev"])


def test_the_report_prints_to_the_screen(phases, capsys):
    phases.report()
    assert capsys.readouterr().out.startswith("landing   landed at t = ")


def test_the_report_says_what_went_wrong():
    stopped = gf.two_phase(*tanh_network(), [1e-3], max_steps=5)
    stream = io.StringIO()
    stopped.report(stream)
    lines = stream.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert lines[1].startswith("trouble   landing: ")
    assert "lam = 0.001: " in stream.getvalue()
    assert "max_steps" in stream.getvalue()
