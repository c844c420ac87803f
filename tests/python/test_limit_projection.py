"""The projector on the tangent space of the manifold: what it has to be, and three ways to it."""

import re
from itertools import pairwise

import grokflow as gf
import numpy as np
import pytest
from limit_problems import PROBLEMS, diagonal, hyperbola, landed, quadric

each_problem = pytest.mark.parametrize("name", PROBLEMS)
each_curvature = pytest.mark.parametrize("curvature", ["gram", "dense", "krylov"])


def projector(problem, w, curvature):
    """Return P (d, d), column by column."""
    return np.array([gf.tangent_projection(problem, w, e, curvature=curvature).v for e in np.eye(len(w))]).T


@each_problem
@each_curvature
def test_it_is_the_orthogonal_projector_on_the_kernel(name, curvature):
    problem, w = landed(name)
    P, J, H = projector(problem, w, curvature), problem.jacobian(w), problem.hessian(w)
    for zero in (P - P.T, P @ P - P, P @ J.T, H @ P):
        assert np.abs(zero).max() < 1e-9
    assert np.trace(P) == pytest.approx(len(w) - np.linalg.matrix_rank(J), abs=1e-9)


@each_problem
def test_the_three_ways_agree(name):
    problem, w = landed(name)
    v = np.cos(np.arange(len(w)))
    gram, dense, krylov = (
        gf.tangent_projection(problem, w, v, curvature=curvature) for curvature in ("gram", "dense", "krylov")
    )
    assert dense.v == pytest.approx(gram.v, abs=1e-9)
    assert krylov.v == pytest.approx(gram.v, abs=1e-9)
    values = problem.scale * np.linalg.eigvalsh(problem.gram(w))
    assert gram.rank == dense.rank == problem.num_residuals
    assert krylov.rank is None
    for found in (gram, dense, krylov):
        assert found.eta == pytest.approx(values[0], rel=2e-3)
        assert found.largest == pytest.approx(values[-1], rel=2e-3)
        assert found.distance < 1e-12
        assert found.gap > 1e6
    assert {gram.curvature, dense.curvature, krylov.curvature} == {"gram", "dense", "krylov"}


def test_the_normal_part_is_known_where_the_model_is_homogeneous():
    """Degree 2: J w = 2 f(w) = 2 y on the manifold, so that ||P w||^2 = ||w||^2 - 4 y.K^-1 y."""
    problem, w = landed("completion")
    y = -problem.residual(np.zeros_like(w))
    expected = w @ w - 4.0 * y @ np.linalg.solve(problem.gram(w), y)
    found = gf.tangent_projection(problem, w, w).v
    assert found @ found == pytest.approx(expected, rel=1e-10)


@each_curvature
def test_samples_that_come_twice_count_once(curvature):
    """The tangent kernel is singular; the space of directions that change no prediction is the same."""
    rng = np.random.default_rng(0)
    X, w = rng.standard_normal((3, 7)), rng.standard_normal(7)
    y, v = X @ w, rng.standard_normal(7)
    once = gf.models.LinearRegression(X, y)
    twice = gf.models.LinearRegression(np.vstack([X, X]), np.r_[y, y])
    found = gf.tangent_projection(twice, w, v, curvature=curvature)
    assert found.v == pytest.approx(gf.tangent_projection(once, w, v).v, abs=1e-9)
    assert found.rank == (None if curvature == "krylov" else 3)


@pytest.mark.parametrize("curvature", ["dense", "krylov"])
def test_a_residual_that_stays_takes_the_full_hessian(curvature):
    """At minimisers of positive loss, F = ((w_1 w_2 - 1)^2 + (w_1 w_2 - 3)^2 + 4 w_3^2) / 2."""
    problem = gf.LeastSquares(
        residual=lambda w: [w[0] * w[1] - 1.0, 2.0 * w[2], w[0] * w[1] - 3.0],
        jacobian=lambda w: [[w[1], w[0], 0.0], [0.0, 0.0, 2.0], [w[1], w[0], 0.0]],
        hvp=lambda w, v: np.r_[
            (2.0 * w[0] * w[1] - 4.0) * v[1::-1] + 2.0 * w[1::-1] * (w[1::-1] @ v[:2]), 4.0 * v[2]
        ],
        num_params=3,
        num_residuals=3,
        scale="sum",
    )
    w = np.array([0.5, 4.0, 0.0])  # w_1 w_2 = 2: the residual is (1, 0, -1)
    tangent = np.array([0.5, -4.0, 0.0]) / np.sqrt(16.25)
    found = gf.tangent_projection(problem, w, [1.0, 1.0, 1.0], curvature=curvature)
    assert found.v == pytest.approx(tangent * (tangent @ np.ones(3)), abs=1e-9)
    assert gf.tangent_projection(problem, w, w).curvature == "dense"  # of itself


