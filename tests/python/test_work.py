"""Work that a run must not do twice."""

import grokflow as gf
import numpy as np
import pytest

rng = np.random.default_rng(5)


@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_equal_steps_share_a_factorisation(method):
    """With two rates of decay as with one: a step of the same size at the same linearisation costs none."""
    problem = gf.models.DiagonalLinearNetwork(rng.standard_normal((4, 6)), rng.standard_normal(4))
    w0 = problem.initial_weights(std=1.0, seed=0)
    names = list(problem.blocks)
    work = {
        decay: gf.gradient_flow(
            problem, w0, (0, 1e3), weight_decay={"*": 0.01, names[0]: decay}, method=method
        )
        for decay in (0.01, 0.02)
    }
    attempts, factored = zip(
        *((sol.stats["nsteps"] + sol.stats["nrejected"], sol.stats["nfactor"]) for sol in work.values()),
        strict=True,
    )
    per_step = np.array(factored) / np.array(attempts)
    assert per_step[1] < 1.1 * per_step[0]
