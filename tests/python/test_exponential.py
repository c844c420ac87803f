"""Exact steps where the loss is quadratic: the closed form, who takes them, and what they cost."""

import warnings

import grokflow as gf
import numpy as np
import pytest
from reference.flows import linear_flow

SHAPES = [(3, 8), (12, 30), (9, 9), (30, 12)]


def regression(n, d, seed=0, duplicates=0):
    """A linear model, of whose samples the first ones may occur twice, with other targets."""
    rng = np.random.default_rng(seed)
    X, y, w0 = rng.standard_normal((n, d)), rng.standard_normal(n + duplicates), rng.standard_normal(d)
    return gf.models.LinearRegression(np.concatenate([X, X[:duplicates]]), y), w0


def ridge_path(problem, w0, lam, t):
    """Return w (T, d) coordinate by coordinate in the right singular basis of J."""
    U, s, Vt = np.linalg.svd(problem.jacobian(w0))
    s = np.where(s < 1e-12 * s[0], 0.0, s)
    rates, pull = np.full(w0.size, lam), np.zeros(w0.size)
    rates[: s.size] += problem.scale * s**2
    pull[: s.size] = -problem.scale * s * (U.T @ problem.residual(np.zeros_like(w0)))[: s.size]
    decayed = np.exp(-np.outer(t, rates))
    return (decayed * (Vt @ w0) + (1 - decayed) * pull / rates) @ Vt


def off(found, exact):
    return np.max(np.abs(found - exact)) / np.max(np.abs(exact))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("duplicates", [0, 2])
@pytest.mark.parametrize("lam", [1.0, 1e-4, 1e-10])
def test_every_time_is_exact(shape, duplicates, lam):
    problem, w0 = regression(*shape, duplicates=duplicates)
    sol = gf.gradient_flow(problem, w0, (0, 10 / lam), weight_decay=lam)
    assert (sol.settings["method"], sol.status) == ("Exponential", "finished")
    noise = 1e-16 / lam if duplicates else 0.0  # of J^T r, where r does not vanish
    assert off(sol.w, ridge_path(problem, w0, lam, sol.t)) < 1e-12 + noise


def test_a_first_step_is_as_long_as_the_round_off_of_the_gradient_allows():
    problem, w0 = regression(12, 30)
    for lam in (1e-2, 1e-4, 1e-10):
        sol = gf.gradient_flow(problem, w0, (0, 10 / lam), weight_decay=lam, first_step=1 / lam, rtol=1e-11)
        assert (sol.stats["nrejected"] > 0) == (lam == 1e-10)
        assert off(sol.w, ridge_path(problem, w0, lam, sol.t)) < 1e-10


@pytest.mark.parametrize("curvature", ["gram", "dense"])
@pytest.mark.parametrize("lam", [0.0, 1e-2])
def test_agrees_with_the_reference(curvature, lam):
    problem, w0 = regression(6, 6)
    t = [0.0, 1e-3, 1.0, 30.0, 1e3]
    options = {"weight_decay": lam, "curvature": curvature, "t_eval": t}
    sol = gf.gradient_flow(problem, w0, (0, 1e3), method="Exponential", **options)
    assert off(sol.w, linear_flow(problem, w0, t, lam)) < 1e-11


@pytest.mark.parametrize(
    "asked",
    [
        {"curvature": "krylov"},
        {"weight_decay": lambda t: 1e-2 / (1 + t)},
        {"method": gf.BDF()},
        {"method": "Radau"},
    ],
    ids=["krylov", "rate over time", "BDF", "Radau"],
)
def test_others_step_where_it_does_not_serve(asked):
    problem, w0 = regression(4, 9)
    sol = gf.gradient_flow(problem, w0, (0, 100), **{"weight_decay": 1e-2, **asked})
    assert sol.settings["method"] == ("Radau" if asked.get("method") == "Radau" else "BDF")
    if "method" not in asked:
        with pytest.raises(ValueError, match=r"method is 'Exponential', which is for .* takes BDF"):
            gf.gradient_flow(problem, w0, (0, 100), method="Exponential", **{"weight_decay": 1e-2, **asked})


def test_features_are_linear_and_their_logistic_loss_is_not():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((10, 3)), rng.choice([-1.0, 1.0], 10)
    for loss, method in (("squares", "Exponential"), ("logistic", "BDF")):
        problem = gf.models.RandomFeatures(X, y, width=20, loss=loss)
        sol = gf.gradient_flow(problem, problem.initial_weights(seed=0), (0, 10), weight_decay=1e-3)
        assert sol.settings["method"] == method


READOUTS = {
    "two layers": (lambda X, y: gf.models.TwoLayerNetwork(X, y, width=20), ["u"], ["V"]),
    "kinks": (
        lambda X, y: gf.models.TwoLayerNetwork(X, y, width=20, activation="relu", output_bias=True),
        ["u", "a"],
        ["V", "b"],
    ),
    "deep": (lambda X, y: gf.models.MLP(X, y, widths=(5, 20)), ["W3", "b3"], ["W2"]),
}


