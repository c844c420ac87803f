"""Every public function that computes has a twin in tests/reference with the same name and signature."""

import importlib
import inspect
import pkgutil

import grokflow as gf
import pytest
import reference

# Public names that compute nothing of their own. `Integrator` is the loop of `gradient_flow` and is held
# against it in test_faults_system.py; `Solution`, `Clocks`, `ProblemReport`, `TangentProjection`, `Landing`,
# `GrokkingTimes` and `TwoPhase` hold results, of which the last computes more by methods that have their
# twins (below); `sweep` calls the others; `phase_diagram`, `plot_flows` and `plot_law` draw; `from_torch` and
# `from_jax` make an `OutputModel`; the rest are settings, bases and exceptions.
NOT_COMPUTING = {
    "Auto",
    "BDF",
    "CallbackError",
    "Clocks",
    "Dense",
    "Exponential",
    "FileError",
    "Gram",
    "GrokkingTimes",
    "Integrator",
    "Krylov",
    "Landing",
    "Loss",
    "MinimumNorm",
    "Model",
    "PrecisionWarning",
    "Problem",
    "ProblemReport",
    "ROCK2",
    "Radau",
    "Solution",
    "from_jax",
    "from_torch",
    "TangentProjection",
    "Tsit5",
    "TwoPhase",
    "get_cmake_dir",
    "get_include",
    "get_num_threads",
    "set_num_threads",
    "get_memory_limit",
    "set_memory_limit",
    "CheckpointWarning",
    "resume",
    "sweep",
    "phase_diagram",
    "plot_flows",
    "plot_law",
}

# Arguments that choose how an answer is computed, recorded or limited, and not what it is.
KEPT = {"checkpoint", "checkpoint_every", "checkpoint_errors"}
LIMITS = {"max_step", "max_steps", "max_time", "callback", "progress"} | KEPT
KNOBS = {
    "Objective": {"solve"},
    "OutputModel": {"solve"},
    "gradient_flow": {"method", "curvature", "first_step", "save_states"} | LIMITS,
    "limit_map": {"method", "curvature", "t_eval", "observe", "save_states"} | LIMITS,
    "norm_flow": {"method", "curvature", "first_step", "save_states"} | LIMITS,
    "tangent_projection": {"curvature"},
    "two_phase": {"method", "curvature"} | LIMITS - {"max_step"},
}

TWINS = [importlib.import_module(f"reference.{m.name}") for m in pkgutil.iter_modules(reference.__path__)]


def public(namespace):
    """Return {name: object} of what is public there and is made by grokflow."""
    names = getattr(namespace, "__all__", None) or [n for n in vars(namespace) if not n.startswith("_")]
    found = {name: getattr(namespace, name) for name in names}
    return {
        name: thing
        for name, thing in found.items()
        if (inspect.isclass(thing) or inspect.isfunction(thing))
        and thing.__module__.startswith("grokflow")
        and name not in NOT_COMPUTING
    }


COMPUTING = public(gf) | public(gf.models) | public(gf.losses) | public(gf.observables)


def twin_of(name):
    """Return what has this name in tests/reference, where it is defined."""
    for module in TWINS:
        thing = getattr(module, name, None)
        if getattr(thing, "__module__", None) == module.__name__:
            return thing
    pytest.fail(f"grokflow.{name} has no twin in tests/reference")


def arguments(function):
    return [name for name in inspect.signature(function).parameters if name != "self"]


def methods(thing):
    """Return {name: function} of the public methods of a class."""
    return {name: f for name, f in inspect.getmembers(thing, inspect.isfunction) if not name.startswith("_")}


def test_there_is_something_to_compare():
    assert {"gradient_flow", "check_problem", "LeastSquares", "Objective", "MatrixCompletion"} <= set(
        COMPUTING
    )


@pytest.mark.parametrize("name", COMPUTING)
def test_twin_has_the_same_signature(name):
    ours, twin = arguments(COMPUTING[name]), arguments(twin_of(name))
    knobs = KNOBS.get(name, set())
    assert twin == [argument for argument in ours if argument not in knobs]
    assert knobs <= set(ours)


@pytest.mark.parametrize("name", [name for name, thing in COMPUTING.items() if inspect.isclass(thing)])
def test_twin_has_the_same_methods(name):
    """Methods of a problem without residuals need no residuals in the twin."""
    twins = methods(twin_of(name))
    of_residuals = {"residual", "jvp", "vjp", "jacobian", "gram"}
    expected = methods(COMPUTING[name])
    if name == "Objective":
        expected = {method: f for method, f in expected.items() if method not in of_residuals}
    for method, function in expected.items():
        assert method in twins, f"the twin of {name} lacks {method}"
        assert arguments(function)[: len(arguments(twins[method]))] == arguments(twins[method])


def test_a_solution_of_the_reference_reads_like_ours():
    theirs = reference.flows.Solution.__dataclass_fields__
    assert set(theirs) <= set(gf.Solution.__dataclass_fields__)


@pytest.mark.parametrize("name", ["composite", "limits", "predicted_loss", "grokking_times"])
def test_two_phases_of_the_reference_compute_alike(name):
    ours, twin = getattr(gf.TwoPhase, name), getattr(reference.phases.TwoPhase, name)
    assert arguments(twin) == [name for name in arguments(ours) if name != "save_states"]