@pytest.mark.parametrize("share", [1.0, 1e-4, 1e-8, 0.0])
@pytest.mark.parametrize("curvature", ["dense", "krylov"])
def test_a_projection_that_is_small_beside_the_vector(curvature, share):
    """P v is exact to the round-off of v, which is not that of P v."""
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))[0]
    H = (Q * [1.0, 1.0, 2.0, 2.0, 0.0, 0.0]) @ Q.T
    m, k = Q[:, :4] @ np.ones(4), share * Q[:, 4:] @ [1.0, -1.0]
    problem = gf.Objective(
        loss=lambda w: (w - m) @ H @ (w - m) / 2,
        gradient=lambda w: H @ (w - m),
        num_params=6,
        hvp=lambda w, v: H @ v,
    )
    found = gf.tangent_projection(problem, m, m + k, curvature=curvature)
    np.testing.assert_allclose(found.v, k, rtol=0, atol=1e-14)
    alone = gf.tangent_projection(problem, m, k, curvature=curvature)
    np.testing.assert_allclose(alone.v, k, rtol=0, atol=1e-14 * share)
    drift = gf.norm_flow(problem, m + k, (0, 20), curvature=curvature, max_steps=200)
    assert drift.success, drift.message
    np.testing.assert_allclose(drift.final, m + np.exp(-20) * k, rtol=0, atol=1e-6)


def test_the_threshold_of_the_rank_can_be_set():
    """Eigenvalues below rtol_rank times the largest count as zero."""
    X = np.diag([1.0, 1e-2, 1e-4])
    problem = gf.models.LinearRegression(X, np.zeros(3), scale="sum")
    for threshold, rank in ((1e-9, 3), (1e-5, 2), (1e-3, 1), (None, 3)):
        for curvature in ("gram", "dense"):
            found = gf.tangent_projection(
                problem, np.zeros(3), np.ones(3), curvature=curvature, rtol_rank=threshold
            )
            assert found.rank == rank
            assert found.v == pytest.approx(1.0 * (np.arange(3) >= rank), abs=1e-9)
            assert found.eta == pytest.approx(10.0 ** (-4 * (rank - 1)), rel=2e-3)


@pytest.mark.parametrize("curvature", ["gram", "dense"])
def test_the_rank_of_a_graded_matrix(curvature):
    """Entries that are small as such are no round-off of large ones."""
    problem = gf.models.LinearRegression(np.diag(10.0 ** -np.arange(8)), np.ones(8))
    found = gf.tangent_projection(problem, 10.0 ** np.arange(8), np.ones(8), curvature=curvature)
    assert found.rank == 8
    assert found.eta == pytest.approx(1e-14 / 8, rel=1e-2)
    np.testing.assert_allclose(found.v, 0.0, atol=1e-14)


@pytest.mark.parametrize("curvature", ["dense", "gram"])
def test_a_rank_that_round_off_decides_is_refused(curvature):
    """Two eigenvalues close to each other that sink into round-off count until one of them may be noise; a
    Hessian of which only that noise is left has a rank again, one that is made from K = J J^T has not."""
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]

    def rank(size, **options):
        problem = gf.models.LinearRegression(np.diag([1.0, size, size / 1.6]) @ Q, np.zeros(3))
        return gf.tangent_projection(problem, np.zeros(3), np.ones(3), curvature=curvature, **options).rank

    found = []
    for size in np.geomspace(1e-6, 1e-8, 41):  # their squares are eigenvalues
        try:
            found.append(rank(size))
        except ValueError as refusal:
            told = re.search("rank of the Hessian at w cannot be decided.*rtol_rank", str(refusal))
            found.append("refused" if told else str(refusal))
            assert rank(size, rtol_rank=1e-10) == 1
    changes = [after for before, after in pairwise([None, *found]) if after != before]
    assert changes == [3, "refused", 1] if curvature == "dense" else [3, "refused"]