@pytest.mark.parametrize("name", READOUTS)
def test_a_trained_readout_is_linear_and_what_lies_before_it_is_not(name):
    rng = np.random.default_rng(0)
    make, readout, before = READOUTS[name]
    whole = make(rng.standard_normal((8, 3)), rng.standard_normal(8))
    w = whole.initial_weights(seed=0)
    problem = gf.models.Trained(whole, w, train=readout)
    start = problem.initial_weights()
    part = gf.models.Trained(problem, start, train=readout[:1])
    for trained in (problem, part):
        w0 = trained.initial_weights()
        sol = gf.gradient_flow(trained, w0, (0, 1e4), weight_decay=1e-3)
        assert sol.settings["method"] == "Exponential"
        assert off(sol.w, ridge_path(trained, w0, 1e-3, sol.t)) < 1e-9
    more = gf.models.Trained(whole, w, train=[*before, *readout])
    sol = gf.gradient_flow(more, more.initial_weights(), (0, 1), weight_decay=1e-3)
    assert sol.settings["method"] != "Exponential"


def test_round_off_of_eigenvalues_that_is_felt_leaves_the_flow_to_bdf():
    """Singular values down to 1e-6 of the largest: those of K carry errors of 1e-4 of the smallest."""
    rng = np.random.default_rng(0)
    U, V = (np.linalg.qr(rng.standard_normal((size, 12)))[0] for size in (12, 30))
    problem = gf.models.LinearRegression((U * np.logspace(1, -5, 12)) @ V.T, rng.standard_normal(12))
    w0 = rng.standard_normal(30)
    for rtol, lam, method in ((1e-6, 1e-6, "Exponential"), (1e-6, 1e-10, "BDF"), (1e-10, 1e-6, "BDF")):
        sol = gf.gradient_flow(problem, w0, (0, 10 / lam), weight_decay=lam, rtol=rtol)
        assert sol.settings["method"] == method
        assert off(sol.w, ridge_path(problem, w0, lam, sol.t)) < 10 * rtol


@pytest.mark.parametrize("shape", [(300, 320), (320, 300)], ids=str)
def test_short_loose_flows_of_large_systems_are_not_worth_a_decomposition(shape):
    problem, w0 = regression(*shape)
    rate = 1e-3 + problem.scale * np.linalg.norm(problem.jacobian(w0), 2) ** 2
    for length, rtol, method in ((0.8, 1e-6, "BDF"), (1.5, 1e-6, "Exponential"), (0.8, 1e-7, "Exponential")):
        sol = gf.gradient_flow(problem, w0, (0, length / rate), weight_decay=1e-3, rtol=rtol)
        assert sol.settings["method"] == method
        assert off(sol.w, ridge_path(problem, w0, 1e-3, sol.t)) < 10 * rtol


def test_noise_of_a_residual_that_stays_is_told():
    """J^T r cancels to its round-off, which the slow rate makes large: so it is told by BDF."""
    problem, w0 = regression(12, 30, duplicates=2)
    for lam, told in ((1e-6, False), (1e-9, True)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            sol = gf.gradient_flow(problem, w0, (0, 10 / lam), weight_decay=lam, rtol=1e-9)
        assert sol.settings["method"] == "Exponential"
        assert any(issubclass(warning.category, gf.PrecisionWarning) for warning in caught) == told
        assert told == (off(sol.w, ridge_path(problem, w0, lam, sol.t)) > 1e-9)


def test_steps_double_the_time_and_cost_a_gradient_and_two_products():
    problem, w0 = regression(6, 20)
    sol = gf.gradient_flow(problem, w0, (2, 1e4), weight_decay=1e-3, t_eval=None, first_step=0.5)
    steps = sol.stats["nsteps"]
    np.testing.assert_allclose(sol.t[2:-1] - 2, 2 * (sol.t[1:-2] - 2))
    work = {
        name: sol.stats[name] for name in ("nfev", "njvp", "nvjp", "ngram", "nfactor", "nsolve", "nlinearize")
    }
    counted = {"nfev": steps + 1, "njvp": steps + 1, "nvjp": steps, "ngram": 1, "nfactor": 1}
    assert work == {**counted, "nsolve": 0, "nlinearize": 1}
    finer = gf.gradient_flow(problem, w0, (0, 100), weight_decay=1e-3, t_eval=None, max_step=1.0)
    assert 100 < finer.stats["nsteps"] < 120


def test_events_lie_on_the_exact_path():
    problem, w0 = regression(6, 20)
    falls = lambda t, w: np.linalg.norm(w) - 0.5 * np.linalg.norm(w0)  # noqa: E731
    falls.terminal = True
    sol = gf.gradient_flow(problem, w0, (0, 1e4), weight_decay=1e-2, events=falls)
    assert sol.status == "event"
    path = ridge_path(problem, w0, 1e-2, sol.t_events[0])[0]
    np.testing.assert_allclose(sol.final, path, rtol=0, atol=1e-12)
    assert abs(falls(0.0, path)) < 1e-10


def test_lands_where_the_projection_does():
    problem, w0 = regression(6, 20)
    landing = gf.limit_map(problem, w0)
    J = problem.jacobian(w0)
    np.testing.assert_allclose(landing.w, w0 - np.linalg.pinv(J) @ problem.residual(w0), rtol=0, atol=1e-12)
    assert landing.path.settings["method"] == "Exponential"
