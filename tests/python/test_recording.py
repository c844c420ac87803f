"""What a run writes down: times, states, observables; and that watching changes nothing."""

import json

import grokflow as gf
import numpy as np
import oracle_problems as op
import pytest

rng = np.random.default_rng(31)
X, Y = rng.standard_normal((3, 5)), rng.standard_normal(3)
X_TEST, Y_TEST = rng.standard_normal((7, 5)), rng.standard_normal(7)
W0 = rng.standard_normal(10)
T_END = 1e3


def network(**options):
    return gf.models.DiagonalLinearNetwork(X, Y, **options)


def run(problem=None, t_span=(0, T_END), **options):
    options = {"weight_decay": 0.01} | options
    return gf.gradient_flow(network() if problem is None else problem, W0, t_span, **options)


@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_log_grid(method):
    """Both ends, and 14 points a decade from the first step on."""
    sol = run(method=method, t_eval="log")
    assert sol.t[0] == 0
    assert sol.t[-1] == T_END
    assert np.all(np.diff(sol.t) > 0)
    ratios = sol.t[2:-1] / sol.t[1:-2]
    np.testing.assert_allclose(ratios, 10 ** (1 / 14), rtol=1e-9)
    assert sol.t[1] < 0.1
    assert sol.w.shape == (sol.t.size, W0.size)


def test_log_grid_is_the_default():
    assert run().t.tolist() == run(t_eval="log").t.tolist()


