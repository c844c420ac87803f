"""`max_time` ends a run between two products of a long solve, and with a checkpoint between two steps."""

import time
from collections import Counter

import grokflow as gf
import numpy as np
import pytest

D = 400


def network():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((150, 9))
    return gf.models.TwoLayerNetwork(X, np.sin(X[:, 0]), width=D // 10, activation="tanh")


def counted(calls, **delays):
    """A function of the network as a user would write it, that takes its time."""
    problem = network()

    def of(name):
        def call(*arguments):
            calls[name] += 1
            time.sleep(delays.get(name, 0.0))
            return getattr(problem, name)(*arguments)

        return call

    return problem, of


def least_squares(calls):
    problem, of = counted(calls, jvp=0.01, vjp=0.01)
    return gf.LeastSquares(
        residual=of("residual"),
        jvp=of("jvp"),
        vjp=of("vjp"),
        num_params=problem.num_params,
        num_residuals=problem.num_residuals,
    ), problem.initial_weights(seed=0)


def objective(calls):
    problem, of = counted(calls, hvp=0.01)
    return gf.Objective(
        loss=of("loss"), gradient=of("gradient"), hvp=of("hvp"), num_params=problem.num_params
    ), problem.initial_weights(seed=0)


def flow(problem, w0, **options):
    return gf.gradient_flow(problem, w0, (0.0, 1e4), weight_decay=1e-3, **options)


@pytest.mark.parametrize("run", [flow, gf.limit_map])
@pytest.mark.parametrize(
    ("make", "curvature"),
    [(least_squares, "gram"), (least_squares, "dense"), (objective, "dense"), (objective, "krylov")],
)
def test_a_limit_ends_a_matrix_or_a_solve_under_way(make, curvature, run):
    """A matrix of D or of 150 columns takes seconds; within the limit there is time for 20 products."""
    calls = Counter()
    problem, w0 = make(calls)
    ended = run(problem, w0, curvature=curvature, max_time=0.2)
    assert ended.status == "time_limit"
    assert calls["jvp"] + calls["vjp"] + calls["hvp"] < 60
    path = ended if isinstance(ended, gf.Solution) else ended.path
    assert path.final == pytest.approx(w0 if path.stats["nsteps"] == 0 else path.w[-1])


def test_a_run_with_a_checkpoint_ends_with_a_step(tmp_path):
    """So that it goes on to the same bits."""
    problem = network()
    w0 = problem.initial_weights(seed=0)
    options = {"weight_decay": 1e-3, "curvature": "krylov"}
    whole = gf.gradient_flow(problem, w0, (0.0, 1e3), **options)
    path = tmp_path / "run.ckpt"
    part = gf.gradient_flow(problem, w0, (0.0, 1e3), **options, max_time=1e-2, checkpoint=path)
    assert part.status == "time_limit"
    last = part
    while last.status == "time_limit":
        last = gf.resume(path, max_time=0.1)
    assert last.final.tolist() == whole.final.tolist()
    assert last.stats["nfev"] == whole.stats["nfev"]
