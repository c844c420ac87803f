"""Losses on outputs: values, derivatives and factors, where a sample is fitted well, badly or not at all."""

import re

import grokflow as gf
import numpy as np
import pytest
from grokflow.losses import CrossEntropy, Huber, Logistic, Squares
from reference.losses import named

RNG = np.random.default_rng(0)
N, K = 7, 4
OUTPUTS = 3.0 * RNG.standard_normal((N, K))
CLASSES = RNG.integers(0, K, N)
SOFT = RNG.dirichlet(np.ones(K), N)

CASES = {
    "squares": (Squares(), RNG.standard_normal((N, K))),
    "huber": (Huber(delta=0.7), RNG.standard_normal((N, K))),
    "logistic": (Logistic(), RNG.choice([-1, 1], (N, K))),
    "logistic01": (Logistic(), RNG.choice([0, 1], (N, K))),
    "classes": (CrossEntropy(), CLASSES),
    "soft": (CrossEntropy(), SOFT),
    "smoothed": (CrossEntropy(label_smoothing=0.1), CLASSES),
}
each = pytest.mark.parametrize(("loss", "targets"), CASES.values(), ids=CASES)


@each
def test_losses_agree_with_the_reference(loss, targets):
    twin = named(loss)
    np.testing.assert_allclose(loss.value(OUTPUTS, targets), twin.value(OUTPUTS, targets), rtol=1e-13)
    np.testing.assert_allclose(
        loss.gradient(OUTPUTS, targets), twin.gradient(OUTPUTS, targets), rtol=1e-12, atol=1e-14
    )
    (rho, B), (rho_twin, B_twin) = loss.factor(OUTPUTS, targets), twin.factor(OUTPUTS, targets)
    assert B.shape == B_twin.shape
    np.testing.assert_allclose(B @ B.transpose(0, 2, 1), B_twin @ B_twin.transpose(0, 2, 1), atol=1e-14)
    # Factors differ by a rotation, which keeps the size of rho.
    np.testing.assert_allclose(np.linalg.norm(rho, axis=1), np.linalg.norm(rho_twin, axis=1), rtol=1e-9)


@each
def test_gradient_is_the_derivative(loss, targets):
    h, g = 1e-6, loss.gradient(OUTPUTS, targets)
    for index in np.ndindex(N, K):
        step = np.zeros((N, K))
        step[index] = h
        slope = (loss.value(OUTPUTS + step, targets) - loss.value(OUTPUTS - step, targets)) / (2 * h)
        assert slope == pytest.approx(g[index], abs=1e-7)


@each
def test_factor_is_that_of_the_hessian(loss, targets):
    """By differences of the gradient; beyond delta Huber's factor is of the weights g / r."""
    rho, B = loss.factor(OUTPUTS, targets)
    g, h = loss.gradient(OUTPUTS, targets), 1e-6
    np.testing.assert_allclose(np.einsum("ikq,iq->ik", B, rho), g, atol=1e-13)
    S = B @ B.transpose(0, 2, 1)
    if isinstance(loss, Huber):
        r = OUTPUTS - targets
        np.testing.assert_allclose(np.einsum("ikk->ik", S), g / r, rtol=1e-12)
        assert (np.abs(r) > loss.delta).any()
        assert (np.abs(r) < loss.delta).any()
        return
    for k in range(K):
        step = h * np.eye(K)[k]
        column = (loss.gradient(OUTPUTS + step, targets) - loss.gradient(OUTPUTS - step, targets)) / (2 * h)
        np.testing.assert_allclose(S[:, :, k], column, atol=1e-8)


