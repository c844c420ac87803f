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


@pytest.mark.parametrize("rates", [{"*": 1e-3}, {"u": 1e-3, "v": 1.0}], ids=["one rate", "two rates"])
def test_kernel_and_hessian_take_the_same_steps(rates):
    """Radau's complex systems, large enough for blocks: Cholesky of the kernel against LU of the Hessian.

    On the minimisers the Hessian is that of Gauss and Newton, so that the two agree to round-off.
    """
    X = rng.standard_normal((80, 120))
    u, v = rng.standard_normal((2, 120))
    problem = gf.models.DiagonalLinearNetwork(X, X @ (u * v))
    start = np.concatenate([u, v])
    sols = [
        gf.gradient_flow(
            problem,
            start,
            (0, 1e-2),
            weight_decay=rates,
            method="Radau",
            curvature=curvature,
            rtol=1e-10,
            atol=1e-12,
        )
        for curvature in ("gram", "dense")
    ]
    np.testing.assert_allclose(sols[0].final, sols[1].final, rtol=1e-11)
    assert sols[0].stats["nsteps"] == sols[1].stats["nsteps"]
    assert sols[0].stats["nfev"] == pytest.approx(sols[1].stats["nfev"], rel=0.1)
    assert sols[0].stats["nfailed"] == 0
