"""The claims of theory, measured, one row each: ``python -m benchmarks.theory``; see README.md beside it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import grokflow as gf
import numpy as np
from grokflow._backend import core
from grokflow.limit.compare import distance_path

RATES = [1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8]
TIMELY = [1e-5, 1e-6]  # rates at which delays are predicted
TOLERANCE = {"rtol": 1e-9, "atol": 1e-12}


@dataclass
class Case:
    """A problem with test data, a start, and the tolerances by which its data count as learned."""

    problem: gf.Problem
    w0: np.ndarray
    tolerances: tuple[float, float] | None = None


def cases() -> dict[str, Case]:
    """Return problems of each kind of model: sums of squares, so that eta is large."""
    rng = np.random.default_rng(0)

    def samples(n, p, teacher):
        X, X_test = rng.standard_normal((n, p)), rng.standard_normal((500, p))
        return X, teacher(X), (X_test, teacher(X_test))

    def case(model, seed=1, scale=1.0, **options):
        return Case(model, model.initial_weights(seed=seed, scale=scale, **options))

    def sparse(X):
        return X[:, 0] - X[:, 1]

    found = {}
    X, y, test = samples(30, 60, sparse)
    found["linear"] = case(gf.models.LinearRegression(X, y, test=test, scale="sum"))
    found["random features"] = case(gf.models.RandomFeatures(X, y, width=100, test=test, scale="sum"))
    X, y, test = samples(15, 30, sparse)
    found["diagonal"] = case(gf.models.DiagonalLinearNetwork(X, y, test=test, scale="sum"), scale=3.0)
    found["u^3 - v^3"] = case(gf.models.DeepDiagonalNetwork(X, y, depth=3, test=test, scale="sum"), scale=3.0)
    seen = rng.random((8, 8)) < 0.4
    truth = np.outer(rng.standard_normal(8), rng.standard_normal(8))
    rows, cols = np.nonzero(seen)
    unseen = *np.nonzero(~seen), truth[~seen]
    found["completion"] = case(
        gf.models.MatrixCompletion(
            rows, cols, truth[rows, cols], shape=(8, 8), width=4, test=unseen, scale="sum"
        )
    )
    found["deep completion"] = case(
        gf.models.DeepMatrixCompletion(
            rows, cols, truth[rows, cols], shape=(8, 8), widths=(8, 8), test=unseen, scale="sum"
        ),
        scale=2.0,
    )
    A = rng.standard_normal((12, 6, 6))
    found["U U^T - V V^T"] = case(
        gf.models.SymmetricSensing(A, rng.standard_normal(12), width=6, negative=6, scale="sum")
    )

    def smooth(X):
        return np.tanh(X[:, 0]) - np.tanh(X[:, 1])

    X, y, test = samples(12, 3, smooth)
    net = gf.models.TwoLayerNetwork(X, y, width=30, scale="sum", test=test)
    found["tanh"] = case(net)
    found["tanh, inner weights"] = case(gf.models.Trained(net, net.initial_weights(seed=1), train=["V", "b"]))
    found["MLP"] = case(gf.models.MLP(X, y, (20, 20), scale="sum", test=test), scale=2.0)
    X, y, test = samples(10, 20, sparse)
    found["deep linear"] = case(gf.models.DeepLinearNetwork(X, y, (10, 10), test=test, scale="sum"))
    X, y, test = samples(6, 2, smooth)
    found["relu"] = case(gf.models.TwoLayerNetwork(X, y, width=40, activation="relu", test=test, scale="sum"))
    return found


def classifiers() -> dict[str, Case]:
    """Return problems of three classes, the largest of the first three features."""
    rng = np.random.default_rng(0)
    codes = np.eye(3)

    def samples(n, p):
        X, X_test = rng.standard_normal((n, p)), rng.standard_normal((5000, p))
        return X, X[:, :3].argmax(axis=1), (X_test, X_test[:, :3].argmax(axis=1))

    def coded(X, y, test):
        return (X, codes[y]), {"test": (test[0], codes[test[1]]), "scale": "samples"}

    def case(model, scale=1.0):
        return Case(model, model.initial_weights(seed=1, scale=scale))

    wide, narrow = samples(20, 25), samples(14, 3)
    found, two, smoothed = {}, gf.models.TwoLayerNetwork, gf.losses.CrossEntropy(0.2)
    data, options = coded(*wide)
    found["two layers"] = case(two(*data, width=60, **options), 1.5)
    found["polynomial"] = case(
        two(*data, width=50, activation="polynomial", coefficients=(0, 1, 0.3), output_scale="ntk", **options)
    )
    net = two(*data, width=60, activation="gelu", **options)
    found["inner weights"] = case(gf.models.Trained(net, net.initial_weights(seed=2), train=["V", "b"]))
    X, y, test = wide
    found["cross-entropy"] = case(two(X, y, width=60, loss=smoothed, test=test), 1.5)
    found["MLP"] = case(gf.models.MLP(X, y, (30,), activation="gelu", loss=smoothed, test=test), 2.0)
    data, options = coded(*narrow)
    for activation in ("relu", "abs", "tanh"):
        found[activation] = case(two(*data, width=60, activation=activation, **options))
    return found


def slopes(chosen):
    """The distance of flows to the drift falls as lam, where eta is above 100 lam (Prop. 2)."""
    print("\nDistance of the flow to the drift, s >= 0.5, over lam where eta > 100 lam: by least squares,")
    print("and between the two largest rates")
    print(f"  {'problem':<22}{'d':>6}{'rates':>18}{'slope':>9}{'largest':>9}{'up to s':>9}  eta")
    for name, case in chosen.items():
        span = {"s_end": 2.0, "eps": 0.5, "kappa": 100.0}
        phases = gf.two_phase(case.problem, case.w0, RATES, rtol=1e-11, atol=1e-14, **span)
        if phases.slow is None:
            print(f"  {name:<22}{case.problem.num_params:>6}  {phases.message[:60]}")
            continue
        eta, seen = phases.slow.monitor["eta"], phases.fit.distance
        rates = list(seen)
        first = np.log(seen[rates[0]] / seen[rates[1]]) / np.log(rates[0] / rates[1])
        print(
            f"  {name:<22}{case.problem.num_params:>6}{f'{rates[0]:g} ... {rates[-1]:g}':>18}"
            f"{phases.slope:>9.4f}{first:>9.4f}{phases.fit.s_end:>9.3g}  {eta[0]:.1e} ... {eta.min():.1e}",
            flush=True,
        )


def derivative(chosen):
    """On the manifold D Phi = P: the limit map moves by what is tangent (Prop. 1)."""
    print("\n||(Phi(w + h v) - Phi(w - h v)) / 2h - P v|| / ||v|| on the manifold, h = 1e-4")
    for name, case in chosen.items():
        landing = gf.limit_map(case.problem, case.w0, rtol=1e-10)
        if not landing.success:
            print(f"  {name:<22}  {landing.status}")
            continue
        v = np.random.default_rng(2).standard_normal(landing.w.size)
        ends = [gf.limit_map(case.problem, landing.w + h * v, rtol=1e-11).w for h in (1e-4, -1e-4)]
        P = gf.tangent_projection(case.problem, landing.w, v, rtol_rank=1e-12).v
        error = np.linalg.norm((ends[0] - ends[1]) / 2e-4 - P) / np.linalg.norm(v)
        print(f"  {name:<22}{error:>10.1e}", flush=True)


def losses(chosen):
    """To first order in lam the train loss of the slow phase is (c/2) ||lam (cK)^-1 J w||^2."""
    print("\nTrain loss of the flow over its prediction at s = 1")
    print(f"  {'problem':<22}" + "".join(f"{lam:>12g}" for lam in [1e-4, 1e-5, 1e-6]))
    for name, case in chosen.items():
        phases = gf.two_phase(case.problem, case.w0, [1e-4, 1e-5, 1e-6], s_end=1.0, **TOLERANCE)
        if phases.slow is None:
            continue
        ratios = []
        for lam, sol in phases.flows.items():
            excess = phases.predicted_loss(lam)[-1]
            ratios.append(sol["train_loss"][-1] / excess if phases.horizon[lam] > 1.0 else np.nan)
        print(f"  {name:<22}" + "".join(f"{ratio:>12.5f}" for ratio in ratios), flush=True)


def delays(chosen):
    """The limit alone predicts the delay between train and test data, within its horizon."""
    print("\nObserved over predicted delay; tolerances 1e-3, and between the first and the least test loss;")
    print("then by the norm, up to its value at the landing + 1e-3, and half way down")
    print(f"  {'problem':<22}" + "".join(f"{lam:>12g}" for lam in TIMELY * 2) + "   horizon s*")
    for name, case in chosen.items():
        phases = gf.two_phase(case.problem, case.w0, TIMELY, s_end="auto")
        if phases.slow is None:
            continue
        size, found = phases.slow["norm"], []
        if "test_loss" in phases.slow.observed:
            test = phases.slow["test_loss"]
            level = float(np.sqrt(test[0] * max(test.min(), 1e-3 * test[0])))
            found += phases.grokking_times(1e-3, level).values()
        cells = [f"{t.delay / t.predicted_delay:>12.4f}" for t in found] or [f"{'no test data':>24}"]
        found = phases.grokking_times(size[0] + 1e-3, (size[0] + size.min()) / 2, by="norm").values()
        cells += [f"{t.delay / t.predicted_delay:>12.4f}" for t in found]
        told = ", ".join(f"{s:.3g}" for s in phases.horizon.values())
        print(f"  {name:<22}{''.join(cells)}   {told}", flush=True)


def accuracies(chosen):
    """The same by accuracy: half of what the test data gain, of all problems with classes."""
    print("\nObserved over predicted delay by accuracy; tolerances 2%, and half way down the test error")
    print(f"  {'problem':<22}" + "".join(f"{lam:>12g}" for lam in TIMELY) + "   error, horizon s*")
    for name, case in classifiers().items():
        phases = gf.two_phase(case.problem, case.w0, TIMELY, s_end=6.0)
        wrong = 1.0 - phases.slow["test_accuracy"]
        found = phases.grokking_times(0.02, (wrong[0] + wrong.min()) / 2, by="accuracy")
        cells = [f"{t.delay / t.predicted_delay:>12.4f}" for t in found.values()]
        told = ", ".join(f"{s:.3g}" for s in phases.horizon.values())
        print(f"  {name:<22}{''.join(cells)}   {wrong[0]:.3f} -> {wrong.min():.3f}, {told}", flush=True)


def normals(chosen):
    """With the normal correction the distance in normal directions falls as lam^2."""
    rates = [1e-4, 1e-5, 1e-6]
    print("\nNormal distance of the flow to the composite over lam, the median of s >= 0.5: without the")
    print("correction, and with it")
    for name, case in chosen.items():
        phases = gf.two_phase(case.problem, case.w0, rates, s_end=2.0, kappa=100.0, rtol=1e-11, atol=1e-14)
        if phases.slow is None:
            continue
        end, cells = min(2.0, *phases.horizon.values()), []
        for correct in (False, True):
            apart = []
            for lam, sol in phases.flows.items():
                late = (lam * sol.t > 0.5) & (lam * sol.t < end)
                composite = phases.composite(lam, normal_correction=correct)[late]
                pairs = zip(composite, sol.w[late] - composite, strict=True)
                apart.append(np.median([normal_size(case.problem, w, e) for w, e in pairs] or [np.nan]))
            cells.append(np.polyfit(np.log(rates), np.log(apart), 1)[0])
        print(f"  {name:<22}{cells[0]:>8.3f}{cells[1]:>8.3f}   up to s = {end:.3g}", flush=True)


def normal_size(problem, w, e):
    """The size of what of e is normal to the manifold at w, along the data points on which neurons slide."""
    piece = core.drifting_piece(problem._core, w, core.weighted_norm([(0, w.size, 1.0)]))
    J = piece.linearize(w).jacobian()
    return np.linalg.norm(np.linalg.lstsq(J, J @ e, rcond=None)[0])


def exponents(chosen):
    """Where the drift ends at a singular point of M the distance falls by another power of lam."""
    print("\nDistance at the end, s = 8, over lam: exponent by least squares, with its standard error")
    for name in ("diagonal", "u^3 - v^3", "completion", "deep completion", "relu"):
        if name not in chosen:
            continue
        case = chosen[name]
        phases = gf.two_phase(case.problem, case.w0, [1e-3, 1e-4, 1e-5, 1e-6], s_end=8.0, **TOLERANCE)
        if phases.slow is None:
            continue
        apart = [distance_path(sol, phases.slow, lam)[1][-1] for lam, sol in phases.flows.items()]
        x, y = np.log(list(phases.flows)), np.log(apart)
        (power, _), residual, *_ = np.polyfit(x, y, 1, full=True)
        error = np.sqrt(float(residual[0]) / (len(x) - 2) / np.sum((x - x.mean()) ** 2))
        eta = phases.slow.monitor["eta"][-1]
        print(f"  {name:<22}{power:>8.3f} +- {error:.3f}   eta at the end {eta:.1e}", flush=True)


PARTS = {part.__name__: part for part in (slopes, derivative, losses, delays, accuracies, normals, exponents)}


def main(argv=None):
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.theory", description=__doc__)
    parser.add_argument("--part", choices=PARTS, action="append", help="a table; repeat for several")
    parser.add_argument("--problem", action="append", help="a problem; repeat for several")
    asked = parser.parse_args(argv)
    chosen = {name: case for name, case in cases().items() if asked.problem is None or name in asked.problem}
    for part in asked.part or PARTS:
        PARTS[part](chosen)


if __name__ == "__main__":
    main()
