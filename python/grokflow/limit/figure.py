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
    cut_noise,
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


OUTSIDE = 0.05  # share of a fall that is not shaded, at both its ends
VISIBLE = 0.01  # of the first value, below which there is no fall to shade
DOTTED: Any = {"linewidth": 0.9, "linestyle": (0, (1, 2))}
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
        several = np.count_nonzero([not np.isnan(apart) for apart in phases.distance.values()]) > 1
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
    seen, least = ax.get_ylim(), np.inf
    for name in LOSSES:
        if name in sol.observed and phases.slow is not None:
            limit = limit_of(name, phases, sol, lam)
            if name == "train_loss":
                beside = loss_beside_the_manifold(phases, sol, lam)
                limit = limit + beside
                limit[np.searchsorted(sol.t, phases.landing.t) :][:1] = np.nan  # Newton's jump to 0
                least = np.min(beside, where=beside > 0.0, initial=np.inf)
            ax.plot(sol.t[after], visible(limit[after]), **LIMIT)
    ax.set_ylim(seen)  # without its first order in lam the train loss of the limit falls to round-off
    cut_noise(ax, sol, keep=least)
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
            loss[i] = (
                0.5 * problem.scale * np.sum(residual_beside(problem, w, decay, phases._regularizer) ** 2)
            )
    return np.where(lam * sol.t <= phases.horizon[lam], loss[back], np.nan)


def fall(phases: Phases) -> tuple[float, float] | None:
    """Return the slow times between which the test loss of the drift falls, or else its squared norm."""
    slow = phases.slow
    for name, power in (("test_loss", 1), ("norm", 2)):
        if slow is None or name not in slow.observed:
            continue
        values = slow[name] ** power
        depth = values[0] - values[-1]
        if depth > VISIBLE * values[0]:
            under_way = np.flatnonzero(
                (values < values[0] - OUTSIDE * depth) & (values > values[-1] + OUTSIDE * depth)
            )
            first, last = (under_way[0], under_way[-1]) if under_way.size else (len(values) - 1,) * 2
            return float(slow.t[max(first - 1, 0)]), float(slow.t[min(last + 1, len(values) - 1)])
    return None


def shade(ax: Axes, phases: Phases, lam: float) -> None:
    """Shade the plateau, from t_GF to where the fall begins, and the fall, and mark the horizon."""
    if phases.slow is None:
        return
    falls = fall(phases)
    if falls is not None:
        start, drop, end = phases.landing.t_gf, falls[0] / lam, falls[1] / lam
        if start < drop:
            ax.axvspan(start, drop, color=SKY, alpha=0.16, linewidth=0.0, label="plateau")
        ax.axvspan(max(drop, start), end, color=ORANGE, alpha=0.16, linewidth=0.0, label="drop")
    reach = phases.horizon[lam] / lam
    left, right = ax.get_xlim()
    if reach < right:
        ax.axvline(max(reach, left), color=GREY, **DOTTED, label="horizon", zorder=0)


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
    falls = fall(phases)
    inset.set_xlim(0.0, s[-1] if falls is None else min(2.0 * falls[1], s[-1]))
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
    seen = 0.1 * phases.eps, phases.s_end
    for colour, lam in zip(shades(len(phases.flows)), phases.flows, strict=True):
        reach = phases.horizon[lam]
        told = rf"> {phases.s_end:.3g}" if reach > phases.s_end else f"= {reach:.2g}"
        label = rf"$\lambda$ = {scientific(lam)}, $s^*$ {told}"
        ax.plot(*distances(phases, lam), color=colour, label=label)
        if reach <= phases.s_end:
            ax.axvline(max(reach, seen[0]), color=colour, **DOTTED)
    ax.axvline(phases.eps, color=GREY, linewidth=0.6, zorder=0)
    top = ax.get_xaxis_transform()
    ax.text(phases.eps, 1.01, r"$\varepsilon$", transform=top, ha="center", va="bottom", color=GREY)
    ax.set_xlabel(r"$s=\lambda t$")
    ax.set_ylabel("distance to drift")
    log_axes(ax)
    ax.set_xlim(seen)


def draw_slope(ax: Axes, phases: Phases) -> None:
    """Draw the largest distance from eps on against lam, and the line fitted to those up to the horizon."""
    lam = np.array(list(phases.distance))
    apart = np.array(list(phases.distance.values()))
    if not np.isnan(phases.slope):
        rates, fitted = np.array(list(phases.fit.distance.items())).T
        centre = np.exp(np.log(fitted).mean() - phases.slope * np.log(rates).mean())
        ax.plot(rates, centre * rates**phases.slope, color=GREY, linewidth=0.9)
        ax.text(0.05, 0.97, f"slope {phases.slope:.2f}", transform=ax.transAxes, va="top")
    for colour, x, y in zip(shades(len(lam)), lam, visible(apart), strict=True):
        taken = phases.fit.distance.get(x)
        ax.plot(
            x,
            y if taken is None else taken,
            "o",
            color=colour,
            markersize=5,
            fillstyle="none" if taken is None else "full",
        )
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
    figure.legend(handles, labels, loc="outside lower center", ncols=3)


def shades(count: int) -> list[Any]:
    """Return `count` colours from dark to light, for falling rates."""
    from matplotlib import colormaps

    return list(colormaps["viridis"](np.linspace(0.0, 0.85, count)))


def visible(values: FloatArray) -> FloatArray:
    """Return `values` with gaps where a log axis has no place for them."""
    return np.where(values > 0.0, values, np.nan)
