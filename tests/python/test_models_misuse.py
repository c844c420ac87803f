"""Misuse of the models is told at once, with what was got and where."""

import numpy as np
import pytest
from grokflow import models

X, y = np.arange(6.0).reshape(3, 2), np.ones(3)
rows, cols, values = [0, 1, 1], [0, 0, 2], np.ones(3)
NAN = np.where(np.eye(3, 2, -1) == 1, np.nan, X)


def linear(X=X, y=y, **options):
    return models.LinearRegression(X, y, **options)


def completion(rows=rows, cols=cols, values=values, shape=(2, 3), width=2, **options):
    return models.MatrixCompletion(rows, cols, values, shape=shape, width=width, **options)


def network(X=X, y=y, width=2, **options):
    return models.TwoLayerNetwork(X, y, width=width, **options)


def mlp(X=X, y=y, widths=(2, 3), **options):
    return models.MLP(X, y, widths, **options)


def sensing(A=np.ones((3, 2, 4)), y=y, width=2, **options):  # noqa: B008
    return models.MatrixSensing(A, y, width=width, **options)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: linear(X=NAN), ValueError, r"X\[1, 0\] is nan; all entries must be finite"),
        (lambda: linear(y=[1, 2, np.inf]), ValueError, r"y\[2\] is inf; all entries must be finite"),
        (lambda: linear(X=np.ones((0, 2)), y=[]), ValueError, r"X has shape \(0, 2\); it must not be empty"),
        (lambda: linear(X=np.ones((3, 0))), ValueError, r"X has shape \(3, 0\); it must not be empty"),
        (lambda: linear(X=np.ones(3)), ValueError, r"X has 1 dimension; .* X\[:, None\]"),
        (lambda: linear(X=np.ones((3, 2, 1))), ValueError, r"X has shape \(3, 2, 1\); it must have 2 dim"),
        (lambda: linear(X=[[1, 2], [3]], y=[1, 2]), ValueError, "X is ragged"),
        (lambda: linear(X=np.ma.masked_equal(X, 3.0)), ValueError, "X has masked entries"),
        (lambda: linear(X=X + 0j), TypeError, "X is dtype complex128; it must hold real numbers"),
        (lambda: linear(X=[["a", "b"]] * 3), TypeError, "X is dtype <U1"),
        (lambda: linear(X=X.astype(object)), TypeError, "X is dtype object"),
        (lambda: linear(y=None), TypeError, "y is None"),
        (lambda: linear(y=[1, 2]), ValueError, r"y has shape \(2,\); it must be \(3,\)"),
        (lambda: linear(y=np.ones((3, 2))), ValueError, "y has 2 columns; this model has a single output"),
        (lambda: linear(test=X), ValueError, r"test must be a tuple \(X, y\)"),
        (lambda: linear(test=(X[:, :1], y)), ValueError, "test X has 1 columns; the training inputs have 2"),
        (lambda: linear(test=(NAN, y)), ValueError, r"test X\[1, 0\] is nan"),
        (lambda: linear(scale="median"), ValueError, "scale is 'median'; choose from 'mean', 'sum'"),
        (lambda: linear(scale=0), ValueError, r"scale is 0.0; it must be positive"),
        (lambda: linear(scale=None), TypeError, "scale is None; it must be a real number"),
        (lambda: completion(rows=[0, 1, 2]), ValueError, r"rows\[2\] is 2; indices must lie in 0 <= i < 2"),
        (lambda: completion(cols=[0, -1, 2]), ValueError, r"cols\[1\] is -1; indices must lie in"),
        (
            lambda: completion(rows=[0.0, 1.0, 1.0]),
            TypeError,
            "rows is dtype float64; indices must be integers",
        ),
        (
            lambda: completion(cols=[0, 0, 0]),
            ValueError,
            r"entry \(1, 0\) occurs twice, at 1 and 2; keep one",
        ),
        (lambda: completion(cols=[0, 1]), ValueError, "cols has 2 entries; rows has 3"),
        (lambda: completion(values=[1, 2]), ValueError, r"values has shape \(2,\); it must be \(3,\)"),
        (lambda: completion(values=[1, np.nan, 2]), ValueError, r"values\[1\] is nan"),
        (lambda: completion([], [], []), ValueError, r"rows has shape \(0,\); it must not be empty"),
        (lambda: completion(shape=(2,)), ValueError, r"shape is \(2,\); it must be a pair"),
        (lambda: completion(shape=(0, 3)), ValueError, r"shape\[0\] is 0; it must be at least 1"),
        (lambda: completion(width=0), ValueError, "width is 0; it must be at least 1"),
        (lambda: completion(test=(rows, cols)), ValueError, r"test must be a tuple \(rows, cols, values\)"),
        (lambda: completion(test=([5], [0], [1.0])), ValueError, r"test rows\[0\] is 5"),
        (lambda: mlp(widths=(2, 0)), ValueError, r"widths\[1\] is 0; it must be at least 1"),
        (lambda: mlp(widths=(2, 3.0)), TypeError, r"widths\[1\] is 3.0; it must be an integer"),
        (
            lambda: mlp(widths=()),
            ValueError,
            "widths is empty; give the neurons of one hidden layer at least",
        ),
        (lambda: mlp(widths=100), TypeError, "widths is 100; it must be a sequence of integers"),
        (lambda: mlp(widths="100"), TypeError, "widths is '100'; it must be a sequence of integers"),
        (lambda: mlp(y=np.ones(2)), ValueError, r"y has shape \(2,\); it must be \(3,\) or \(3, outputs\)"),
        (lambda: mlp(y=np.ones((3, 0))), ValueError, r"y has shape \(3, 0\); it must not be empty"),
        (lambda: mlp(y=np.ones((3, 2, 1))), ValueError, r"y has shape \(3, 2, 1\); it must be"),
        (lambda: mlp(y=np.where(np.eye(3, 2), np.nan, 0)), ValueError, r"y\[0, 0\] is nan"),
        (
            lambda: mlp(y=np.ones((3, 2)), test=(X, y)),
            ValueError,
            r"test y has shape \(3,\); with these y it must be \(3, 2\)",
        ),
        (lambda: mlp(activation="selu"), ValueError, "activation is 'selu'; choose from 'tanh', 'erf', "),
        (lambda: mlp(smoothing=0.1), ValueError, "smoothing is 0.1, and activation 'tanh' has no such"),
        (lambda: mlp(bias=1), TypeError, "bias is 1; it must be True or False"),
        (
            lambda: mlp(widths=(10**7, 10**7)),
            ValueError,
            r"has 100000050000001 parameters, which take 2.24e\+06 GiB of memory or more; this process",
        ),
        (lambda: mlp(widths=(10**30,)), ValueError, r"has 4\d+1 parameters, which take .* GiB"),
        (lambda: sensing(A=X), ValueError, r"A has 2 dimensions; it must be \(n, N, M\)"),
        (lambda: sensing(y=[1.0]), ValueError, r"y has shape \(1,\); it must be \(3,\)"),
        (lambda: sensing(A=np.ones((3, 2, 0))), ValueError, r"A has shape \(3, 2, 0\); it must not be empty"),
        (lambda: sensing(width=0), ValueError, "width is 0; it must be at least 1"),
        (lambda: sensing(width=10**15), ValueError, "has 6000000000000000 parameters, which take .* GiB"),
        (lambda: sensing(test=X), ValueError, r"test must be a tuple \(A, y\)"),
        (
            lambda: sensing(test=(np.ones((1, 2, 3)), [1.0])),
            ValueError,
            r"test A has matrices of shape \(2, 3\); those of A have \(2, 4\)",
        ),
        (lambda: network(width=10**14), ValueError, "has 400000000000000 parameters, which take .* GiB"),
        (lambda: network(width=2.0), TypeError, "width is 2.0; it must be an integer"),
        (lambda: network(activation="selu"), ValueError, "activation is 'selu'; choose from 'tanh', 'erf', "),
        (
            lambda: network(activation="relu", negative_slope=0.1),
            ValueError,
            "negative_slope is 0.1, and activation 'relu' has no such parameter",
        ),
        (lambda: network(smoothing=0.1), ValueError, "smoothing is 0.1, and activation 'tanh' has no"),
        (lambda: network(activation="polynomial"), ValueError, "activation 'polynomial' needs coefficients"),
        (
            lambda: network(activation="polynomial", coefficients=[1.0, np.nan]),
            ValueError,
            r"coefficients\[1\] is nan; all entries must be finite",
        ),
        (lambda: mlp(activation="polynomial", coefficients=[]), ValueError, "it must not be empty"),
        (
            lambda: network(activation="smooth_relu", smoothing=0),
            ValueError,
            "smoothing is 0.0; it must be positive",
        ),
        (
            lambda: network(activation="smooth_relu", smoothing=1e-310),
            ValueError,
            "the width of smooth_relu must be positive, and its inverse finite",
        ),
        (
            lambda: network(activation="leaky_relu", negative_slope=np.inf),
            ValueError,
            "negative_slope is inf; it must be finite",
        ),
        (lambda: network(output_bias="no"), TypeError, "output_bias is 'no'; it must be True or False"),
        (lambda: network(output_scale=-1), ValueError, "output_scale is -1.0; it must be positive"),
    ],
)
def test_data(make, error, message):
    with pytest.raises(error, match=message):
        make()


