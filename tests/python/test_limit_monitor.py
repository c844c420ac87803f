"""What is watched along the drift: eta, the rank, the gap; rank changes, KKT points, and the horizon."""

import dataclasses
import re

import grokflow as gf
import numpy as np
import pytest
from limit_problems import PROBLEMS, diagonal, landed, linear

each_problem = pytest.mark.parametrize("name", PROBLEMS)


@each_problem
@pytest.mark.parametrize("curvature", ["gram", "dense", "krylov"])
def test_the_ends_of_the_spectrum_are_tracked(name, curvature):
    """At each step, to the 0.1% that a few inverse iterations give."""
    problem, w = landed(name)
    sol = gf.norm_flow(problem, w, (0, 5), t_eval=None, curvature=curvature)
    values = np.array([problem.scale * np.linalg.eigvalsh(problem.gram(w)) for w in sol.w])
    assert sol.monitor["s"] == pytest.approx(sol.t)
    assert sol.monitor["eta"] == pytest.approx(values[:, 0], rel=2e-3)
    assert sol.monitor["largest"] == pytest.approx(values[:, -1], rel=2e-3)
    rank = -1 if curvature == "krylov" else problem.num_residuals
    assert (sol.monitor["rank"] == rank).all()
    assert sol.rank_changes == []


def test_tracking_costs_no_decomposition():
    problem, w = landed("tanh")
    sol = gf.norm_flow(problem, w, (0, 5))
    stats, retractions = sol.stats, sol.stats["nsteps"] + len(sol.t)
    assert stats["nfactor"] <= stats["nlinearize"] <= stats["nproject"] + retractions


def sparse():
    """Return a network whose drift runs into a sparse point, where the kernel loses rank."""
    X, beta = np.random.default_rng(1).standard_normal((5, 6)), np.zeros(6)
    beta[0] = 1.5
    problem = gf.models.DiagonalLinearNetwork(X, X @ beta)
    return problem, gf.limit_map(problem, problem.initial_weights(std=1.0, seed=np.random.default_rng(0))).w


def test_a_change_of_rank_is_told():
    problem, w = sparse()
    sol = gf.norm_flow(problem, w, (0, 60))
    s, before, after = sol.rank_changes[0]
    assert before == 5
    assert after < 5
    assert f"from 5 to {after} at s = {s:.4g}" in sol.message
    i = np.searchsorted(sol.monitor["s"], s)
    assert sol.monitor["eta"][i - 1] < 1e-10  # what had sunk
    assert (sol.monitor["rank"][:i] == 5).all()


def test_what_round_off_decides_behind_a_change_of_rank_is_told_to_those_who_ask_for_more():
    problem, w = sparse()
    times, asked = np.linspace(0, 60, 40), (1e-4, 1e-6, 1e-9)
    runs = [gf.norm_flow(problem, w, (0, 60), rtol=rtol, t_eval=times) for rtol in (*asked, 1e-12)]
    assert all(run.rank_changes for run in runs)
    exact = runs[-1].w
    for rtol, run in zip(asked, runs, strict=False):
        error = np.max(np.linalg.norm(run.w - exact, axis=1) / np.linalg.norm(exact, axis=1))
        told = re.search(r"decided by round-off.* ask for rtol = (\S+)\.$", run.message)
        assert bool(told) == (rtol < 1e-5), run.message
        assert error < 10 * (float(told[1]) if told else rtol)


def test_a_change_of_rank_can_stop_the_run():
    problem, w = sparse()
    sol = gf.norm_flow(problem, w, (0, 60), on_rank_change="stop", t_eval=None)
    assert sol.status == "rank_change"
    assert not sol.success
    assert "The rank of the Hessian changed from 5 to " in sol.message
    assert "a singular point of the manifold" in sol.message
    assert sol.t_final == sol.monitor["s"][-1] == sol.rank_changes[0][0] < 60


@pytest.mark.parametrize("kkt_tol", [1e-2, 1e-6])
def test_it_stops_at_a_kkt_point_when_asked(kkt_tol):
    problem, w = landed("linear")
    sol = gf.norm_flow(problem, w, (0, 1e3), kkt_tol=kkt_tol)
    assert sol.status == "stationary"
    assert sol.success
    assert "KKT point" in sol.message
    tangent = gf.tangent_projection(problem, sol.final, sol.final).v
    assert np.linalg.norm(tangent) <= 1.01 * kkt_tol * np.linalg.norm(sol.final)
    assert sol.t_final == pytest.approx(np.log(1.0 / kkt_tol), abs=8.0)
    again = gf.norm_flow(problem, sol.final, (0, 1e3), kkt_tol=1.1 * kkt_tol)
    assert again.status == "stationary"
    assert again.stats["nsteps"] == 0