@each
def test_rho_is_the_shortest_that_gives_the_gradient(loss, targets):
    rho, B = loss.factor(OUTPUTS, targets)
    g = loss.gradient(OUTPUTS, targets)
    for i in range(N):
        np.testing.assert_allclose(rho[i], np.linalg.pinv(B[i], rcond=1e-12) @ g[i], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("targets", [CLASSES, SOFT], ids=["classes", "soft"])
def test_softmax_does_not_see_a_shift(targets):
    shift = 50.0 * RNG.standard_normal((N, 1))
    loss = CrossEntropy()
    assert loss.value(OUTPUTS + shift, targets) == pytest.approx(loss.value(OUTPUTS, targets), rel=1e-13)
    g = loss.gradient(OUTPUTS, targets)
    np.testing.assert_allclose(loss.gradient(OUTPUTS + shift, targets), g, atol=1e-13)
    np.testing.assert_allclose(g.sum(axis=1), 0.0, atol=1e-15)
    np.testing.assert_allclose(loss.factor(OUTPUTS, targets)[1].sum(axis=1), 0.0, atol=1e-14)


def test_two_classes_are_a_logistic_loss():
    f, y = OUTPUTS[:, :1], CLASSES % 2
    pair = np.hstack([np.zeros_like(f), f])
    assert CrossEntropy().value(pair, y) == pytest.approx(Logistic().value(f, y[:, None]), rel=1e-14)
    g = CrossEntropy().gradient(pair, y)
    np.testing.assert_allclose(g[:, 1:], Logistic().gradient(f, y[:, None]), rtol=1e-12)


def test_huber_far_away_is_linear_and_near_by_is_squares():
    y = np.zeros((N, K))
    assert Huber(delta=100.0).value(OUTPUTS, y) == Squares().value(OUTPUTS, y)
    np.testing.assert_allclose(Huber(delta=1e-9).gradient(OUTPUTS, y), 1e-9 * np.sign(OUTPUTS))


# Saturation


@pytest.mark.parametrize("margin", [1.0, 40.0, 300.0, 700.0, 1e3, 1e5])
def test_a_class_that_is_certain_keeps_all_digits(margin):
    """1 - p_y = sum of the others, e^-margin each, with no digit lost to p_y = 1; and rho_j = sqrt(p_j)."""
    f = np.zeros((1, 3))
    f[0, 1] = margin
    loss, y, small = CrossEntropy(), np.array([1]), np.exp(-margin)
    others = small / (1.0 + 2.0 * small)
    assert loss.value(f, y) == pytest.approx(np.log1p(2.0 * small), rel=1e-14, abs=0.0)
    np.testing.assert_allclose(loss.gradient(f, y), [[others, -2.0 * others, others]], rtol=1e-14)
    rho, B = loss.factor(f, y)
    assert np.isfinite(rho).all()
    assert np.isfinite(B).all()
    size = np.sqrt(2.0 * others / (1.0 - 2.0 * others))  # |rho|^2 = sum g^2 / p
    if margin <= 1e3:
        assert np.linalg.norm(rho) == pytest.approx(size, rel=1e-12, abs=0.0)


@pytest.mark.parametrize("margin", [40.0, 700.0, 1e3, 1e5])
@pytest.mark.parametrize("loss", [CrossEntropy(), CrossEntropy(label_smoothing=0.1), Logistic()], ids=str)
def test_a_class_that_is_missed_costs_its_margin(loss, margin):
    f = np.full((1, 1), -margin) if isinstance(loss, Logistic) else np.array([[margin, 0.0]])
    y = np.array([[1]]) if isinstance(loss, Logistic) else np.array([1])
    share = getattr(loss, "label_smoothing", 0.0)
    assert loss.value(f, y) == pytest.approx(margin * (1.0 - share / 2), rel=1e-14)
    assert np.abs(loss.gradient(f, y)).max() == pytest.approx(1.0 - share / 2, rel=1e-14)
    rho, B = loss.factor(f, y)
    assert np.isfinite(rho).all()
    assert np.isfinite(B).all()
    np.testing.assert_allclose(np.einsum("ikq,iq->ik", B, rho), loss.gradient(f, y), rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("margin", [1.0, 40.0, 700.0])
def test_a_label_that_is_certain_keeps_all_digits(margin):
    f, y, small = np.array([[margin]]), np.array([[1]]), np.exp(-margin)
    assert Logistic().value(f, y) == pytest.approx(np.log1p(small), rel=1e-14, abs=0.0)
    np.testing.assert_allclose(Logistic().gradient(f, y), [[-small / (1.0 + small)]], rtol=1e-14)
    rho, B = Logistic().factor(f, y)
    np.testing.assert_allclose(rho, [[-np.exp(-margin / 2)]], rtol=1e-14)
    np.testing.assert_allclose(B[:, :, 0], [[np.exp(-margin / 2) / (1.0 + small)]], rtol=1e-14)


@pytest.mark.parametrize("logit", [0.0, 1e-8, 5.0, 30.0])
def test_smoothed_labels_are_met_at_finite_outputs(logit):
    """The gradient vanishes where softmax(f) are the targets."""
    loss, k = CrossEntropy(label_smoothing=0.1), 3
    q = np.array([0.9 + 0.1 / k, 0.1 / k, 0.1 / k])
    np.testing.assert_allclose(loss.gradient(np.log(q)[None] + logit, np.array([0])), 0.0, atol=1e-15)


# What is refused


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: CrossEntropy(label_smoothing=1.0),
            ValueError,
            "label_smoothing is 1; it must lie in 0 <= s < 1",
        ),
        (lambda: CrossEntropy(label_smoothing=-0.1), ValueError, "label_smoothing is -0.1"),
        (lambda: CrossEntropy(label_smoothing="0"), TypeError, "label_smoothing is '0'"),
        (lambda: Huber(delta=0.0), ValueError, "delta is 0.0; it must be positive"),
        (lambda: Huber(delta=np.nan), ValueError, "delta is nan"),
    ],
)
def test_a_bad_parameter_is_told(make, error, words):
    with pytest.raises(error, match=re.escape(words)):
        make()


