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
    yield gf.gradient_flow(*smooth(model, 4), (0, 20), weight_decay=0.1, first_step=5.0, **options)
    for rtol in (1e-2, 1e-4):  # out of a saddle
        yield gf.gradient_flow(*smooth(model, 5, 1e-9), (0, 80), weight_decay=0.0, rtol=rtol, **options)


def products(method):
    """Solves that take many products, for their preconditioner is small."""
    X, y = data(6, 40, 60)
    problem = gf.models.DiagonalLinearNetwork(X * np.logspace(0, -2, 60), y)
    for rank in (2, 5):
        yield gf.gradient_flow(
            problem, problem.initial_weights(seed=0, std=0.5), (0, 100), weight_decay=1e-2, rtol=1e-4,
            t_eval=None, method=method, curvature=gf.Krylov(rank=rank),
        )  # fmt: skip


def kinked(activation, n, inputs, width, seed):
    problem = gf.models.TwoLayerNetwork(*data(1000 * n + seed, n, inputs), width=width, activation=activation)
    return problem, problem.initial_weights(seed=seed)


def kinked_flows(activation):
    options = {"t_eval": None, "weight_decay": 1e-3}
    for seed in range(6):
        yield gf.gradient_flow(
            *kinked(activation, 9, 1, 10, seed), (0, 3e3), rtol=10.0 ** -(3 + seed), **options
        )
    for seed, decay in ((6, 1e-3), (7, {"*": 1e-3, "b": 1e-2}), (8, {"*": 1e-2, "V": 1e-3})):
        options["weight_decay"] = decay
        yield gf.gradient_flow(*kinked(activation, 12, 3, 12, seed), (0, 300), rtol=1e-5, **options)


def kinked_landings(activation):
    for seed in range(8):
        yield gf.limit_map(*kinked(activation, *((9, 1, 3), (12, 2, 3))[seed % 2], seed)).path


IMPLICIT = list(itertools.product(("BDF", "Radau"), ("dense", "gram", "krylov")))
CASES = {
    f"{model}, {method}, {curvature}": (smooth_flows, method, curvature, model)
    for model, (method, curvature) in itertools.product(SMOOTH, [*IMPLICIT, ("ROCK2", None)])
}
CASES |= {f"products, {method}": (products, method) for method in ("BDF", "Radau")}
CASES |= {f"{kind}, flows": (kinked_flows, kind) for kind in ("relu", "leaky_relu", "abs")}
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