BAD_WEIGHTS = [
    ([1.0, 2.0, 3.0], ValueError, r"w has shape \(3,\); it must be \(2,\)"),
    ([[1.0, 2.0]], ValueError, r"w has shape \(1, 2\); it must be \(2,\)"),
    ([1.0, np.nan], ValueError, r"w\[1\] is nan; all entries must be finite"),
    ([1.0, -np.inf], ValueError, r"w\[1\] is -inf; all entries must be finite"),
    (["a", "b"], TypeError, "w is dtype <U1"),
    (None, TypeError, "w is None"),
]


@pytest.mark.parametrize(("w", "error", "message"), BAD_WEIGHTS)
@pytest.mark.parametrize(
    "function",
    ["loss", "gradient", "residual", "jacobian", "gram", "hessian", "predict", "unflatten", "test_loss"],
)
def test_weights(function, w, error, message):
    with pytest.raises(error, match=message):
        getattr(linear(test=(X, y)), function)(w)


def test_directions():
    w = np.zeros(2)
    with pytest.raises(ValueError, match=r"v has shape \(3,\); it must be \(2,\)"):
        linear().jvp(w, np.ones(3))
    with pytest.raises(ValueError, match=r"v\[0\] is nan"):
        linear().hvp(w, [np.nan, 1.0])
    with pytest.raises(ValueError, match=r"u has shape \(2,\); it must be \(3,\)"):
        linear().vjp(w, np.ones(2))


def test_predict_at_inputs_of_another_width():
    with pytest.raises(ValueError, match="X has 3 columns; the training inputs have 2"):
        linear().predict(np.zeros(2), np.ones((4, 3)))


def test_test_loss_without_test_data():
    with pytest.raises(ValueError, match=r"no test data; make it with test="):
        linear().test_loss(np.zeros(2))


def test_unknown_quantity():
    with pytest.raises(ValueError, match="name is 'accuracy'; choose from 'train_loss', 'norm', 'grad_norm'"):
        linear().quantity("accuracy", np.zeros(2))


@pytest.mark.parametrize(
    ("std", "error", "message"),
    [
        (-1.0, ValueError, "std of u is -1.0; it must not be negative"),
        ({"V": np.nan}, ValueError, "std of V is nan; it must be finite"),
        ({"W": 1.0}, ValueError, "block in std is 'W'; choose from 'u', 'V', 'b'"),
        ("1", TypeError, "std of u is '1'; it must be a real number"),
    ],
)
def test_initial_weights(std, error, message):
    with pytest.raises(error, match=message):
        network().initial_weights(std)
