"""The tables, as plain text."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.runners import AUTO

HEAD = ("solver", "CPU s", "gradients", "steps", "error", "time x", "grad x", "other work")
WIDTH = (24, 9, 10, 9, 9, 8, 8)


def line(cells):
    first, *middle = cells[:-1]
    padded = [f"{cell:>{width}}" for cell, width in zip(middle, WIDTH[1:], strict=True)]
    return f"  {first:<{WIDTH[0]}}" + "".join(padded) + f"  {cells[-1]}"


def heading(problem, known):
    text = (
        f"{problem.name}: n={problem.n} d={problem.d} lam={problem.weight_decay:g} T={problem.t_end:g}"
        f"  (reference: {known.how})"
    )
    return f"\n{text}\n{line(HEAD)}"


def count(number):
    """A number of evaluations or steps; an extrapolated one may be huge."""
    return f"{number:.0f}" if number < 1e8 else f"{number:.1e}"


def row(run, base):
    """One run; the ratios are to ``base``, the first row."""
    if run.status in ("memory", "limit", "failed"):
        return line((run.solver, run.status, *5 * ("-",), run.note))
    ratios = ("-", "-")
    if base is not None and base.status == "ok":
        ratios = tuple(
            f"{x:.2f}" if x < 1e4 else f"{x:.0f}" for x in (run.seconds / base.seconds, run.nfev / base.nfev)
        )
    other = " ".join(f"{name}:{count}" for name, count in run.work.items())
    mark = "~" if run.status == "extrapolated" else ""
    return line(
        (
            run.solver,
            f"{mark}{run.seconds:.3g}",
            count(run.nfev),
            count(run.steps),
            f"{run.error:.1e}",
            *ratios,
            f"{other} {run.note}".strip(),
        )
    )


def fastest(runs):
    return min((run for run in runs if run.status == "ok"), key=lambda run: run.seconds, default=None)


def geometric_mean(values):
    return math.exp(float(np.mean(np.log(values)))) if values else math.nan


def summary(results):
    """``results``: name -> (runs, kind of derivatives -> peers at an error no larger than grokflow's)."""
    form = "{:<12}{:>9}{:>9}   {:<20}{:>8}{:>7}   {:<24}{:>8}{:>7}"
    lines = ["\nThe fastest peer at an error no larger than grokflow's, with derivatives in NumPy and in C++"]
    lines.append(form.format("problem", "grokflow", "error", *2 * ("peer", "CPU s", "time x")))
    ratios = {"NumPy": [], "compiled": []}
    for name, (runs, peers) in results.items():
        ours = fastest(run for run in runs if run.solver in (AUTO, "grokflow BDF"))
        if ours is None:
            lines.append(f"{name:<12}no comparison")
            continue
        cells = [name, f"{ours.seconds:.3g}", f"{ours.error:.1e}"]
        for kind, of_kind in ratios.items():
            peer = fastest(peers[kind])
            if peer is None:
                cells += ["-", "-", "-"]
                continue
            of_kind.append(peer.seconds / ours.seconds)
            cells += [peer.solver, f"{peer.seconds:.3g}", f"{of_kind[-1]:.1f}"]
        lines.append(form.format(*cells))
    means = (f"{geometric_mean(of_kind):.2f} ({kind})" for kind, of_kind in ratios.items())
    lines.append(f"geometric means of the time ratios: {', '.join(means)}")
    return "\n".join(lines)
