"""The paper's picture for any model: a flow with weight decay, and over it the limit that describes it.

The pieces (`draw_distances`, `draw_slope`, ...) draw on any axes, to make other figures.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from grokflow._validate import FloatArray
from grokflow.curves import nearest
from grokflow.figures.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    SKY,
    VERMILION,
    canvas,
    legend_above,
    scientific,
    time_axis,
)
from grokflow.limit.compare import SAME, distance_path, residual_beside
from grokflow.limit.phases import Phases
from grokflow.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


DROP = 3.0  # slow time at which most of the drop is over: e^-3 is 5 percent
LOSSES = {"train_loss": ("train loss", BLUE), "test_loss": ("test loss", VERMILION)}
ACCURACIES = {"train_accuracy": BLUE, "test_accuracy": VERMILION}
LIMIT: Any = {"color": "black", "linewidth": 0.9, "linestyle": (0, (3.5, 2))}
INSET = (0.28, 0.32)  # width and height, in those of the axes


def plot(phases: Phases, lam: float, figure: Figure | None = None) -> Figure:
    """Draw the flow with weight decay `lam` and the distances, on `figure` if given; see `TwoPhase.plot`."""
    height = 4.6 + 2.0 * compared(phases) + 1.6 * classified(phases, lam)
    with canvas((5.6, height), figure=figure) as drawn:
        drawn.suptitle(rf"$\lambda$ = {scientific(lam)}")
        draw_phases(drawn, phases, lam)
    return drawn


def draw_phases(figure: Figure, phases: Phases, lam: float) -> None:
    """Draw losses and squared norm over fast time and, where they are known, the distances below."""
    known, classes = compared(phases), classified(phases, lam)
    heights = (*((2,) if classes else ()), 3, 2, *((2,) if known else ()))
    rows = figure.add_gridspec(len(heights), 2, height_ratios=heights)
    losses = figure.add_subplot(rows[classes, :])
    norm = figure.add_subplot(rows[classes + 1, :], sharex=losses)
    draw_losses(losses, phases, lam)
    draw_norm(norm, phases, lam)
    panels = [losses, norm]
    if classes:
        panels.append(figure.add_subplot(rows[0, :], sharex=losses))
        draw_accuracies(panels[-1], phases, lam)
    for ax in panels:
        shade(ax, phases, lam)
        ax.tick_params(labelbottom=ax is norm)
    legend_above(losses)
    norm.set_xlabel("$t$")
    draw_inset(losses, phases, lam)
    if phases.slow is None:
        landed = f"has not landed ({phases.landing.status})"
        if phases.landing.success:
            landed = "has landed where no drift starts"
        note = f"no limit is drawn: the unregularised flow {landed}"
        norm.set_title(note, fontsize=8, color=GREY)
    if known:
        several = not np.isnan(phases.slope)
        draw_distances(figure.add_subplot(rows[-1, 0] if several else rows[-1, :]), phases)
        if several:
            draw_slope(figure.add_subplot(rows[-1, 1]), phases)
        legend_below(figure)


def compared(phases: Phases) -> bool:
    """Whether the distance of any flow to the drift is known."""
    return any(distances(phases, lam)[0].size for lam in phases.flows)


def distances(phases: Phases, lam: float) -> tuple[FloatArray, FloatArray]:
    """Return slow times, from eps / 10 on, and the distance to the drift there, where it is not zero."""
    s, apart = distance_path(phases.flows[lam], phases.slow, lam)
    shown = (s >= 0.1 * phases.eps) & (apart > 0.0)
    return s[shown], apart[shown]


def draw_losses(ax: Axes, phases: Phases, lam: float) -> None:
    """Draw train loss and, where it was observed, test loss, and over them those of the limit."""
    sol = phases.flows[lam]
    after = sol.t > 0.0
    for name, (label, colour) in LOSSES.items():
        if name in sol.observed:
            ax.plot(sol.t[after], visible(sol[name][after]), color=colour, label=label)
    ax.set_yscale("log")
    ax.set_ylabel("loss")
    time_axis(ax, sol)
    seen = ax.get_ylim()
    for name in LOSSES:
        if name in sol.observed and phases.slow is not None:
            limit = limit_of(name, phases, sol, lam)
            if name == "train_loss":
                limit = limit + loss_beside_the_manifold(phases, sol, lam)
                limit[np.searchsorted(sol.t, phases.landing.t) :][:1] = np.nan  # Newton's jump to 0
            ax.plot(sol.t[after], visible(limit[after]), **LIMIT)
    ax.set_ylim(seen)  # without its first order in lam the train loss of the limit falls to round-off
    if phases.slow is not None:
        ax.plot([], [], **LIMIT, label=r"limit $\lambda\to0$")


def classified(phases: Phases, lam: float) -> bool:
    """Whether the share of samples on the right side was observed."""
    return not {*ACCURACIES}.isdisjoint(phases.flows[lam].observed)


def draw_accuracies(ax: Axes, phases: Phases, lam: float) -> None:
    """Draw the shares of training and test samples on the right side, and over them those of the limit."""
    sol = phases.flows[lam]
    after = sol.t > 0.0
    for name, colour in ACCURACIES.items():
        if name in sol.observed:
            ax.plot(sol.t[after], sol[name][after], color=colour)
            if phases.slow is not None:
                ax.plot(sol.t[after], limit_of(name, phases, sol, lam)[after], **LIMIT)
    ax.set_ylabel("accuracy")
    ax.set_ylim(-0.03, 1.03)
    time_axis(ax, sol)


def draw_norm(ax: Axes, phases: Phases, lam: float) -> None:
    """Draw the squared norm, and over it that of the limit."""
    sol = phases.flows[lam]
    if "norm" in sol.observed:
        after = sol.t > 0.0
        ax.plot(sol.t[after], sol["norm"][after] ** 2, color=GREEN)
        if phases.slow is not None:
            ax.plot(sol.t[after], limit_of("norm", phases, sol, lam)[after] ** 2, **LIMIT)
    ax.set_ylabel(r"$\|w\|^2$", color=GREEN)
    ax.set_ylim(bottom=0.0)
    time_axis(ax, sol)


def limit_of(name: str, phases: Phases, sol: Trajectory, lam: float) -> FloatArray:
    """Return a quantity of the composite at the times of a flow; nan where the drift has not come to.

    Without states, or for a function of the user's, it is that of the fast phase up to the landing, and that
    of the drift from there.
    """
    fast, slow = phases.fast, phases.slow
    assert slow is not None
    values: FloatArray
    if name in phases.problem.quantities and fast.w is not None and slow.w is not None:
        values = np.array(
            [np.nan if np.isnan(w[0]) else phases.problem.quantity(name, w) for w in phases.composite(lam)]
        )
    else:
        early = sol.t < phases.landing.t
        values = slow[name][nearest(slow.t, lam * sol.t)].copy()
        values[early] = fast[name][nearest(fast.t, sol.t[early])]
    values[lam * sol.t > slow.t_final * (1.0 + SAME)] = np.nan
    return values


def loss_beside_the_manifold(phases: Phases, sol: Trajectory, lam: float) -> FloatArray:
    """Return the train loss of the slow phase to first order in lam, at the times of a flow.

    It is 0 if it is unknown, and nan beyond the horizon.
    """
    problem, slow = phases.problem, phases.slow
    regular = 0 < problem.num_residuals == phases.landing.rank
    if not regular or slow is None or slow.w is None:
        return np.zeros_like(sol.t)
    decay = phases._decays[lam]
    chosen, back = np.unique(nearest(slow.t, lam * sol.t), return_inverse=True)
    loss = np.full(len(chosen), np.nan)
    for i, w in enumerate(slow.w[chosen]):
        with suppress(ValueError):  # a kernel that has become singular on the way
            loss[i] = 0.5 * problem.scale * np.sum(residual_beside(problem, w, decay) ** 2)
    return np.where(lam * sol.t <= phases.horizon[lam], loss[back], np.nan)


def shade(ax: Axes, phases: Phases, lam: float) -> None:
    """Shade the plateau, from t_GF to eps / lam, and the drop, from there to 3 / lam."""
    if phases.slow is None:
        return
    start, drop, end = phases.landing.t_gf, phases.eps / lam, min(DROP, phases.s_end) / lam
    if start < drop:
        ax.axvspan(start, drop, color=SKY, alpha=0.16, linewidth=0.0, label="plateau")
    if drop < end:
        ax.axvspan(drop, end, color=ORANGE, alpha=0.16, linewidth=0.0, label="drop")


def draw_inset(ax: Axes, phases: Phases, lam: float) -> None:
    """Draw the test loss, or the squared norm, in linear time: the drop is not sudden."""
    sol = phases.flows[lam]
    s = lam * sol.t
    begun = s > 0.1 * phases.eps
    name = "test_loss" if "test_loss" in sol.observed else "norm"
    if name not in sol.observed or np.count_nonzero(begun) < 2:
        return
    values = sol[name] if name == "test_loss" else sol[name] ** 2
    x, y = emptiest(ax)
    inset = ax.inset_axes((x, y, *INSET))
    inset.plot(s[begun], values[begun], color=VERMILION if name == "test_loss" else GREEN, linewidth=1.1)
    inset.set_xlim(0.0, min(2.0 * DROP, s[-1]))
    inset.set_ylim(bottom=0.0)
    inset.set_yticks([])
    inset.set_xlabel(r"linear time, $\lambda t$", fontsize=7, labelpad=1)
    inset.set_title("test loss" if name == "test_loss" else r"$\|w\|^2$", fontsize=7, pad=2)
    inset.tick_params(labelsize=7, length=2, pad=1)
    inset.patch.set_alpha(0.8)


def emptiest(ax: Axes) -> tuple[float, float]:
    """Return the place for an inset on `ax` that hides the fewest points of its lines."""
    to_axes = ax.transData + ax.transAxes.inverted()
    points = [np.empty((0, 2)), *(np.asarray(line.get_xydata()) for line in ax.lines)]
    x, y = to_axes.transform(np.concatenate(points)).T
    side, below, above = 0.04, 0.16, 0.09  # room for tick labels, for the name of the axis, and for the title
    width, height = INSET[0] + 2.0 * side, below + INSET[1] + above

    def hidden(place: tuple[float, float]) -> int:
        right, up = x - place[0], y - place[1]
        return int(np.count_nonzero((right > 0.0) & (right < width) & (up > 0.0) & (up < height)))

    places = [
        (left, low) for low in np.linspace(0.0, 1.0 - height, 6) for left in np.linspace(0.0, 1.0 - width, 15)
    ]
    left, low = min(places, key=hidden)
    return left + side, low + below


def draw_distances(ax: Axes, phases: Phases) -> None:
    """Draw the distance of every flow to the drift over slow time, and where the horizons lie."""
    dotted: Any = {"linewidth": 0.9, "linestyle": (0, (1, 2))}
    seen = 0.1 * phases.eps, phases.s_end
    within = {lam: s for lam, s in phases.horizon.items() if seen[0] <= s <= seen[1]}
    for colour, lam in zip(shades(len(phases.flows)), phases.flows, strict=True):
        ax.plot(*distances(phases, lam), color=colour, label=rf"$\lambda$ = {scientific(lam)}")
        if lam in within:
            ax.axvline(within[lam], color=colour, **dotted)
    if within:
        ax.plot([], [], color=GREY, **dotted, label="horizon $s^*$")
    ax.axvline(phases.eps, color=GREY, linewidth=0.6, zorder=0)
    top = ax.get_xaxis_transform()
    ax.text(phases.eps, 1.01, r"$\varepsilon$", transform=top, ha="center", va="bottom", color=GREY)
    ax.set_xlabel(r"$s=\lambda t$")
    ax.set_ylabel("distance to drift")
    log_axes(ax)
    ax.set_xlim(seen)


def draw_slope(ax: Axes, phases: Phases) -> None:
    """Draw the largest distance from eps on against lam, with the line of the fitted slope."""
    lam = np.array(list(phases.distance))
    apart = np.array(list(phases.distance.values()))
    known = apart > 0.0  # which nan is not
    centre = np.exp(np.log(apart[known]).mean() - phases.slope * np.log(lam[known]).mean())
    ax.plot(lam, centre * lam**phases.slope, color=GREY, linewidth=0.9)
    ax.text(0.05, 0.97, f"slope {phases.slope:.2f}", transform=ax.transAxes, va="top")
    for colour, x, y in zip(shades(len(lam)), lam, visible(apart), strict=True):
        ax.plot(x, y, "o", color=colour, markersize=5)
    ax.set_xlabel(r"$\lambda$")
    ax.set_ylabel(r"largest for $s\geq\varepsilon$")
    log_axes(ax)


def log_axes(ax: Axes) -> None:
    """Make both axes logarithmic with labels at powers of ten only, of which there are two at least."""
    from matplotlib.ticker import NullLocator

    ax.set_xscale("log")
    ax.set_yscale("log")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_locator(NullLocator())
        low, high = np.log10(axis.get_view_interval())
        if np.floor(high) - np.ceil(low) < 1.0:
            limits = 10.0 ** np.floor(low), 10.0 ** np.ceil(high)
            (ax.set_xlim if axis is ax.xaxis else ax.set_ylim)(*limits)


def legend_below(figure: Figure) -> None:
    """Put the legend of the distances below the figure."""
    handles, labels = next(
        ax for ax in figure.axes if ax.get_ylabel() == "distance to drift"
    ).get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)


def shades(count: int) -> list[Any]:
    """Return `count` colours from dark to light, for falling rates."""
    from matplotlib import colormaps

    return list(colormaps["viridis"](np.linspace(0.0, 0.85, count)))


def visible(values: FloatArray) -> FloatArray:
    """Return `values` with gaps where a log axis has no place for them."""
    return np.where(values > 0.0, values, np.nan)
