"""The curvature is chosen by what it costs: declared by the models, measured for functions of one's own."""

from types import SimpleNamespace

import grokflow as gf
import numpy as np
import pytest
from grokflow import costs
from grokflow._backend import core

BUDGET = 2.0**32
MEASURED = {"gradient_seconds", "gram_seconds"}


def digits(n, outputs, widths):
    """A network of the size that learns so many digits."""
    y = np.ones((n, outputs)) if outputs > 1 else np.ones(n)
    return gf.models.MLP(np.ones((n, 64)), y, widths=widths)


def completion(side, count, width=10):
    rows, cols = np.divmod(np.arange(count), side)
    return gf.models.MatrixCompletion(rows, cols, np.ones(count), shape=(side, side), width=width)


def diagonal(n, features, kind=gf.models.DiagonalLinearNetwork, **options):
    return kind(np.ones((n, features)), np.ones(n), **options)


def sensing(side, count, **options):
    return gf.models.MatrixSensing(np.ones((count, side, side)), np.ones(count), **options)


@pytest.mark.parametrize(
    ("problem", "chosen"),
    [
        (digits(1000, 10, (200, 200, 200)), "adaptive"),  # K takes a hundred gradients, its factor a thousand
        (digits(400, 1, (200, 200)), "gram"),
        (completion(20, 200), "adaptive"),  # with products of whole matrices
        (completion(60, 100), "gram"),  # entry by entry
        (completion(60, 1000), "adaptive"),
        (diagonal(120, 1000), "gram"),
        (diagonal(200, 1000), "adaptive"),
        (diagonal(1000, 2000), "adaptive"),
        (diagonal(300, 10000), "gram"),  # beyond the caches X is read no faster for a product with one vector
        (diagonal(300, 10000, gf.models.DeepDiagonalNetwork, depth=3), "gram"),
        (diagonal(1500, 10000), "adaptive"),
        (sensing(20, 100, width=5), "gram"),
        (sensing(60, 500, width=60), "adaptive"),
        (sensing(30, 300, width=10), "adaptive"),
        (gf.models.LinearRegression(np.ones((900, 1000)), np.ones(900)), "gram"),  # one K for all w
        (gf.models.TwoLayerNetwork(np.ones((200, 3)), np.ones(200), width=100, activation="relu"), "gram"),
    ],
)
def test_models_declare_it(problem, chosen):
    assert core.curvature_of(problem._core, "auto", BUDGET) == chosen


def test_the_bounds_of_the_choice_are_included():
    """Dense up to d = 200; and a matrix fits that takes all of its budget, factors of Radau included."""

    def chosen(problem, kind="auto", budget=BUDGET):
        return core.curvature_of(problem._core, kind, budget)

    def tall(width, inputs):
        X = np.ones((300, inputs))
        return gf.models.TwoLayerNetwork(X, np.ones(300), width=width, activation="tanh")

    at, beyond = tall(50, 2), tall(67, 1)
    assert (at.num_params, beyond.num_params) == (200, 201)
    assert (chosen(at), chosen(beyond)) == ("dense", "krylov")
    whole = 4 * 8 * 200**2
    assert (chosen(at, budget=whole), chosen(at, budget=whole - 1)) == ("dense", "krylov")
    kernel = gf.models.DiagonalLinearNetwork(np.ones((200, 400)), np.ones(200))
    assert (chosen(kernel, budget=whole), chosen(kernel, budget=whole - 1)) == ("adaptive", "krylov")


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A clock that goes on where a function says that it takes time."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(costs, "time", SimpleNamespace(perf_counter=lambda: now.seconds))
    return now


