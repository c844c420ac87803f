"""Laws of the drift: closed forms, invariants, and that it does not leave the manifold."""

import grokflow as gf
import numpy as np
import pytest
from limit_problems import PROBLEMS, hyperbola, landed, linear, quadric

each_problem = pytest.mark.parametrize("name", PROBLEMS)


@each_problem
@pytest.mark.parametrize("curvature", ["dense", "krylov"])
def test_curvatures_give_one_drift(name, curvature):
    """Beside the manifold the Hessian has no kernel, and yet its drift is that of the tangent kernel."""
    problem, w = landed(name)
    options = {"t_eval": [0.5, 2.0], "rtol": 1e-7, "atol": 1e-10}
    gram = gf.norm_flow(problem, w, (0, 2), curvature="gram", **options)
    other = gf.norm_flow(problem, w, (0, 2), curvature=curvature, **options)
    assert gram.success, gram.message
    assert other.success, other.message
    assert other.w == pytest.approx(gram.w, abs=1e-6)
    assert other.stats["nsteps"] <= 3 * gram.stats["nsteps"]
    assert other.monitor["eta"][-1] == pytest.approx(gram.monitor["eta"][-1], rel=2e-3)
    assert other["train_loss"].max() < 1e-24


def test_solves_without_a_matrix_teach_the_next_ones():
    """An ill-conditioned kernel, on which plain conjugate gradients take more iterations than it has rows."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 5))
    problem = gf.models.TwoLayerNetwork(X, np.tanh(X @ rng.standard_normal(5)), width=60)
    w = gf.limit_map(problem, problem.initial_weights(seed=0)).w
    gram, krylov = (gf.norm_flow(problem, w, (0, 3), curvature=curvature) for curvature in ("gram", "krylov"))
    assert krylov.success, krylov.message
    assert krylov.final == pytest.approx(gram.final, abs=1e-5)
    assert krylov.monitor["eta"] == pytest.approx(gram.monitor["eta"], rel=1e-2)
    assert krylov.monitor["largest"][-1] / krylov.monitor["eta"][-1] > 1e4
    assert krylov.stats["niter"] < 10 * krylov.stats["nsolve"]
    assert krylov["train_loss"].max() < 1e-24


def test_drift_comes_to_rest_at_the_origin():
    """Where ||w|| = 0 nothing is left to compare a correction with."""
    problem = gf.models.LinearRegression([[1.0, 2.0]], [0.0])
    sol = gf.norm_flow(problem, np.zeros(2), (0, 10))
    assert sol.success, sol.message
    assert (sol.final == 0).all()


def test_drift_on_a_quadric_in_closed_form():
    """On w.A w = 1: w_i(s) = w_i(0) exp(-s + a_i tau), with tau such that w(s) lies there.

    The loss is no sum of squares, so that its Hessian alone knows the tangent space.
    """
    a, w0 = np.array([1.0, 2.0, 3.5, 0.5]), np.array([4.0, 3.0, 2.0, 9.0]) / 10.0
    w0 /= np.sqrt(w0 @ (a * w0))
    problem = quadric(a)
    sol = gf.norm_flow(problem, w0, (0, 2), curvature="dense", rtol=1e-10, atol=1e-13)
    exact = [0.1299389951786453, 0.2200598837925382, 0.4978056116679138, 0.1945592870780679]
    assert sol.final == pytest.approx(exact, abs=1e-9)
    assert sol.monitor["rank"][-1] == 1
    coarse = gf.norm_flow(problem, w0, (0, 2), curvature="dense", rtol=1e-4, atol=1e-7)
    assert coarse.final == pytest.approx(exact, abs=1e-4)
    assert coarse.stats["nsteps"] <= 15


def test_linear_regression_in_closed_form():
    """w(s) = X^+ y + e^-s P_ker w(0): at any s to 1e-10, and at s = 30 the solution of least norm."""
    problem, w0 = linear(), np.linspace(-2.0, 3.0, 9)
    pseudo = np.linalg.pinv(problem.jacobian(w0))
    least = -pseudo @ problem.residual(np.zeros(9))
    w = gf.limit_map(problem, w0, rtol=1e-12).w
    sol = gf.norm_flow(problem, w, (0, 30), rtol=1e-12, atol=1e-14)
    assert sol.w == pytest.approx(least + np.exp(-sol.t)[:, None] * (w - least), abs=1e-10)
    assert sol.final == pytest.approx(least, abs=1e-10)


def test_hyperbola_in_closed_form():
    """On u v = 1, q = u^2 - v^2 falls as e^-2s."""
    sol = gf.norm_flow(hyperbola(), [3.0, 1.0 / 3.0], (0, 1.5), rtol=1e-11, atol=1e-13)
    assert sol.final == pytest.approx([1.11600394700616667991, 0.8960541785561214692542], abs=1e-9)
    q = sol.w[:, 0] ** 2 - sol.w[:, 1] ** 2
    assert q == pytest.approx(q[0] * np.exp(-2.0 * sol.t), abs=1e-9)


@pytest.mark.parametrize("rtol", [1e-2, 1e-3, 1e-4, 1e-6])
def test_a_drift_at_rest_keeps_the_tolerance(rtol):
    """The end of stability, which bounds the step there, lets no error grow."""
    s = np.linspace(0, 60, 601)
    sol = gf.norm_flow(hyperbola(), [3.0, 1.0 / 3.0], (0, 60), rtol=rtol, t_eval=s)
    half = (9.0 - 1.0 / 9.0) / 2.0 * np.exp(-2.0 * s)  # (u^2 - v^2) / 2
    u = np.sqrt(half + np.sqrt(half**2 + 1.0))
    assert sol.w == pytest.approx(np.column_stack([u, 1.0 / u]), abs=3.0 * rtol, rel=0)


@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-8])
@pytest.mark.parametrize("seed", [4, 9, 19, 23])
def test_weights_that_die_out_pass_the_changes_of_rank(seed, rtol):
    """All but one coordinate of a sparse network vanish, and with them all but one eigenvalue of the Hessian.

    The multipliers of the residuals that hold them have limits: without these some of them grow again.
    """
    X = np.random.default_rng(seed).standard_normal((5, 6))
    problem = gf.models.DiagonalLinearNetwork(X, X[:, 0])
    w = gf.limit_map(problem, problem.initial_weights(std=1.0, seed=seed), rtol=1e-9).w
    s = np.linspace(0, 60, 61)
    sol = gf.norm_flow(problem, w, (0, 60), rtol=rtol, t_eval=s)
    assert sol.success, sol.message
    assert sol.monitor["rank"][-1] == 1
    dying = np.linalg.norm(np.delete(sol.w, [0, 6], axis=1), axis=1)
    assert dying[s >= 40].max() < rtol
    finer = gf.norm_flow(problem, w, (0, 60), rtol=1e-12, t_eval=s)
    assert sol.w == pytest.approx(finer.w, abs=10 * rtol, rel=0)


def test_balance_of_a_diagonal_network():
    """u_i^2 - v_i^2 falls as e^-2s in each pair of weights."""
    problem, w = landed("diagonal")
    sol = gf.norm_flow(problem, w, (0, 5), rtol=1e-10, atol=1e-12)
    u, v = sol.w[:, :8], sol.w[:, 8:]
    q = u**2 - v**2
    assert q == pytest.approx(q[0] * np.exp(-2.0 * sol.t)[:, None], abs=1e-8)


def test_balance_of_the_factors_of_a_matrix():
    """U^T U - V^T V falls as e^-2s."""
    problem, w = landed("completion")
    sol = gf.norm_flow(problem, w, (0, 3), t_eval=[0.0, 3.0], rtol=1e-10, atol=1e-12)
    start, end = (U.T @ U - V.T @ V for U, V in (problem.unflatten(w).values() for w in sol.w))
    assert end == pytest.approx(np.exp(-6.0) * start, abs=1e-8)


def test_a_sphere_has_nowhere_to_go():
    """The norm is constant on it: P w is zero in every digit that counts."""
    w = np.array([1.0, 2.0, 2.0]) / 3.0
    sol = gf.norm_flow(quadric([1.0, 1.0, 1.0]), w, (0, 100))
    assert sol.success
    assert sol.final == pytest.approx(w, abs=1e-12)


@each_problem
@pytest.mark.parametrize("rtol", [1e-3, 1e-6])
def test_it_does_not_leave_the_manifold(name, rtol):
    """However long the run, and at samples between the steps too: the loss stays at round-off."""
    problem, w = landed(name)
    sol = gf.norm_flow(problem, w, (0, 10), rtol=rtol, atol=1e-3 * rtol)
    assert sol.success, sol.message
    start = problem.loss(problem.initial_weights(std=0.8, seed=3))
    assert sol["train_loss"].max() < 1e-12 * start
    assert (np.diff(sol["norm"]) <= 1e-14 * sol["norm"][0]).all()
    assert sol["regularizer"] == pytest.approx(sol["norm"] ** 2 / 2.0)


@each_problem
def test_the_norm_falls_as_its_projection_says(name):
    """d||w||^2/ds = -2 ||P w||^2, by differences of the dense output."""
    problem, w = landed(name)
    h = 1e-3
    sol = gf.norm_flow(problem, w, (0, 1), t_eval=[0.5 - h, 0.5, 0.5 + h], rtol=1e-11, atol=1e-13)
    tangent = gf.tangent_projection(problem, sol.w[1], sol.w[1]).v
    slope = (sol["norm"][2] ** 2 - sol["norm"][0] ** 2) / (2.0 * h)
    assert slope == pytest.approx(-2.0 * tangent @ tangent, rel=1e-4)


def test_a_start_close_to_the_manifold_is_taken_there():
    problem, w = landed("diagonal")
    sol = gf.norm_flow(problem, w * (1.0 + 1e-8), (0, 1), t_eval=None)
    assert sol["train_loss"][0] < 1e-28
    assert sol.w[0] == pytest.approx(w, abs=1e-7)


def test_slow_time_may_start_anywhere():
    problem, w = landed("diagonal")
    late = gf.norm_flow(problem, w, (5, 7), t_eval=[5.5, 7.0])
    assert late.w == pytest.approx(gf.norm_flow(problem, w, (0, 2), t_eval=[0.5, 2.0]).w, abs=1e-6)
    none = gf.norm_flow(problem, w, (3, 3))
    assert none.success
    assert none.final == pytest.approx(w, abs=1e-12)


def test_events_are_found_on_the_manifold():
    problem, w = landed("diagonal")
    level = 0.9 * np.linalg.norm(w)

    def shrunk(s, w):
        return np.linalg.norm(w) - level

    shrunk.terminal = True
    sol = gf.norm_flow(problem, w, (0, 10), events=shrunk)
    assert sol.status == "event"
    assert np.linalg.norm(sol.w_events[0][0]) == pytest.approx(level, rel=1e-8)
    assert problem.loss(sol.w_events[0][0]) < 1e-24
    assert sol.t_final == sol.t_events[0][0]
    again = gf.norm_flow(problem, w, (0, sol.t_final))
    assert again.final == pytest.approx(sol.final, abs=1e-6)


def test_an_interrupt_keeps_the_trajectory_and_the_monitor():
    problem, w = landed("diagonal")

    def stop(s, w):
        if s > 1.0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        gf.norm_flow(problem, w, (0, 10), callback=stop, t_eval=None)
    sol = caught.value.solution
    assert sol.status == "interrupted"
    assert sol.t[-1] > 1.0
    assert sol.monitor["s"] == pytest.approx(sol.t)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"w": np.ones(9)}, ValueError, r"not on the manifold.*distance is about.*land first"),
        ({"w": np.full(9, np.inf)}, ValueError, r"w\[0\] is inf"),
        ({"s_span": (1, 0)}, ValueError, r"s_span is \(1, 0\), which is reversed"),
        ({"s_span": 3.0}, TypeError, "s_span is 3.0"),
        ({"s_span": (0, np.inf)}, ValueError, "s_span"),
        ({"t_eval": [0.0, 2.0]}, ValueError, r"2, which is outside s_span = \(0, 1\)"),
        ({"on_rank_change": "ignore"}, ValueError, "on_rank_change is 'ignore'"),
        ({"kkt_tol": 0.0}, ValueError, "kkt_tol"),
        ({"rtol_rank": -1.0}, ValueError, "rtol_rank"),
        ({"method": "BDF"}, ValueError, "method is 'BDF'"),
        ({"curvature": "none"}, ValueError, "curvature is 'none'"),
        ({"t_eval": [0.0, 99.0]}, ValueError, "t_eval holds 99"),
        ({"observe": ["test_loss"]}, ValueError, "unknown observable 'test_loss'"),
    ],
)
def test_misuse(change, error, message):
    problem, w = landed("linear")
    with pytest.raises(error, match=message):
        gf.norm_flow(**({"problem": problem, "w": w, "s_span": (0, 1)} | change))


@pytest.mark.parametrize("rtol", [1e-4, 1e-6, 1e-8])
def test_a_loss_that_gives_only_products_with_its_hessian_drifts_alike(rtol):
    """On an ellipsoid, where the gradient beside the manifold is not in the range of the frozen Hessian."""
    a = np.array([1.0, 2.0, 3.0, 4.0])
    problem = gf.Objective(
        loss=lambda w: (a @ w**2 - 1.0) ** 2 / 4,
        gradient=lambda w: (a @ w**2 - 1.0) * a * w,
        hvp=lambda w, v: 2.0 * a * w * (a * w @ v) + (a @ w**2 - 1.0) * a * v,
        num_params=4,
    )
    w = np.array([0.4, 0.3, 0.2, 0.3])
    w /= np.sqrt(a @ w**2)
    dense, krylov = (
        gf.norm_flow(problem, w, (0, 3), curvature=curvature, rtol=rtol, atol=1e-3 * rtol)
        for curvature in ("dense", "krylov")
    )
    assert krylov.success
    assert krylov.stats["nsteps"] == dense.stats["nsteps"]
    assert krylov.final == pytest.approx(dense.final, abs=rtol)
    assert a @ krylov.final**2 == pytest.approx(1.0, abs=1e-12)
