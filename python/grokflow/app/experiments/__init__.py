"""The paper's experiments (arXiv 2505.20172), one file each; sizes that it leaves open are ours."""

from collections.abc import Callable

from grokflow.app.experiments import diagonal, limit, linear, matrix, relu, tanh
from grokflow.app.experiments.experiment import Experiment, LimitExperiment

EXPERIMENTS: dict[str, Callable[[int, float | None, bool], Experiment | LimitExperiment]] = {
    "linear": linear.experiment,
    "diagonal": diagonal.experiment,
    "matrix": matrix.experiment,
    "tanh": tanh.experiment,
    "relu": relu.experiment,
    "limit": limit.experiment,
}

__all__ = ["EXPERIMENTS", "Experiment", "LimitExperiment"]