@pytest.mark.parametrize("lam", [1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize("kappa", [1.0, 10.0])
def test_the_horizon_is_where_eta_meets_the_weight_decay(lam, kappa):
    """eta(s*) = kappa lam, with the eigenvalue at s* computed afresh."""
    problem, w = sparse()
    sol = gf.norm_flow(problem, w, (0, 30), rtol=1e-9, atol=1e-12, max_step=0.1)
    star = gf.horizon(sol, lam, kappa)
    there = gf.norm_flow(problem, w, (0, star), rtol=1e-9, atol=1e-12).final
    assert problem.scale * np.linalg.eigvalsh(problem.gram(there))[0] == pytest.approx(kappa * lam, rel=1e-2)


def test_a_regular_drift_has_no_horizon():
    problem, w = landed("linear")
    sol = gf.norm_flow(problem, w, (0, 10))
    assert gf.horizon(sol, 1e-4) == np.inf
    assert gf.horizon(sol, 10.0) == 0.0  # nothing is stiff against such a decay


def test_horizons_of_what_is_no_drift():
    problem, w = landed("linear")
    flow = gf.gradient_flow(problem, w, (0, 1), weight_decay=0.1)
    with pytest.raises(ValueError, match="no monitor: it must be a drift"):
        gf.horizon(flow, 1e-3)
    sol = gf.norm_flow(problem, w, (0, 1))
    for bad in ({"weight_decay": 0.0}, {"weight_decay": 1e-3, "kappa": -1.0}):
        with pytest.raises(ValueError, match="must be positive"):
            gf.horizon(sol, **bad)


def test_files_keep_the_monitor(tmp_path):
    problem, w = sparse()
    sol = gf.norm_flow(problem, w, (0, 60))
    sol.save(tmp_path / "drift.npz")
    back = gf.Solution.load(tmp_path / "drift.npz")
    assert list(back.monitor) == list(sol.monitor) == ["s", "eta", "rank", "gap", "largest"]
    for name, values in sol.monitor.items():
        assert (back.monitor[name] == values).all()
        assert back.monitor[name].dtype == values.dtype
    assert back.rank_changes == sol.rank_changes
    assert gf.horizon(back, 1e-4) == gf.horizon(sol, 1e-4)
    assert "eta" in repr(back)
    assert dataclasses.asdict(back)["settings"] == sol.settings


def test_first_order_residual():
    """r = -lam (c K)^-1 J w: a flow with a small decay runs beside the drift at this residual."""
    problem, w = landed("diagonal")
    lam, s = 1e-6, 0.5
    end = gf.gradient_flow(problem, w, (0, s / lam), weight_decay=lam, rtol=1e-10, atol=1e-13).final
    slow = gf.norm_flow(problem, w, (0, s), rtol=1e-10, atol=1e-13).final
    predicted = gf.first_order_residual(problem, slow, lam)
    assert problem.residual(end) == pytest.approx(predicted, rel=1e-3, abs=1e-3 * np.abs(predicted).max())


def test_first_order_residual_of_a_decay_by_block():
    problem, w = landed("diagonal")
    K, J = problem.gram(w), problem.jacobian(w)
    rates = np.r_[np.full(8, 1e-3), np.zeros(8)]
    expected = -np.linalg.solve(problem.scale * K, J @ (rates * w))
    assert gf.first_order_residual(problem, w, {"u": 1e-3, "*": 0.0}) == pytest.approx(expected, rel=1e-10)


def test_first_order_residual_of_equal_samples():
    x, y = [[1.0, 2.0, 0.5], [0.0, 1.0, -1.0]], [1.0, 1.0]
    one = gf.models.LinearRegression(x, y, scale=1.0)
    two = gf.models.LinearRegression(x + x, y + y, scale=0.5)
    r = gf.first_order_residual(one, [1.0, 1.0, 2.0], 1e-3)
    assert gf.first_order_residual(two, [1.0, 1.0, 2.0], 1e-3) == pytest.approx(np.tile(r, 2), rel=1e-10)


def test_first_order_residual_says_what_is_wrong():
    with pytest.raises(ValueError, match="weight_decay"):
        gf.first_order_residual(linear(), np.ones(9), -1.0)
    with pytest.raises(ValueError, match="w has shape"):
        gf.first_order_residual(diagonal(), np.ones(9), 1.0)
