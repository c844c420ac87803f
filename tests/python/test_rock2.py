"""ROCK2: order, stages, stability, and agreement with BDF where nothing but a gradient is given."""

import grokflow as gf
import numpy as np
import oracle_problems as op
import pytest
from dense_flow import integrate

GROWTH = 0.714  # the stability interval of s stages is GROWTH s^2 long

rng = np.random.default_rng(0)
X = rng.standard_normal((12, 4))
Y = np.tanh(X @ [1.0, -1.0, 0.5, 0.0])
NETWORK = gf.models.TwoLayerNetwork(X, Y, width=8, activation="tanh")
COMPLETION = gf.models.MatrixCompletion(
    *np.nonzero(rng.random((5, 6)) < 0.6), np.ones(19), shape=(5, 6), width=2
)
DIAGONAL = gf.models.DiagonalLinearNetwork(rng.standard_normal((5, 9)), np.ones(5))
MODELS = [NETWORK, COMPLETION, DIAGONAL]


def only_gradient(problem):
    """The same loss as an `Objective` that offers no curvature."""
    return gf.Objective(loss=problem.loss, gradient=problem.gradient, num_params=problem.num_params)


def linear(rates, rtol=1e-6, t_end=1.0, y0=None, **options):
    """dy/dt = -rates (y - 1) from y0, by default from rest."""
    rates = np.asarray(rates, dtype=float)
    return integrate(
        lambda y: -rates * (y - 1),
        lambda y: pytest.fail("an explicit method asks for no Jacobian"),
        np.ones_like(rates) if y0 is None else y0,
        (0.0, t_end),
        method="ROCK2",
        rtol=rtol,
        atol=rtol,
        **options,
    )


def test_error_against_steps_shows_the_order():
    """error ~ steps^-2 where a stiff direction follows a curve: y1 = y2^2, y2' = -y2."""

    def f(y):
        return np.array([-50 * (y[0] - y[1] ** 2) - 2 * y[1] ** 2, -y[1]])

    steps, errors = [], []
    for rtol in np.logspace(-5, -8, 4):
        sol = integrate(f, f, np.ones(2), (0, 2.0), method="ROCK2", rtol=rtol, atol=rtol)
        steps.append(sol.stats["nsteps"])
        errors.append(np.abs(sol.final - [np.exp(-4.0), np.exp(-2.0)]).max())
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert 1.8 < slope < 2.6, (steps, errors)


def test_closed_form_of_a_stiff_linear_flow():
    rates = np.logspace(-2, 5, 40)
    y0 = 1 + np.linspace(-1, 1, 40)
    sol = linear(rates, rtol=1e-6, t_end=20.0, y0=y0, t_eval=np.logspace(-5, 1.3, 40))
    exact = 1 + (y0 - 1) * np.exp(-np.outer(sol.t, rates))
    assert sol.success
    assert np.abs(sol.w - exact).max() < 1e-5


def test_gradients_are_those_that_the_theory_asks_for():
    """From rest every step is as long as 200 stages allow: s gradients for a step of 0.714 s^2 / L."""
    rate, t_end = 1e6, 1.0
    sol = linear(np.linspace(1, rate, 50), rtol=1e-3, t_end=t_end)
    longest = GROWTH * 200**2 / (1.2 * rate)  # 1.2: the safety of the estimated spectral radius
    steps = t_end / longest
    assert steps < sol.stats["nsteps"] < 1.2 * steps + 30
    power = 52 * (1 + sol.stats["nsteps"] / 25)  # the power method, at most
    assert sol.stats["nfev"] < 200 * sol.stats["nsteps"] + power
    assert sol.stats["nfev"] < 0.05 * rate * t_end / 2  # of the steps of gradient descent


def test_work_is_counted():
    """Every gradient that was asked for is in nfev, those of the power method included."""
    calls = 0

    def gradient(w):
        nonlocal calls
        calls += 1
        return 1e3 * w

    problem = gf.Objective(loss=lambda w: 5e2 * w @ w, gradient=gradient, num_params=3)
    integrator = gf.Integrator(problem, np.ones(3), (0, 10), weight_decay=1.0, method="ROCK2", observe={})
    before = calls - integrator.stats["nfev"]  # the check of the start
    integrator.advance(to_end=True)
    assert calls - before == integrator.stats["nfev"]
    assert integrator.stats["nlinearize"] == integrator.stats["nfactor"] == 0


@pytest.mark.parametrize("problem", MODELS, ids=lambda problem: type(problem).__name__)
def test_agrees_with_an_implicit_method_from_the_gradient_alone(problem):
    w0 = problem.initial_weights(seed=0)
    options = {"weight_decay": 1e-2, "t_eval": np.logspace(-2, 3, 30), "observe": {}}
    exact = gf.gradient_flow(problem, w0, (0, 1e3), method="Radau", rtol=1e-9, atol=1e-12, **options)
    given = only_gradient(problem)
    sol = gf.gradient_flow(given, w0, (0, 1e3), method="ROCK2", rtol=1e-5, atol=1e-8, **options)
    assert sol.success
    assert np.abs(sol.w - exact.w).max() < 20 * 1e-5 * np.abs(exact.w).max()


