"""Observables by name against their twins, and the laws that they obey."""

import grokflow as gf
import numpy as np
import pytest
import reference.models as twins
import reference.observables as reference

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((7, 3)), RNG.standard_normal(7)
SHAPES = {"width": 5, "activation": "tanh"}


@pytest.fixture
def net():
    return gf.models.TwoLayerNetwork(X, Y, **SHAPES)


@pytest.fixture
def twin():
    return twins.TwoLayerNetwork(X, Y, **SHAPES)


W, W0 = RNG.standard_normal((2, 25))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("kernel_alignment", (Y,)),
        ("kernel_similarity", (W0,)),
        ("sharpness", ()),
        ("tangent_norm", ()),
        ("update_cosine", (1e-2,)),
        ("active_neurons", ()),
    ],
)
def test_twins_agree(net, twin, name, arguments):
    ours = getattr(gf.observables, name)(net, *arguments)
    theirs = getattr(reference, name)(twin, *arguments)
    assert ours(0.0, W) == pytest.approx(theirs(0.0, W), rel=1e-6)


@pytest.mark.parametrize("p", [2, 5, 8])
def test_twins_of_matrices_agree(p):
    A = RNG.standard_normal((p, 6))
    ours, theirs = (module.fourier_power(lambda w: A, p)(0.0, W) for module in (gf.observables, reference))
    assert ours == pytest.approx(theirs)
    assert ours.sum() == pytest.approx(1.0)
    ours, theirs = (module.effective_rank(lambda w: A)(0.0, W) for module in (gf.observables, reference))
    assert ours == pytest.approx(theirs)


def test_a_single_wave_has_one_frequency():
    wave = np.cos(2 * np.pi * 3 * np.arange(11) / 11 + 0.4)[:, None]
    power = gf.observables.fourier_power(lambda w: wave, 11)(0.0, W)
    assert power[3] == pytest.approx(1.0)


def test_equal_singular_values_are_counted():
    A = np.linalg.qr(RNG.standard_normal((6, 6)))[0][:, :4]
    assert gf.observables.effective_rank(lambda w: A)(0.0, W) == pytest.approx(4.0)


def test_a_linear_model_is_lazy_and_as_sharp_as_its_data():
    model = gf.models.LinearRegression(X, Y)
    assert gf.observables.kernel_similarity(model, np.ones(3))(0.0, np.zeros(3)) == pytest.approx(1.0)
    largest = np.linalg.eigvalsh(X.T @ X / 7)[-1]
    assert gf.observables.sharpness(model)(0.0, np.zeros(3)) == pytest.approx(largest, rel=1e-6)
    assert gf.observables.tangent_norm(model)(0.0, np.ones(3)) < 1e-12  # as many data as weights


def test_the_update_is_that_of_the_drift_once_it_has_landed():
    A = RNG.standard_normal((4, 9))
    model, lam = gf.models.LinearRegression(A, np.ones(4)), 1e-4
    observe = {
        "cosine": gf.observables.update_cosine(model, lam),
        "left": gf.observables.tangent_norm(model),
    }
    sol = gf.gradient_flow(model, np.ones(9), (0, 1 / lam), weight_decay=lam, observe=observe)
    assert sol["cosine"][-1] == pytest.approx(1.0, abs=1e-6)
    assert sol["left"][-1] == pytest.approx(sol["left"][0] * np.exp(-1.0), rel=1e-5)


def test_dead_neurons_are_not_active():
    relu = gf.models.TwoLayerNetwork(X, Y, width=2, activation="relu")
    w = np.concatenate([[1.0, 1.0], np.zeros(6), [1.0, -1.0]])
    assert gf.observables.active_neurons(relu)(0.0, w) == 0.5


def test_misuse_is_told():
    objective = gf.Objective(loss=lambda w: w @ w, gradient=lambda w: 2 * w, num_params=3)
    with pytest.raises(TypeError, match="no residuals"):
        gf.observables.tangent_norm(objective)
    with pytest.raises(TypeError, match="TwoLayerNetwork"):
        gf.observables.active_neurons(objective)
    with pytest.raises(ValueError, match="y has shape"):
        gf.observables.kernel_alignment(gf.models.LinearRegression(X, Y), np.ones(3))
    with pytest.raises(ValueError, match=r"3 rows; they must be p = 5"):
        gf.observables.fourier_power(lambda w: np.ones((3, 2)), 5)(0.0, W)
    with pytest.raises(ValueError, match="weight_decay"):
        gf.observables.update_cosine(gf.models.LinearRegression(X, Y), 0.0)
