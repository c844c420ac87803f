"""What runs cost, to the count: where a controller, a monitor or a bound decides otherwise, it shows here.

The counts in ../data/counts.json are those of this version, and no law asks for them: after a change that is
meant to change them ``python tests/python/test_counts.py`` writes them anew, and the difference is looked at.
Runs end before round-off decides about their steps, so that all builds take the same.
"""

import itertools
import json
import platform
import sys
import warnings
from collections import Counter
from pathlib import Path

import grokflow as gf
import numpy as np
import pytest

FILE = Path(__file__).parents[1] / "data" / "counts.json"
SMOOTH = {
    "diagonal": lambda X, y: gf.models.DiagonalLinearNetwork(X, y),
    "tanh": lambda X, y: gf.models.TwoLayerNetwork(X, y, width=8),
}


def stats_of(runs):
    """Return what these runs have cost together, and the sum of log h over their steps."""
    total, sizes = Counter(), []
    for run in runs:
        total.update({name: count for name, count in run.stats.items() if name != "seconds"})
        total[f"ended {run.status}"] += 1
        sizes.append(np.log(np.diff(run.t)[1:]).sum())
    return {**total, "sizes": float(np.sum(sizes))}


def data(seed, n, inputs):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, inputs)), rng.standard_normal(n)


def smooth(model, seed, std=0.5):
    problem = SMOOTH[model](*data(seed, 6, 9 if model == "diagonal" else 2))
    return problem, problem.initial_weights(seed=seed, std=std)


def smooth_flows(method, curvature, model):
    options = {"method": method, "t_eval": None} | ({"curvature": curvature} if curvature else {})
    for seed, lam, rtol in itertools.product(range(2), (0.0, 1e-2), (1e-3, 1e-5, 1e-7)):
        yield gf.gradient_flow(*smooth(model, seed), (0, 20), weight_decay=lam, rtol=rtol, **options)
    decays = {"*": 1e-2, "u": 1e-1}
    yield gf.gradient_flow(*smooth(model, 3), (0, 20), weight_decay=decays, **options)
    for first_step in (0.02, 0.2, 2.0, 5.0):
        yield gf.gradient_flow(*smooth(model, 4), (0, 20), weight_decay=0.1, first_step=first_step, **options)
    for rtol in (1e-2, 1e-4):  # out of a saddle
        yield gf.gradient_flow(*smooth(model, 5, 1e-9), (0, 80), weight_decay=0.0, rtol=rtol, **options)


def products(method, samples, inputs, decades, lam, rtol, t, seeds):
    """Solves that take many products, for their preconditioner is small."""
    for seed, rank in itertools.product(seeds, (1, 2, 5)):
        X, y = data(seed, samples, inputs)
        problem = gf.models.DiagonalLinearNetwork(X * np.logspace(0, -decades, inputs), y)
        yield gf.gradient_flow(
            problem, problem.initial_weights(seed=0, std=0.5), (0, t), weight_decay=lam, rtol=rtol,
            t_eval=None, method=method, curvature=gf.Krylov(rank=rank),
        )  # fmt: skip


def smooth_landings(curvature):
    """With fewer samples than weights, and with more."""
    for seed, (n, inputs), rtol in itertools.product(range(8), ((6, 9), (9, 4)), (1e-3, 1e-6)):
        problem = gf.models.DiagonalLinearNetwork(*data(seed, n, inputs))
        w0 = problem.initial_weights(seed=seed, std=0.5)
        yield gf.limit_map(problem, w0, curvature=curvature, rtol=rtol).path


def kinked(activation, n, inputs, width, seed, **options):
    problem = gf.models.TwoLayerNetwork(
        *data(1000 * n + seed, n, inputs), width=width, activation=activation, **options
    )
    return problem, problem.initial_weights(seed=seed)


def kinked_flows(activation):
    options = {"t_eval": None, "weight_decay": 1e-3}
    for seed in range(6):
        yield gf.gradient_flow(
            *kinked(activation, 9, 1, 10, seed), (0, 3e3), rtol=10.0 ** -(3 + seed), **options
        )
    for seed, decay in ((6, 1e-3), (7, {"*": 1e-3, "b": 1e-2}), (8, {"*": 1e-2, "V": 1e-3})):
        options["weight_decay"] = decay
        problem, w0 = kinked(activation, 12, 3, 12, seed, output_bias=seed == 6)
        yield gf.gradient_flow(problem, w0, (0, 300), rtol=1e-5, **options)
    options["weight_decay"] = gf.schedules.Cyclic(1e-1, 20.0)
    yield gf.gradient_flow(*kinked(activation, 12, 3, 12, 9), (0, 50), rtol=1e-5, **options)


def mirrored_flows(activation):
    """Data and neurons in pairs of opposite inputs, which meet all their surfaces together."""
    for seed in (0, 1, 3, 4):  # where round-off is no reason for the pairs to part
        X, y = data(6000 + seed, 9, 2)
        problem = gf.models.TwoLayerNetwork(np.r_[X, -X], np.r_[y, y], width=12, activation=activation)
        w0 = problem.initial_weights(seed=seed)
        for name, sign in (("u", 1.0), ("V", -1.0), ("b", 1.0)):
            half = w0[problem.blocks[name]].reshape(2, -1)
            half[1] = sign * half[0]
        yield gf.gradient_flow(problem, w0, (0, 100), weight_decay=1e-3, rtol=1e-5, t_eval=None)


def kinked_landings(activation):
    for seed in range(8):
        yield gf.limit_map(*kinked(activation, *((9, 1, 3), (12, 2, 3))[seed % 2], seed)).path


IMPLICIT = list(itertools.product(("BDF", "Radau"), ("dense", "gram", "krylov")))
CASES = {
    f"{model}, {method}, {curvature}": (smooth_flows, method, curvature, model)
    for model, (method, curvature) in itertools.product(SMOOTH, [*IMPLICIT, ("ROCK2", None)])
}
for method in ("BDF", "Radau"):
    CASES[f"products with K, {method}"] = (products, method, 40, 60, 2, 1e-2, 1e-4, 100, range(6, 10))
    CASES[f"products with H, {method}"] = (products, method, 60, 20, 2, 1e-2, 1e-4, 100, range(6, 10))
CASES["products with H, of eight decades"] = (products, "Radau", 100, 45, 4, 1e-6, 1e-5, 1e4, (2, 3))
CASES |= {f"landings, {kind}": (smooth_landings, kind) for kind in ("dense", "gram")}
CASES |= {f"{kind}, flows": (kinked_flows, kind) for kind in ("relu", "leaky_relu", "abs")}
CASES |= {f"{kind}, mirrored": (mirrored_flows, kind) for kind in ("relu", "leaky_relu", "abs")}
CASES |= {f"{kind}, landings": (kinked_landings, kind) for kind in ("relu", "abs")}


def counts(case):
    flows, *arguments = CASES[case]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return stats_of(flows(*arguments))


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="other compilers round otherwise"
)
@pytest.mark.parametrize("case", CASES)
def test_runs_cost_what_they_did(case):
    expected = json.loads(FILE.read_text())[case]
    found = counts(case)
    sizes = pytest.approx(expected.pop("sizes"), rel=1e-6, abs=1e-3)
    assert found.pop("sizes") == sizes
    assert found == pytest.approx(
        expected, rel=1e-3
    )  # of thousands, a few solves are won or lost by a last digit


if __name__ == "__main__":
    FILE.write_text(json.dumps({case: counts(case) for case in CASES}, indent=1) + "\n")