def test_points_off_the_manifold_are_refused():
    problem = hyperbola()
    with pytest.raises(
        ValueError, match=r"not on the manifold.*distance is about.*\|\|r\|\| = 0.5.*limit_map"
    ):
        gf.tangent_projection(problem, [1.5, 1.0], [1.0, 0.0])
    with pytest.raises(ValueError, match=r"not on the manifold.*distance is about"):
        gf.tangent_projection(quadric([1.0, 2.0]), [1.0, 1.0], [1.0, 0.0])


def test_saddles_are_refused():
    with pytest.raises(ValueError, match=r"saddle of F: 1 eigenvalues of its Hessian are negative"):
        gf.tangent_projection(hyperbola(), [0.0, 0.0], [1.0, 0.0])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"problem": 3}, TypeError, "must be a grokflow.Problem"),
        ({"w": [1.0]}, ValueError, r"w has shape \(1,\)"),
        ({"w": np.full(16, np.nan)}, ValueError, r"w\[0\] is nan"),
        ({"v": np.ones(3)}, ValueError, r"v has shape \(3,\)"),
        ({"curvature": "lanczos"}, ValueError, "curvature is 'lanczos'"),
        ({"rtol_rank": 0.0}, ValueError, "rtol_rank"),
        ({"rtol_rank": 1.0}, ValueError, "rtol_rank is 1.0; it must be below 1"),
    ],
)
def test_misuse(change, error, message):
    problem, w = landed("diagonal")
    arguments = {"problem": problem, "w": w, "v": w} | change
    with pytest.raises(error, match=message):
        gf.tangent_projection(**arguments)


def test_what_the_problem_lacks_is_named():
    blind = gf.Objective(loss=lambda w: w @ w, gradient=lambda w: 2.0 * w, num_params=2)
    with pytest.raises(ValueError, match="hvp="):
        gf.tangent_projection(blind, np.zeros(2), np.ones(2))
    assert diagonal().num_residuals  # a model offers all three


def test_a_projection_costs_one_product_with_J_and_one_with_its_transpose():
    """As long as K is conditioned well; a second pass repairs what an ill-conditioned one has spoilt."""
    rng = np.random.default_rng(5)
    left, right = np.linalg.qr(rng.standard_normal((8, 8)))[0], np.linalg.qr(rng.standard_normal((30, 8)))[0]
    v = rng.standard_normal(30)
    for decades, passes in ((0.5, 1), (5.0, 2)):
        X = (left * np.logspace(0, -decades, 8)) @ right.T
        found = gf.tangent_projection(gf.models.LinearRegression(X, np.zeros(8)), np.zeros(30), v)
        assert (found.stats["njvp"], found.stats["nvjp"]) == (passes, passes)
        assert found.v == pytest.approx(v - right @ (right.T @ v), abs=1e-13 * 10**decades)


@each_problem
def test_the_distance_is_that_of_newtons_method(name):
    """Of a point a little beside the manifold: the length of -H^+ grad F, found without that vector."""
    problem, w = landed(name)
    J = problem.jacobian(w)
    beside = w + 1e-8 * J.T @ np.linalg.solve(J @ J.T, np.cos(np.arange(len(J))))
    found = gf.tangent_projection(problem, beside, w, curvature="gram")
    J, r = problem.jacobian(beside), problem.residual(beside)
    assert found.distance == pytest.approx(np.linalg.norm(np.linalg.pinv(J) @ r), rel=1e-6)


@each_curvature
def test_a_point_beside_the_manifold_is_taken_there_first(curvature):
    """One of a flow with decay is off by lam; its projection is that at the nearest point, which is told."""
    problem, w = landed("completion")
    beside = gf.gradient_flow(problem, w, (0, 1e3), weight_decay=1e-4).final
    with pytest.raises(ValueError, match=r"not on the manifold.*land=True"):
        gf.tangent_projection(problem, beside, beside, curvature="gram")
    found = gf.tangent_projection(problem, beside, beside, curvature=curvature, land=True)
    assert problem.loss(found.w) < 1e-25
    assert 0.0 < np.linalg.norm(found.w - beside) < 1e-2 * np.linalg.norm(beside)
    there = gf.tangent_projection(problem, found.w, beside, curvature=curvature)
    np.testing.assert_allclose(found.v, there.v, atol=1e-12)
    assert np.array_equal(there.w, found.w)