def own(clock, n=150, gram_takes=0.0, **others):
    """A network as functions of the user's, whose gradient takes a millisecond and K so long; and weights."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 8))
    net = gf.models.TwoLayerNetwork(X, np.sin(X[:, 0]), width=60, activation="tanh")

    def residual(w):
        clock.seconds += 1e-3
        return net.residual(w)

    def gram(w):
        clock.seconds += gram_takes
        return net.gram(w)

    functions = {"residual": residual, "jvp": net.jvp, "vjp": net.vjp, "hvp": net.hvp, "gram": gram}
    sizes = {"num_params": net.num_params, "num_residuals": n}
    return gf.LeastSquares(**functions | others, **sizes), net.initial_weights(seed=0)


def flow(problem, w0, **options):
    return gf.gradient_flow(problem, w0, (0.0, 10.0), weight_decay=1e-2, rtol=1e-3, **options)


@pytest.mark.parametrize(("gram_takes", "chosen"), [(0.03, "gram"), (0.05, "krylov")])
def test_functions_of_ones_own_are_measured(clock, gram_takes, chosen):
    problem, w0 = own(clock, gram_takes=gram_takes)
    sol = flow(problem, w0)
    assert sol.settings["curvature"] == chosen
    assert sol.stats.keys() >= MEASURED
    assert sol.stats["gram_seconds"] == pytest.approx(gram_takes)


def test_what_the_first_call_takes_more_is_not_measured(clock):
    """Functions load and compile when they are called first."""
    compiled = []

    def gradient(w):
        clock.seconds += 1e-3 if compiled else 30.0
        compiled.append(True)
        return w

    problem = gf.Objective(loss=lambda w: w @ w / 2, gradient=gradient, hvp=lambda w, v: v, num_params=150)
    assert flow(problem, np.ones(150)).stats["gradient_seconds"] == pytest.approx(1e-3)


def test_products_for_k_are_not_measured(clock):
    """There are n of them."""
    problem, w0 = own(clock, gram=None)
    sol = flow(problem, w0)
    assert sol.settings["curvature"] == "krylov"
    assert sol.stats.keys() & MEASURED == {"gradient_seconds"}


def test_nothing_is_measured_where_it_does_not_matter(clock):
    problem, w0 = own(clock, n=50, gram_takes=0.3)
    for options in ({}, {"curvature": "gram"}):
        sol = flow(problem, w0, **options)
        assert sol.settings["curvature"] == "gram"
        assert not sol.stats.keys() & MEASURED


def test_a_run_that_is_taken_up_does_not_measure_again(clock, tmp_path):
    """Its curvature is that of its begin, however fast the functions are by then."""
    slow, w0 = own(clock, gram_takes=0.3)
    whole = flow(slow, w0)
    path = tmp_path / "run.ckpt"
    flow(slow, w0, checkpoint=path, max_steps=3)
    fast, _ = own(clock)
    sol = gf.resume(path, problem=fast, max_steps=10**6)
    assert sol.settings["curvature"] == "krylov"
    assert sol.final.tolist() == whole.final.tolist()
    assert sol.stats["gram_seconds"] == whole.stats["gram_seconds"]


def test_landings_and_drifts_tell_what_was_measured(clock):
    problem, w0 = own(clock, n=110)
    landing = gf.limit_map(problem, w0, rtol=1e-3)
    assert landing.success
    assert landing.stats.keys() >= MEASURED
    assert landing.path.stats["gram_seconds"] == landing.stats["gram_seconds"]
    drift = gf.norm_flow(problem, landing.w, (0.0, 0.01), rtol=1e-3)
    assert drift.stats["gram_seconds"] == landing.stats["gram_seconds"]


def test_the_preconditioner_of_krylov_is_worth_its_price():
    """The dearer a product, the more vectors; a rank that is asked for is taken."""
    X = np.ones((800, 20))
    ranks = []
    for width in (40, 400, 4000, 40_000):
        net = gf.models.TwoLayerNetwork(X, np.ones(800), width=width, activation="tanh")
        ranks.append(core.krylov_rank(net._core, 0, BUDGET))
        assert core.krylov_rank(net._core, 77, BUDGET) == 77
    assert ranks == sorted(ranks)
    assert ranks[0] <= 32  # 20 operations with each entry of F are a tenth of the 6 million of a product
    assert ranks[-1] == 200
