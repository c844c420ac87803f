"""The limit of vanishing weight decay: ``python -m benchmarks.limit --quick``; see README.md beside it."""

from __future__ import annotations

import argparse
import time

import grokflow as gf
import numpy as np
from grokflow.limit.compare import distance_path

from benchmarks.drift import PEERS, begin, match, ours
from benchmarks.matrix import Matrix
from benchmarks.models import Diagonal
from benchmarks.problems import CASES, make
from benchmarks.tanh import Tanh

SPEED = {"matrix-w10": False, "tanh-w200": False, "matrix-w40": True, "tanh-n200": True}  # name -> slow
DECADES = [1e-4, 1e-5, 1e-6, 1e-7]
SLOW = np.geomspace(0.1, 10.0, 101)


def speed(quick):
    """CPU seconds of a drift, grokflow at an error no larger than that of the peer."""
    print("\nDrift for 0 <= s <= 10, peers at rtol=1e-6, grokflow at an error no larger than theirs")
    form = "  {:<15}{:>9}{:>13}{:>9}{:>10}{:>10}{:>9}"
    for name, slow in SPEED.items():
        if quick and slow:
            continue
        start = begin(name)
        print(f"{name}: n={start.problem.n} d={start.problem.d}")
        print(
            form.format("solver", "CPU s", "projections", "error", "residual", "rtol", "time x"), flush=True
        )
        for solver, solve in PEERS.items():
            if solver == "RK45 lstsq" and start.problem.d > 10_000:
                continue  # minutes
            peer = start.run(solver, solve, 1e-6)
            mine = match(start, peer.error)
            for run, ratio in ((peer, ""), (mine, f"{peer.seconds / mine.seconds:.1f}")):
                cells = f"{run.seconds:.3g}", run.projections, f"{run.error:.1e}", f"{run.residual:.0e}"
                print(form.format(run.solver, *cells, f"{run.rtol:.1e}", ratio), flush=True)


def projections(quick):
    """Work of the drift at the default tolerance, on every kind of model."""
    print("\nWork of grokflow for 0 <= s <= 10 at rtol=1e-6")
    form = "  {:<12}{:>6}{:>8}{:>13}{:>7}{:>10}{:>10}"
    print(form.format("problem", "n", "d", "projections", "steps", "error", "residual"))
    for name in CASES:
        if make(name).d > (5_000 if quick else 30_000):  # whose references take minutes
            continue
        start = begin(name)
        run = start.run("grokflow", ours, 1e-6)
        cells = start.problem.n, start.problem.d, run.projections, (run.projections - 3) // 6
        print(form.format(name, *cells, f"{run.error:.1e}", f"{run.residual:.0e}"), flush=True)


def price(quick):
    """The drift beside the flow of a weak decay to the same slow time, on draws of four problems."""
    lam, s_end = 1e-6, 10.0
    s = np.geomspace(1e-3, s_end, 40)
    kinds = {
        "diagonal": lambda seed: Diagonal("", 40, 100, lam, s_end / lam, seed=seed),
        "matrix-w10": lambda seed: Matrix("", 20, 10, lam, s_end / lam, seed=seed),
        "tanh-w50": lambda seed: Tanh("", 40, 10, 50, lam, s_end / lam, seed=seed),
        "tanh-w200": lambda seed: Tanh("", 40, 10, 200, lam, s_end / lam, seed=seed),
    }
    print(
        "\nCPU time of the drift over that of the flow at lam=1e-6, to s=10: at rtol=1e-6, and at equal error"
    )
    for name, draw in kinds.items():
        ratios = []
        for seed in range(20, 23 if quick else 30):
            problem = draw(seed)
            model, start = problem.model(), gf.limit_map(problem.model(), problem.w0, rtol=1e-10).w
            runs = (
                lambda rtol, model=model, start=start: gf.norm_flow(
                    model, start, (0, s_end), rtol=rtol, t_eval=s, save_states=True
                ),
                lambda rtol, model=model, w0=problem.w0: gf.gradient_flow(
                    model, w0, (0, s_end / lam), weight_decay=lam, rtol=rtol, t_eval=s / lam, save_states=True
                ),
            )
            seconds = [fastest(lambda run=run: run(1e-6), 0.1) for run in runs]
            errors = [np.abs(run(1e-6).w - (w := run(1e-10).w)).max() / np.abs(w).max() for run in runs]
            ratios.append((seconds[0] / seconds[1], seconds[0] / seconds[1] * (errors[0] / errors[1]) ** 0.2))
        time, equal = np.exp(np.mean(np.log(ratios), axis=0))
        print(f"  {name:<12}{time:>6.2f}{equal:>8.2f}", flush=True)


