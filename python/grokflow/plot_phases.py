"""The paper's picture for any model: a flow with weight decay over the limit that describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from grokflow.phases import distance_path
from grokflow.plot import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    SKY,
    STYLE,
    VERMILION,
    legend_above,
    scientific,
    time_axis,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from grokflow.phases import TwoPhase

DROP = 3.0  # slow time at which most of the drop is over


def plot(phases: TwoPhase, lam: float) -> Figure:
    """Draw losses and norm of the flow with weight decay `lam`, and the distances; see `TwoPhase.plot`."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError('plot needs matplotlib: pip install "grokflow[app]"') from error

    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(5.2, 6.2), layout="constrained")
        draw_phases(figure.subplots(3, 1, height_ratios=(3, 2, 2)), phases, lam)
        return figure


def draw_phases(axes: list[Axes], phases: TwoPhase, lam: float) -> None:
    """Draw losses, squared norm and distances on three axes."""
    losses, norm, apart = axes
    draw_limit(losses, norm, phases, lam)
    for ax in (losses, norm):
        shade(ax, phases, lam)
    draw_inset(losses, phases, lam)
    draw_distances(apart, phases)


def draw_limit(losses: Axes, norm: Axes, phases: TwoPhase, lam: float) -> None:
    """Draw the flow by lines and its composite by dashes."""
    sol = phases.flows[lam]
    after = sol.t > 0.0
    composite = phases.composite(lam)[after] if phases.slow is not None and sol.w is not None else None
    names = {"train_loss": ("train loss", BLUE), "test_loss": ("test loss", VERMILION)}
    for name, (label, colour) in names.items():
        if name not in sol.observed:
            continue
        losses.plot(sol.t[after], visible(sol[name][after]), color=colour, label=label)
        if composite is not None:
            limit = np.array([phases.problem.quantity(name, w) for w in composite])
            # On the manifold the train loss of the limit is zero; its first order in lam is what remains.
            floor = sol[name][after].min() / 3.0
            losses.plot(
                sol.t[after], np.where(limit > floor, limit, np.nan), "--", color=colour, linewidth=0.9
            )
    losses.plot([], [], "--", color=GREY, linewidth=0.9, label=r"limit $\lambda\to0$")
    losses.set_yscale("log")
    losses.set_ylabel("loss")
    legend_above(losses)
    if "norm" in sol.observed:
        norm.plot(sol.t[after], sol["norm"][after] ** 2, color=GREEN)
    if composite is not None:
        norm.plot(sol.t[after], np.sum(composite**2, axis=1), "--", color=GREY, linewidth=0.9)
    norm.set_ylabel(r"$\|w\|^2$", color=GREEN)
    norm.set_ylim(bottom=0.0)
    norm.set_xlabel("$t$")
    for ax in (losses, norm):
        time_axis(ax, sol)


def shade(ax: Axes, phases: TwoPhase, lam: float) -> None:
    """Shade the plateau, from t_GF to eps / lam, and the drop, from there to 3 / lam."""
    start, drop, end = phases.landing.t_gf, phases.eps / lam, min(DROP, phases.s_end) / lam
    if start < drop:
        ax.axvspan(start, drop, color=SKY, alpha=0.15, linewidth=0.0)
    ax.axvspan(drop, end, color=ORANGE, alpha=0.15, linewidth=0.0)


def draw_inset(ax: Axes, phases: TwoPhase, lam: float) -> None:
    """Draw the test loss, or the squared norm, in linear time: the drop is not sudden."""
    sol = phases.flows[lam]
    name = "test_loss" if "test_loss" in sol.observed else "norm"
    if name not in sol.observed:
        return
    inset = ax.inset_axes((0.06, 0.1, 0.3, 0.36))
    inset.plot(lam * sol.t, sol[name], color=VERMILION if name == "test_loss" else GREEN, linewidth=1.0)
    inset.set_xlim(0.0, phases.s_end)
    inset.set_ylim(bottom=0.0, top=1.05 * sol[name][lam * sol.t > 0.5 * phases.eps].max())
    inset.set_xlabel(r"$\lambda t$", fontsize=7, labelpad=1)
    inset.tick_params(labelsize=6, length=2, pad=1)
    inset.set_yticks([])


def draw_distances(ax: Axes, phases: TwoPhase) -> None:
    """Draw the distance of every flow to the drift over slow time, and where the horizons lie."""
    for i, (lam, sol) in enumerate(phases.flows.items()):
        grey = str(0.7 * i / max(1, len(phases.flows) - 1))
        s, apart = distance_path(sol, phases.slow, lam)
        late = s >= 0.1 * phases.eps
        label = rf"$\lambda=$ {scientific(lam)}"
        ax.plot(s[late], visible(apart[late]), color=grey, label=label)
        if phases.horizon.get(lam, np.inf) <= phases.s_end:
            ax.axvline(phases.horizon[lam], color=grey, linewidth=0.8, linestyle=(0, (1, 2)))
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel(r"$s=\lambda t$")
    ax.set_ylabel("distance to drift")
    legend_above(ax)


def visible(
    values: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return `values` with gaps where a log axis has no place for them."""
    return np.where(values > 0.0, values, np.nan)
