"""The tables, as plain text."""

from __future__ import annotations

import math

import numpy as np

HEAD = ("solver", "CPU s", "gradients", "steps", "error", "time x", "grad x", "other work")
WIDTH = (18, 9, 10, 9, 9, 8, 8)


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


def best_peer(runs):
    """The fastest peer that is as accurate as an ODE solver should be."""
    done = [r for r in runs if r.status == "ok" and not r.solver.startswith(("grokflow", "gradient"))]
    return min(done, key=lambda r: r.seconds, default=None)


def geometric_mean(values):
    return math.exp(float(np.mean(np.log(values)))) if values else math.nan


def summary(results):
    """``results``: name -> (runs, key -> (peer, grokflow at an error no larger)), keys best and dense."""
    head = ("problem", "best peer", "CPU s", "error", "grokflow", "error", "rtol", "time x", "grad/dense")
    form = "{:<12}{:<17}{:>8}{:>10}{:>10}{:>10}{:>9}{:>8}{:>12}"
    lines = ["\nThe fastest peer, and grokflow at an error no larger", form.format(*head)]
    ratios = []
    for name, (_, pairs) in results.items():
        if "best" not in pairs or pairs["best"][1].status != "ok":
            lines.append(f"{name:<12}no comparison")
            continue
        peer, ours = pairs["best"]
        ratios.append(peer.seconds / ours.seconds)
        cells = [name, peer.solver, f"{peer.seconds:.3g}", f"{peer.error:.1e}", f"{ours.seconds:.3g}"]
        cells += [f"{ours.error:.1e}", ours.note.removeprefix("rtol=") or "same", f"{ratios[-1]:.2f}"]
        dense, ours = pairs.get("dense", (None, None))
        lines.append(form.format(*cells, f"{ours.nfev / dense.nfev:.2f}" if dense else "-"))
    lines.append(f"geometric mean of the time ratios: {geometric_mean(ratios):.2f}")
    return "\n".join(lines)
