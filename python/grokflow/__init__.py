"""Fast simulation of gradient flows with small weight decay, and of their limit.

>>> import grokflow as gf
>>> problem = gf.models.LinearRegression([[1.0, 2.0]], [1.0])
>>> sol = gf.gradient_flow(problem, [0.0, 0.0], (0, 1e3), weight_decay=1e-2)
"""

from grokflow import models
from grokflow._backend import core as _core
from grokflow.callbacks import CallbackError, LeastSquares, Objective, PrecisionWarning
from grokflow.check import ProblemReport, check_problem
from grokflow.clocks import Clocks, clocks
from grokflow.files import FileError
from grokflow.flows import gradient_flow
from grokflow.integrator import Integrator
from grokflow.methods import BDF, Dense, Gram, Radau
from grokflow.problems import Problem
from grokflow.solution import Solution

__version__: str = _core.__version__

__all__ = [
    "BDF",
    "CallbackError",
    "Clocks",
    "Dense",
    "FileError",
    "Gram",
    "Integrator",
    "LeastSquares",
    "Objective",
    "PrecisionWarning",
    "Problem",
    "ProblemReport",
    "Radau",
    "Solution",
    "check_problem",
    "clocks",
    "gradient_flow",
    "models",
]
