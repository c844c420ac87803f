"""The models of the library, evaluated in C++: each is a :class:`grokflow.Problem` made from data.

All fit a sum of squares, ``F(w) = (c/2) sum_i (prediction_i - target_i)^2``; those of samples (X, y) also
another `loss` (:mod:`grokflow.losses`). The argument `scale` gives c: "mean" for 1/n (the default), "sum" for
1, or a number. With several outputs, n counts each output of each sample; "samples" counts samples alone, as
the mean squared error of one-hot targets is mostly meant. The loss over the test data follows the same rule:
one over its own number, 1, or the number given, so that by "sum" it is larger the more test data there are.
"""

from grokflow.models.centred import Centred
from grokflow.models.deep_diagonal import DeepDiagonalNetwork
from grokflow.models.factorisation import (
    DeepMatrixCompletion,
    DeepMatrixSensing,
    SymmetricCompletion,
    SymmetricSensing,
)
from grokflow.models.linear import DiagonalLinearNetwork, LinearRegression
from grokflow.models.matrix_completion import MatrixCompletion
from grokflow.models.matrix_sensing import MatrixSensing
from grokflow.models.mlp import MLP, DeepLinearNetwork
from grokflow.models.model import Model
from grokflow.models.random_features import RandomFeatures
from grokflow.models.trained import Trained
from grokflow.models.two_layer import TwoLayerNetwork

__all__ = [
    "MLP",
    "Centred",
    "DeepDiagonalNetwork",
    "DeepLinearNetwork",
    "DeepMatrixCompletion",
    "DeepMatrixSensing",
    "DiagonalLinearNetwork",
    "LinearRegression",
    "MatrixCompletion",
    "MatrixSensing",
    "Model",
    "RandomFeatures",
    "SymmetricCompletion",
    "SymmetricSensing",
    "Trained",
    "TwoLayerNetwork",
]
