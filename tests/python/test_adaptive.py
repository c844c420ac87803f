"""Where a kernel has its price, solves do without one while few iterations do."""

import grokflow as gf
import numpy as np
import pytest
from checkpoints import same


@pytest.fixture(scope="module")
def completion():
    """Half of a matrix of rank 3: the weaker the decay, the more iterations a solve takes."""
    rng = np.random.default_rng(2)
    target = rng.standard_normal((20, 3)) @ rng.standard_normal((3, 20))
    rows, cols = np.divmod(rng.permutation(400)[:200], 20)
    problem = gf.models.MatrixCompletion(rows, cols, target[rows, cols], shape=target.shape, width=10)
    return problem, rng.standard_normal(problem.num_params)


def run(completion, lam, curvature="auto", **options):
    problem, w0 = completion
    sol = gf.gradient_flow(problem, w0, (0.0, 10.0 / lam), weight_decay=lam, curvature=curvature, **options)
    assert sol.success
    return sol


@pytest.mark.parametrize(("lam", "method"), [(1e-3, "BDF"), (1e-3, "Radau"), (1e-8, "BDF")])
def test_it_does_less_than_either(completion, lam, method):
    """At 1e-3 few kernels, at 1e-8 few iterations; and the same path."""
    ours, gram, krylov = (run(completion, lam, kind, method=method) for kind in ("auto", "gram", "krylov"))
    assert ours.settings["curvature"] == "adaptive"
    for other in (gram, krylov):
        np.testing.assert_allclose(ours.w, other.w, rtol=0, atol=2e-5)
        assert ours.stats["nsteps"] < 1.1 * other.stats["nsteps"]
    kernel = 100  # iterations at least that K with its factor is worth
    price = [s.stats["niter"] + kernel * s.stats["nfactor"] for s in (ours, gram, krylov)]
    assert price[0] < 1.1 * min(price[1:])
    if lam == 1e-3:
        assert ours.stats["nfactor"] < 0.2 * gram.stats["nfactor"]
    else:
        assert ours.stats["niter"] < 0.3 * krylov.stats["niter"]


@pytest.mark.parametrize("attempts", [40, 400, 600])
def test_it_goes_on_as_what_it_was(completion, attempts, tmp_path):
    """To the same bits, with a kernel or without one at that moment."""
    path = tmp_path / "run.ckpt"
    problem, w0 = completion
    part = gf.gradient_flow(problem, w0, (0.0, 1e7), weight_decay=1e-6, checkpoint=path, max_steps=attempts)
    assert (part.stats["ngram"] > 0) == (attempts > 40)
    same(gf.resume(path, max_steps=10**6), run(completion, 1e-6))


def test_blocks_that_decay_differently(completion):
    lam = {"U": 1e-5, "V": 2e-5}
    problem, w0 = completion
    ours, gram = (
        gf.gradient_flow(problem, w0, (0.0, 1e6), weight_decay=lam, curvature=kind)
        for kind in ("auto", "gram")
    )
    assert ours.settings["curvature"] == "adaptive"
    assert ours.stats["ngram"] > 0
    np.testing.assert_allclose(ours.w, gram.w, rtol=0, atol=2e-5)


@pytest.fixture(scope="module")
def sensing():
    """Four hundred residuals, for which K with its factor takes tens of gradients."""
    rng = np.random.default_rng(5)
    A = rng.standard_normal((400, 30, 30)) / 30
    target = rng.standard_normal((30, 2)) @ rng.standard_normal((2, 30))
    problem = gf.models.MatrixSensing(A, np.einsum("kij,ij->k", A, target), width=10)
    return problem, 0.3 * rng.standard_normal(problem.num_params)


def test_a_kernel_serves_many_steps(sensing):
    ours, gram = (run(sensing, 1e-7, kind, rtol=1e-4) for kind in ("auto", "gram"))
    assert ours.settings["curvature"] == "adaptive"
    assert 0 < ours.stats["ngram"] < 0.5 * gram.stats["ngram"]
    assert ours.stats["niter"] < 4 * ours.stats["nsolve"]
    assert ours.stats["nsteps"] < 1.1 * gram.stats["nsteps"]
    np.testing.assert_allclose(ours.w, gram.w, rtol=0, atol=1e-3)


@pytest.mark.parametrize("attempts", [200, 300])
def test_a_kernel_of_an_earlier_step_is_found_again(sensing, attempts, tmp_path):
    path = tmp_path / "run.ckpt"
    problem, w0 = sensing
    options = {"weight_decay": 1e-7, "rtol": 1e-4}
    part = gf.gradient_flow(problem, w0, (0.0, 1e8), **options, checkpoint=path, max_steps=attempts)
    assert part.stats["ngram"] > 0
    same(gf.resume(path, max_steps=10**6), run(sensing, 1e-7, rtol=1e-4))
