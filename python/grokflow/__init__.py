"""Fast simulation of gradient flows with small weight decay, and of their limit.

>>> import grokflow as gf
>>> problem = gf.models.LinearRegression([[1.0, 2.0]], [1.0])
>>> sol = gf.gradient_flow(problem, [0.0, 0.0], (0, 1e3), weight_decay=1e-2)
"""

from importlib import import_module as _import_module
from types import ModuleType as _ModuleType

from grokflow import _start as _start
from grokflow import losses, models, observables, schedules
from grokflow._arithmetic import warn_of_flushing as _warn_of_flushing
from grokflow._backend import core as _core
from grokflow.callbacks import CallbackError, LeastSquares, Objective, PrecisionWarning
from grokflow.check import ProblemReport, check_problem
from grokflow.checkpoint.journal import CheckpointWarning
from grokflow.clocks import Clocks, clocks, crossing_time
from grokflow.embedding import get_cmake_dir, get_include
from grokflow.figures.flows import plot_flows, plot_law
from grokflow.files import FileError
from grokflow.flows import gradient_flow
from grokflow.frameworks.from_jax import from_jax
from grokflow.frameworks.from_torch import from_torch
from grokflow.integrator import Integrator
from grokflow.limit.compare import first_order_residual, horizon
from grokflow.limit.drift import norm_flow
from grokflow.limit.landing import Landing, limit_map
from grokflow.limit.minimum import MinimumNorm, minimum_norm
from grokflow.limit.phases import GrokkingTimes
from grokflow.limit.tangent import TangentProjection, tangent_projection
from grokflow.limit.two_phase import TwoPhase, two_phase
from grokflow.memory import get_memory_limit, set_memory_limit
from grokflow.methods import BDF, ROCK2, Auto, Dense, Exponential, Gram, Krylov, Radau, Tsit5
from grokflow.models.modular import modular_addition
from grokflow.outputs import OutputModel
from grokflow.problems import Problem
from grokflow.regularizers import L1, Regularizer
from grokflow.resume import resume
from grokflow.solution import Solution
from grokflow.sweeps.figure import phase_diagram
from grokflow.sweeps.sweep import sweep
from grokflow.threads import check_environment as _check_environment
from grokflow.threads import get_num_threads, set_num_threads

_check_environment()
_warn_of_flushing()

__version__: str = _core.__version__


def __getattr__(name: str) -> _ModuleType:
    if name == "scipy":  # which imports SciPy
        return _import_module("grokflow.scipy")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "BDF",
    "L1",
    "ROCK2",
    "Auto",
    "CallbackError",
    "CheckpointWarning",
    "Clocks",
    "Dense",
    "Exponential",
    "FileError",
    "Gram",
    "GrokkingTimes",
    "Integrator",
    "Krylov",
    "Landing",
    "LeastSquares",
    "MinimumNorm",
    "Objective",
    "OutputModel",
    "PrecisionWarning",
    "Problem",
    "ProblemReport",
    "Radau",
    "Regularizer",
    "Solution",
    "TangentProjection",
    "Tsit5",
    "TwoPhase",
    "check_problem",
    "clocks",
    "crossing_time",
    "first_order_residual",
    "from_jax",
    "from_torch",
    "get_cmake_dir",
    "get_include",
    "get_memory_limit",
    "get_num_threads",
    "gradient_flow",
    "horizon",
    "limit_map",
    "losses",
    "minimum_norm",
    "models",
    "modular_addition",
    "norm_flow",
    "observables",
    "phase_diagram",
    "plot_flows",
    "plot_law",
    "resume",
    "schedules",
    "set_memory_limit",
    "set_num_threads",
    "sweep",
    "tangent_projection",
    "two_phase",
]
