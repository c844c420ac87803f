"""The models of the library, evaluated in C++: each is a :class:`grokflow.Problem` made from data.

All fit a sum of squares, ``F(w) = (c/2) sum_i (prediction_i - target_i)^2``; those of samples (X, y) also
another `loss` (:mod:`grokflow.losses`). The argument `scale` gives c: "mean" for 1/n (the default), "sum" for
1, or a number. The loss over the test data follows the same rule: 1/n_test, 1, or the number. With several
outputs, n counts each output of each sample.
"""

from grokflow.models.linear import DiagonalLinearNetwork, LinearRegression
from grokflow.models.matrix_completion import MatrixCompletion
from grokflow.models.matrix_sensing import MatrixSensing
from grokflow.models.mlp import MLP
from grokflow.models.model import Model
from grokflow.models.two_layer import TwoLayerNetwork

__all__ = [
    "MLP",
    "DiagonalLinearNetwork",
    "LinearRegression",
    "MatrixCompletion",
    "MatrixSensing",
    "Model",
    "TwoLayerNetwork",
]