def distances(quick):
    """How far the flow is from the drift, as lam falls: two regular problems and a singular one."""
    problems = [
        (Tanh("tanh network", n=40, inputs=10, width=50, weight_decay=1e-4, t_end=1e6), "regular"),
        (Matrix("matrix, 100 of 400", 20, 10, 1e-4, 1e6, observed=100), "regular"),
        (make("diagonal"), "singular end"),
    ]
    lams = DECADES[:3] if quick else DECADES
    for problem, kind in problems:
        phases = gf.two_phase(problem.model(), problem.w0, lams, rtol=1e-9, atol=1e-12)
        eta = phases.slow.monitor["eta"]
        print(f"\nDistance to the drift, {problem.name}: n={problem.n} d={problem.d}, {kind}", end="")
        print(f", eta from {eta[0]:.1e} to {eta[-1]:.1e}, slope {phases.slope:.3f} at its largest")
        print("  {:>7}{:>11}{:>8}{:>12}{:>10}".format("lam", "largest", "slope", "falls until", "horizon"))
        paths = [along(phases, lam) for lam in lams]
        for i, lam in enumerate(lams):
            slope, until = "", ""
            if i + 1 < len(lams):
                slope = f"{np.log10(phases.distance[lam] / phases.distance[lams[i + 1]]):.2f}"
                stuck = np.flatnonzero(np.log10(paths[i] / paths[i + 1]) < 0.9)
                until = f"s={SLOW[stuck[0]]:.2f}" if stuck.size else "the end"
            row = f"  {lam:>7.0e}{phases.distance[lam]:>11.2e}{slope:>8}{until:>12}"
            print(f"{row}{phases.horizon[lam]:>10.3g}", flush=True)


def along(phases, lam):
    """The distance at the slow times SLOW."""
    s, distance = distance_path(phases.flows[lam], phases.slow, lam)
    return np.exp(np.interp(np.log(SLOW), np.log(s[1:]), np.log(distance[1:])))


def growth(quick):
    """Work of the flow to t = 10/lam, and of the drift that two_phase sets beside it, as lam falls."""
    lams = [1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8]
    print("\nGradients of gradient_flow to t = 10/lam at rtol=1e-6 (and projections of the drift beside it)")
    print(f"  {'problem':<12}" + "".join(f"{lam:>12.0e}" for lam in lams) + f"{'growth':>9}")
    for name in ("diagonal", "matrix-w10", "tanh-w50") + (() if quick else ("tanh-w200",)):
        problem = make(name)
        flows, drifts = [], []
        for lam in lams:
            phases = gf.two_phase(problem.model(), problem.w0, [lam], observe=[])
            flows.append(phases.flows[lam].stats["nfev"])
            drifts.append(phases.slow.stats["nproject"])
        cells = "".join(f"{f'{f} ({d})':>12}" for f, d in zip(flows, drifts, strict=True))
        print(f"  {name:<12}{cells}{max(flows) / flows[0]:>9.2f}", flush=True)


def tangent(quick):
    """The price of one projection in gradients."""
    print("\nTangent projection at growing width, tanh network with n=40 (CPU microseconds)")
    print(f"  {'d':>8}{'gradient':>11}{'projection':>12}{'ratio':>8}")
    for width in (50, 200, 1000, 4000) + (() if quick else (20_000,)):
        problem = Tanh("tanh", n=40, inputs=10, width=width, weight_decay=1e-4, t_end=1e6)
        model, w = problem.model(), problem.w0
        w = gf.limit_map(model, w, observe=[], save_states=False).w
        gradient = fastest(lambda model=model, w=w: model.gradient(w))
        projection = fastest(lambda model=model, w=w: gf.tangent_projection(model, w, w, curvature="gram"))
        print(
            f"  {problem.d:>8}{gradient:>11.1f}{projection:>12.1f}{projection / gradient:>8.2f}", flush=True
        )


def fastest(work, seconds=0.3):
    """CPU microseconds of one call, the fastest of all that fit into ``seconds``."""
    best, began = np.inf, time.process_time()
    while time.process_time() - began < seconds:
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return 1e6 * best


PARTS = {part.__name__: part for part in (speed, projections, price, distances, growth, tangent)}


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limit", description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="one part (may be repeated)")
    parser.add_argument("--quick", action="store_true", help="the small problems only, about two minutes")
    args = parser.parse_args(argv)
    for name in args.part or PARTS:
        PARTS[name](args.quick)


if __name__ == "__main__":
    main()