SUM = SOFT.copy()
SUM[2] *= 1.1
NEGATIVE = SOFT.copy()
NEGATIVE[1, 3], NEGATIVE[1, 0] = -0.25, 1.25


@pytest.mark.parametrize(
    ("loss", "targets", "error", "words"),
    [
        ("cross_entropy", [0, 1, 2, 4, 0, 0, 0], ValueError, "[3] is class 4; there are 4 outputs"),
        ("cross_entropy", [0, -1, 2, 3, 0, 0, 0], ValueError, "[1] is class -1"),
        ("cross_entropy", [0.0] * 7, TypeError, "dtype float64; classes must be integers"),
        ("cross_entropy", [0, 1], ValueError, "has shape (2,); it must be (7,)"),
        ("cross_entropy", SUM, ValueError, "[2] sums to 1.1; the probabilities of a sample must sum to 1"),
        ("cross_entropy", NEGATIVE, ValueError, "[1, 3] is -0.25; a probability must not be negative"),
        ("cross_entropy", SOFT[:, :3], ValueError, "has shape (7, 3); it must be (7,)"),
        ("logistic", np.full((7, 4), 2), ValueError, "[0, 0] is 2; a label is 1 or -1, or 1 or 0"),
        ("logistic", np.eye(7, 4) - np.eye(7, 4, 1), ValueError, "[0, 1] is -1; the others are 1 or 0"),
        ("logistic", np.ones(7), ValueError, "has shape (7,); the outputs have (7, 4)"),
        ("squares", np.full((7, 4), np.nan), ValueError, "[0, 0] is nan"),
        ("huber", np.ones((4, 7)), ValueError, "has shape (4, 7); the outputs have (7, 4)"),
        ("hinge", SOFT, ValueError, "loss is 'hinge'; choose from 'squares', 'mse', 'cross_entropy', "),
        (None, SOFT, TypeError, "loss is None; choose from"),
        (CrossEntropy, CLASSES, TypeError, "loss is <class"),
    ],
)  # fmt: skip
def test_bad_targets_are_told(loss, targets, error, words):
    with pytest.raises(error, match=re.escape(words)):
        gf.OutputModel(
            outputs=lambda w: OUTPUTS,
            jvp=lambda w, v: OUTPUTS,
            vjp=lambda w, u: w,
            num_params=2,
            shape=(N, K),
            targets=targets,
            loss=loss,
        )


def test_single_precision_may_sum_up_to_nearly_one():
    soft = SOFT.astype(np.float32)
    np.testing.assert_allclose(CrossEntropy().gradient(OUTPUTS, soft).sum(axis=1), 0.0, atol=1e-15)
