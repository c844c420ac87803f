"""The report of both phases: landing and drift in sentences, the flows in a table."""

from __future__ import annotations

import math
import textwrap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grokflow.limit.phases import Phases

WIDTH = 80  # of the terminal that the report fits
HEADER = ["lam", "t_GF", "t_WD", "grokking expected", "distance", "horizon s*", "gradients"]


def report(phases: Phases) -> str:
    """Return the text of `TwoPhase.report`."""
    header, rows = table(phases)
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = ["  ".join(map(str.rjust, cells, widths)) for cells in (header, *rows)]
    return "\n".join([*summary(phases), "", *lines, ""])


def table(phases: Phases) -> tuple[list[str], list[list[str]]]:
    """Return the header and a row for each flow, as text."""
    rows = []
    for lam, sol in phases.flows.items():
        times = phases.clocks.get(lam)
        expected = "-" if times is None else "yes" if times.expected else "no"
        limit = phases.horizon.get(lam, math.nan)
        rows.append(
            [
                f"{lam:.3g}",
                "-" if times is None else number(times.t_gf),
                "-" if times is None else number(times.t_wd),
                expected,
                number(phases.distance.get(lam, math.nan)),
                f"> {phases.s_end:.3g}" if limit == math.inf else number(limit),
                str(sol.stats["nfev"]),
            ]
        )
    return list(HEADER), rows


def summary(phases: Phases) -> list[str]:
    """Return the lines of `described`, for a terminal."""
    lines = described(phases)
    if "trouble" in lines:
        lines["trouble"] = f"\n{'':10}".join(textwrap.wrap(lines["trouble"], WIDTH - 10))
    return [f"{name:<10}{text}" for name, text in lines.items()]


def described(phases: Phases) -> dict[str, str]:
    """Return what there is to say about landing, drift and distances, and about what has gone wrong."""
    landing, slow = phases.landing, phases.slow
    norm = np.linalg.norm
    lines = {
        "landing": f"{landing.status} at t = {landing.t:.4g}, ||w|| = {norm(landing.w):.6g}, "
        f"loss {landing.loss:.3g}"
    }
    if slow is not None:
        lines["drift"] = (
            f"{slow.status} at s = {slow.t_final:.4g}, ||w|| = {norm(slow.final):.6g}, "
            f"{slow.stats['nproject']} projections"
        )
        eta, rank = slow.monitor["eta"], slow.monitor["rank"]
        lines["Hess F"] = f"rank {span(rank)}, smallest non-zero eigenvalue eta {span(eta)}"
    if not math.isnan(phases.slope):
        upto = "" if phases.fit.s_end >= phases.s_end else f", up to s = {phases.fit.s_end:.3g}"
        lines["distance"] = f"of the flows to the drift ~ lam^{phases.slope:.3f}{upto}"
    elif phases.fit.reason:
        lines["distance"] = f"to the drift: {phases.fit.reason}"
    if not phases.success or phases.parting:
        lines["trouble"] = phases.parting if phases.success else phases.message
    return lines


def span(values: NDArray[Any]) -> str:
    """Return the first and the last of the values along the drift."""
    first, last = (f"{float(value):.3g}" for value in (values[0], values[-1]))
    return first if first == last else f"{first} -> {last}"


def number(x: float) -> str:
    """Return `x` for a table."""
    return "-" if math.isnan(x) else f"{x:.3g}"