def test_log_grid_counts_from_the_start_of_the_span():
    late = run(t_span=(1e3, 2e3), t_eval="log")
    np.testing.assert_allclose(late.t - 1e3, run(t_eval="log").t, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_own_steps(method):
    sol = run(method=method, t_eval=None)
    assert sol.t[0] == 0
    assert sol.t[-1] == T_END
    assert sol.t.size == sol.stats["nsteps"] + 1
    assert sol.w[0].tolist() == W0.tolist()
    assert sol.w[-1].tolist() == sol.final.tolist()


@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_own_times(method):
    times = np.array([0.0, 0.5, 0.5, 3.0, 700.0, T_END])
    sol = run(method=method, t_eval=times)
    assert sol.t.tolist() == times.tolist()
    assert sol.w[0].tolist() == W0.tolist()
    assert sol.w[1].tolist() == sol.w[2].tolist()
    assert sol.w[-1].tolist() == sol.final.tolist()
    assert sol.t_final == T_END


def test_no_times():
    sol = run(t_eval=[])
    assert sol.t.shape == (0,)
    assert sol.w.shape == (0, W0.size)
    assert sol["norm"].shape == (0,)
    assert sol.final.shape == W0.shape


def test_single_time_inside_the_span():
    sol = run(t_eval=[20.0])
    assert sol.t.tolist() == [20.0]
    assert sol.t_final == T_END


@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_the_grid_changes_no_bit(method):
    """The recorder reads the dense output: the same values at the same times, the same end, the same work."""
    sparse = run(method=method, t_eval=[0.3, 40.0])
    fine = run(method=method, t_eval=np.sort(np.concatenate([[0.3, 40.0], np.linspace(0, T_END, 500)])))
    steps = run(method=method, t_eval=None, observe={"norm": "norm"}, save_states=False)
    kept = np.isin(fine.t, [0.3, 40.0])
    assert fine.w[kept].tobytes() == sparse.w.tobytes()
    for other in (fine, steps):
        assert other.final.tobytes() == sparse.final.tobytes()
        counters = {key: n for key, n in other.stats.items() if key != "seconds"}
        assert counters == {key: n for key, n in sparse.stats.items() if key != "seconds"}


@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_dense_output_is_as_good_as_the_steps(method):
    """Between the steps the error is of the size of the tolerance."""
    loose = run(method=method, rtol=1e-6, atol=1e-9, t_eval=np.logspace(-3, 3, 200))
    tight = run(method="Radau", rtol=1e-11, atol=1e-13, t_eval=np.logspace(-3, 3, 200))
    assert np.max(np.abs(loose.w - tight.w)) < 50 * 1e-6 * np.max(np.abs(W0))


def test_default_observables():
    assert set(run().observed) == {"train_loss", "norm", "grad_norm"}
    watched = run(network(test=(X_TEST, Y_TEST))).observed
    assert set(watched) == {"train_loss", "test_loss", "norm", "grad_norm"}


def test_observables_are_functions_of_the_states():
    problem = network(test=(X_TEST, Y_TEST))
    sol = run(problem)
    reference = op.diagonal_network(X, Y)
    np.testing.assert_allclose(sol["train_loss"], [reference.loss(w) / 3 for w in sol.w], rtol=1e-12)
    np.testing.assert_allclose(sol["norm"], np.linalg.norm(sol.w, axis=1), rtol=1e-13)
    slopes = [np.linalg.norm(reference.gradient(w)) / 3 for w in sol.w]
    np.testing.assert_allclose(sol["grad_norm"], slopes, rtol=1e-9, atol=1e-14)
    test_loss = [np.mean((X_TEST @ (w[:5] * w[5:]) - Y_TEST) ** 2) / 2 for w in sol.w]
    np.testing.assert_allclose(sol["test_loss"], test_loss, rtol=1e-12)


def test_observables_of_ones_own():
    def product(t, w):
        return w[:5] * w[5:]

    sol = run(observe={"time": lambda t, w: t, "beta": product, "loss": "train_loss"})
    assert list(sol.observed) == ["time", "beta", "loss"]
    assert sol["time"].tolist() == sol.t.tolist()
    np.testing.assert_array_equal(sol["beta"], sol.w[:, :5] * sol.w[:, 5:])
    np.testing.assert_array_equal(sol["loss"], run()["train_loss"])


def test_observables_by_list_of_names():
    sol = run(observe=["norm", "train_loss"])
    assert list(sol.observed) == ["norm", "train_loss"]


def test_vector_observable_by_name():
    A = rng.standard_normal((4, 4))
    rows, cols = np.nonzero(np.ones((4, 4)))
    problem = gf.models.MatrixCompletion(rows, cols, A.ravel(), shape=(4, 4), width=2)
    sol = gf.gradient_flow(
        problem, rng.standard_normal(16), (0, 10), weight_decay=0.1, observe={"s": "singular_values"}
    )
    assert sol["s"].shape == (sol.t.size, 2)
    U, V = sol.w[:, :8].reshape(-1, 4, 2), sol.w[:, 8:].reshape(-1, 4, 2)
    exact = np.linalg.svd(U @ V.transpose(0, 2, 1), compute_uv=False)[:, :2]
    np.testing.assert_allclose(sol["s"], exact, rtol=1e-9, atol=1e-11)


def test_observing_nothing():
    assert run(observe={}).observed == {}


def test_name_that_was_not_observed():
    with pytest.raises(KeyError, match=r"nurm.*n"):
        run(observe={"n": "norm"})["nurm"]


@pytest.mark.parametrize(
    ("observe", "error", "message"),
    [
        ({"a": "trainloss"}, ValueError, "train_loss"),
        ({"a": 3}, TypeError, "a"),
        ("norm", TypeError, "observe"),
        ({1: "norm"}, TypeError, "1"),
    ],
)
def test_bad_observables(observe, error, message):
    with pytest.raises((error, ValueError), match=message):
        run(observe=observe)


def test_observable_that_changes_its_shape():
    with pytest.raises(ValueError, match="growing"):
        run(observe={"growing": lambda t, w: np.ones(1 + int(t > 1))})


def test_states_are_kept_or_not():
    assert run(save_states=True).w is not None
    without = run(save_states=False)
    assert without.w is None
    assert without.t.size == without["norm"].size
    assert without.final.tolist() == run().final.tolist()


def test_states_beyond_the_budget_are_not_kept():
    """8 bytes x d x T above 256 MiB: 'auto' keeps only the observables and the end."""
    d, count = 2_000_000, 20
    problem = gf.models.LinearRegression(np.ones((1, d)), np.ones(1))
    options = {"weight_decay": 0.0, "t_eval": np.linspace(0, 1e-9, count)}
    sol = gf.gradient_flow(problem, np.zeros(d), (0, 1e-9), **options)
    assert sol.w is None
    assert sol.final.shape == (d,)
    assert sol["train_loss"].shape == (count,)
    assert sol.settings["save_states"] is False


@pytest.mark.parametrize("save_states", ["yes", 3, None])
def test_bad_save_states(save_states):
    with pytest.raises((TypeError, ValueError), match="save_states"):
        run(save_states=save_states)


def test_settings_repeat_the_run():
    sol = run(method=gf.BDF(max_order=3), rtol=1e-5, weight_decay={"u": 0.01, "v": 0.02})
    settings = json.loads(json.dumps(sol.settings))
    assert settings["t_span"] == [0, T_END]
    assert (settings["method"], settings["max_order"]) == ("BDF", 3)
    names = "curvature rtol atol t_eval observe save_states weight_decay max_step max_steps max_time"
    again = {name: settings[name] for name in names.split() if settings[name] is not None}
    np.testing.assert_array_equal(run(method=gf.BDF(max_order=settings["max_order"]), **again).w, sol.w)


def test_settings_and_work_are_documented():
    problem = gf.models.LinearRegression(np.eye(2, 3), np.ones(2))
    landing = gf.limit_map(problem, np.full(3, 0.5), curvature="krylov")
    flow = gf.gradient_flow(problem, np.ones(3), (0, 1), weight_decay=0.1, curvature="krylov")
    drift = gf.norm_flow(problem, np.ones(3), (0, 1))
    for sol in (flow, landing.path, drift):
        for name in (*sol.settings, *sol.stats):
            assert f"``{name}``" in gf.Solution.__doc__, name
    assert landing.settings.keys() - flow.settings.keys() == {"t_max", "rtol_rank"}


def test_settings_tell_where_the_numbers_come_from():
    """Hashes that tell data and starts apart, whatever their memory layout."""
    X, y, w0 = np.random.default_rng(0).standard_normal((2, 3)), np.ones(2), np.ones(3)

    def settings(X=X, y=y, w0=w0, **options):
        problem = gf.models.LinearRegression(X, y, **options)
        return gf.gradient_flow(problem, w0, (0, 1), weight_decay=0.1).settings

    first = settings()
    assert first == settings(np.asfortranarray(X), list(y), [1, 1, 1])
    assert first["versions"]["grokflow"] == gf.__version__
    assert first["num_threads"] == gf.get_num_threads()
    other = [settings(X + 1.0), settings(y=[1, 2]), settings(scale="sum"), settings(test=(X, y))]
    hashes = [each["problem_hash"] for each in (first, *other)]
    assert len({*hashes}) == len(hashes)
    assert all(each["w0_hash"] == first["w0_hash"] for each in other)
    assert settings(w0=[1, 1, 2])["w0_hash"] != first["w0_hash"]
    own = gf.Objective(loss=np.sum, gradient=np.ones_like, hvp=lambda w, v: 0 * v, num_params=3)
    assert gf.gradient_flow(own, w0, (0, 1), weight_decay=0.1).settings["problem_hash"] is None


def test_stats_are_plain_numbers():
    stats = run().stats
    names = "nfev njvp nvjp nhvp ngram nhessian nfactor nsolve niter nlinearize nsteps nrejected nfailed"
    assert set(names.split()) <= set(stats)
    assert all(type(stats[name]) is int for name in names.split())
    assert type(stats["seconds"]) is float


def test_results_are_ones_own():
    """Arrays that were handed out do not alias w0 or each other."""
    w0 = W0.copy()
    sol = gf.gradient_flow(network(), w0, (0, 1.0), weight_decay=0.0)
    assert not np.shares_memory(sol.w, w0)
    assert not np.shares_memory(sol.w, sol.final)
    assert w0.tolist() == W0.tolist()
    assert sol.w.dtype == sol.t.dtype == sol.final.dtype == np.float64
