"""Figures and tables of stored runs: ``python -m benchmarks.diagrams benchmarks/results OUT``.

What `benchmarks.peers`, `benchmarks.own_models` and `benchmarks.scaling` write with ``--json`` tells its
machine, its versions and its command; this draws them again, without a run.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from grokflow.figures.style import STYLE, VERMILION
from matplotlib import colormaps, rc_context
from matplotlib.figure import Figure

OURS = {"grokflow BDF": (VERMILION, "o"), "grokflow Radau": ("#A00000", "s")}
MARKERS = "^v<>DPX*hd"
SAMPLES = 200  # of the runs over d
UNBROKEN = "\u2011"  # a hyphen at which no line ends


def style_of(solvers):
    """Return how each solver is drawn: ours strong, peers thin."""
    peers = [name for name in solvers if name not in OURS]
    shades = colormaps["viridis"]
    styles = {}
    for i, name in enumerate(peers):
        colour = shades(0.9 * i / max(1, len(peers) - 1))
        styles[name] = {"color": colour, "marker": MARKERS[i % len(MARKERS)], "lw": 0.9, "ls": "--", "ms": 4}
    for name in [name for name in OURS if name in solvers]:
        colour, marker = OURS[name]
        styles[name] = {"color": colour, "marker": marker, "lw": 2.2, "ms": 5, "zorder": 3}
    return styles


def work_precision(runs):
    """Return a figure of error against CPU seconds and gradients, from rtol = 1e-3 to 1e-9."""
    solvers = list(dict.fromkeys(run["solver"] for run in runs))
    with rc_context(STYLE):
        figure = Figure(figsize=(9.5, 4.2), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for ax, (key, label) in zip(panels, (("seconds", "CPU seconds"), ("nfev", "gradients")), strict=True):
            for solver, style in style_of(solvers).items():
                done = [run for run in runs if run["solver"] == solver and run["status"] == "ok"]
                ax.loglog([run[key] for run in done], [run["error"] for run in done], label=solver, **style)
            ax.set_xlabel(label)
        panels[0].set_ylabel("largest error along the path")
        figure.suptitle(runs[0]["problem"])
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    return figure


def scaling(rows):
    """Return a figure of CPU seconds against the number of parameters."""
    with rc_context(STYLE):
        figure = Figure(figsize=(5.5, 3.6), layout="constrained")
        ax = figure.subplots()
        for kind, column, style, label in (
            ("gram", "descent", "s:", "gradient descent (extrapolated)"),
            ("cvode", "seconds", "^--", "CVODE GMRES"),
            ("gram", "seconds", "o-", "grokflow BDF"),
        ):
            chosen = [row for row in rows if row["kind"] == kind and row["n"] == SAMPLES and row["done"]]
            ax.loglog([row["d"] for row in chosen], [row[column] for row in chosen], style, label=label)
        ax.set_xlabel("parameters $d$")
        ax.set_ylabel("CPU seconds to $t = 10/\\lambda$")
        ax.legend()
    return figure


def table(runs):
    """Return a table in Markdown: CPU seconds, and in brackets the error, of each solver on each problem."""
    problems = list(dict.fromkeys(run["problem"] for run in runs))
    cells = {(run["solver"], run["problem"]): cell(run) for run in runs}
    lines = [f"| | {' | '.join(problems)} |", "|---|" + "---|" * len(problems)]
    for solver in dict.fromkeys(run["solver"] for run in runs):
        lines.append(f"| {solver} | {' | '.join(cells.get((solver, name), '') for name in problems)} |")
    return "\n".join(lines)


def cell(run):
    """Return what a run took, or why it did not come to its end."""
    if run["status"] in ("memory", "limit", "failed"):
        return run["status"]
    mark = "~" if run["status"] == "extrapolated" else ""
    return f"{mark}{run['seconds']:.3g} ({run['error']:.0e})".replace("-", UNBROKEN)


def modules(runs):
    """Return a table in Markdown: flows of modules of torch, and the training loop that one would write."""
    head = ["loss", "by", "lam", "seconds", "steps", "gradients a step", "loop, seconds", "times", "error"]
    lines = [f"| {' | '.join([*head, 'error of the loop', 'times at equal error'])} |", "|---" * 11 + "|"]
    for run in runs:
        if run["kind"] != "loop":
            continue
        times = run["loop_seconds"] / run["seconds"]
        by = "the library" if run["kernel"] == "library" else "torch"
        cells = [
            run["loss"],
            by,
            f"{run['weight_decay']:g}",
            f"{run['seconds']:.2f}",
            f"{run['counts']['nsteps']}",
        ]
        cells += [f"{run['gradients_per_step']:.1f}", f"{run['loop_seconds']:.2g}", f"{times:.3g}"]
        cells += [f"{run['error']:.1e}", f"{run['loop_error']:.1e}"]
        cells.append(f"{times * run['loop_error'] / run['error']:.1e}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def origin(record):
    """Return in a sentence where stored runs come from."""
    versions = ", ".join(
        f"{name} {value}" for name, value in record["environment"].items() if name != "machine"
    )
    return f"{record['environment']['machine']} ({versions}): `{record['command']}`"


def draw(store, out):
    """Write a figure or a table of each file in `store` into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(store.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        runs, text = record["runs"], origin(record)
        if path.stem.startswith(("peers", "own_models")):
            text = f"{(table if path.stem.startswith('peers') else modules)(runs)}\n\n{text}"
        else:
            figure = (scaling if path.stem.startswith("scaling") else work_precision)(runs)
            figure.savefig(out / f"{path.stem}.png", dpi=150)
        (out / f"{path.stem}.md").write_text(text + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    draw(options.store, options.out)


if __name__ == "__main__":
    main()