def test_dataclass_and_name_are_the_same_method():
    w0 = NETWORK.initial_weights(seed=0)
    runs = [gf.gradient_flow(NETWORK, w0, (0, 10), weight_decay=0.1, method=m) for m in ("ROCK2", gf.ROCK2())]
    assert runs[0].final.tolist() == runs[1].final.tolist()
    assert runs[0].settings["method"] == "ROCK2"
    assert runs[0].settings["curvature"] is None


def test_decay_by_block_reaches_the_method():
    w0 = NETWORK.initial_weights(seed=0)
    options = {"weight_decay": {"*": 0.1, "b": 0.0}}
    sol, exact = (gf.gradient_flow(NETWORK, w0, (0, 20), method=m, **options) for m in ("ROCK2", "Radau"))
    np.testing.assert_allclose(sol.final, exact.final, atol=2e-5)


def test_events_are_located_on_the_dense_output():
    """The slow mode of a stiff flow passes 1.5 where exp(-t) = 1/2, in the middle of a step."""

    def half(t, y):
        return y[0] - 1.5

    sol = linear([1.0, 3e4], rtol=1e-7, t_end=2.0, y0=np.array([2.0, 1.0]), events=half)
    np.testing.assert_allclose(sol.t_events[0], [np.log(2)], rtol=1e-5)


def test_spectrum_that_grows_on_the_way():
    """The stiffness of y2' = -1e3 y1^2 (y2 - cos y1) with y1' = 2 y1 grows e^8-fold on the way."""

    def f(y):
        return np.array([2 * y[0], -1e3 * y[0] ** 2 * (y[1] - np.cos(y[0]))])

    sol = integrate(f, f, np.array([0.05, 1.0]), (0, 2.0), method="ROCK2", rtol=1e-5, atol=1e-8)
    exact = integrate(
        f,
        lambda y: np.array(
            [[2, 0], [-2e3 * y[0] * (y[1] - np.cos(y[0])) - 1e3 * y[0] ** 2 * np.sin(y[0]), -1e3 * y[0] ** 2]]
        ),
        np.array([0.05, 1.0]),
        (0, 2.0),
        method="Radau",
        rtol=1e-10,
        atol=1e-12,
    )
    assert sol.success
    np.testing.assert_allclose(sol.final, exact.final, rtol=2e-4)


def test_no_stage_asks_for_a_gradient_at_infinity():
    """At the start F = w + w^12 / 12 is flat, and its curvature no bound for a first step of a million."""

    def gradient(w):
        assert np.isfinite(w).all()
        with np.errstate(over="ignore"):
            return 1 + w**11

    problem = gf.Objective(loss=lambda w: float(np.sum(w + w**12 / 12)), gradient=gradient, num_params=1)
    sol = gf.gradient_flow(problem, [0.3], (0, 1e6), weight_decay=0.0, method="ROCK2", first_step=1e6)
    assert sol.success
    assert sol.final == pytest.approx([-1.0], rel=1e-5)


def test_flat_start():
    """A spectrum that vanishes, and a gradient that does, stop nothing."""
    problem = gf.Objective(loss=lambda w: 0.0, gradient=lambda w: 0 * w, num_params=2)
    sol = gf.gradient_flow(problem, np.ones(2), (0, 100), weight_decay=0.0, method="ROCK2")
    assert sol.success
    assert sol.final.tolist() == [1, 1]
    assert sol.stats["nsteps"] < 40


def test_blow_up_ends_the_run():
    problem = gf.Objective(loss=lambda w: -(w**4).sum(), gradient=lambda w: -4 * w**3, num_params=2)
    sol = gf.gradient_flow(problem, np.ones(2), (0, 10), weight_decay=0.0, method="ROCK2")
    assert not sol.success
    assert sol.t_final == pytest.approx(1 / 8, rel=1e-3)
    assert np.isfinite(sol.final).all()


def test_gradient_alone_is_refused_elsewhere_and_told_the_way_out():
    problem = only_gradient(op.diagonal_network(X, Y).compiled())
    with pytest.raises(ValueError, match="ROCK2"):
        gf.gradient_flow(problem, np.ones(8), (0, 1), weight_decay=0.1)
    with pytest.raises(ValueError, match="ROCK2"):
        gf.gradient_flow(problem, np.ones(8), (0, 1), weight_decay=0.1, curvature="dense")


def test_curvature_has_no_meaning_for_an_explicit_method():
    with pytest.raises(ValueError, match=r"gram.*ROCK2"):
        gf.gradient_flow(NETWORK, np.ones(48), (0, 1), weight_decay=0.1, method="ROCK2", curvature="gram")


def test_the_drift_takes_another_method():
    with pytest.raises(ValueError, match="Tsit5"):
        gf.norm_flow(NETWORK, np.ones(48), (0, 1), method="ROCK2")
