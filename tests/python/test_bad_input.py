"""Every argument of every public callable against bad values: the error, and the words that it has.

The table is complete: an argument that is added without its line there is noticed.
"""

import inspect
import re

import grokflow as gf
import pytest
from bad_calls import CALLABLES, checkpoint, drift, sol


def made(value):
    """Return `value`, or the run that it stands for: none is made before it is needed."""
    return value() if any(value is run for run in (sol, drift, checkpoint)) else value


CASES = [
    pytest.param(call, good, argument, bad, error, words, id=f"{name}-{argument}-{i}")
    for name, (call, good, arguments) in CALLABLES.items()
    for argument, values in arguments.items()
    for i, (bad, error, words) in enumerate(values)
]


@pytest.mark.parametrize(("call", "good", "argument", "bad", "error", "words"), CASES)
def test_a_bad_argument_is_told(tmp_path, monkeypatch, call, good, argument, bad, error, words):
    monkeypatch.chdir(tmp_path)
    arguments = {name: made(value) for name, value in {**good, argument: bad}.items()}
    with pytest.raises(error, match=re.escape(words)):
        call(**arguments)


RESULTS = {
    "CallbackError",
    "CheckpointWarning",
    "Clocks",
    "FileError",
    "GrokkingTimes",
    "Landing",
    "MinimumNorm",
    "PrecisionWarning",
    "ProblemReport",
    "TangentProjection",
}
ELSEWHERE = {  # in test_torch_model, test_jax_model, test_sweep and test_phase_diagram
    "from_torch",
    "from_jax",
    "sweep",
    "phase_diagram",
}
ABSTRACT = {"Problem", "Model", "Loss", "Solution", "TwoPhase"}  # made by the library; their methods count


def public_callables():
    """Return (name in the table, arguments) of what a user calls."""
    for space in (gf, gf.models, gf.losses, gf.observables):
        for name in space.__all__:
            made = getattr(space, name)
            if callable(made) and name not in RESULTS | ABSTRACT | ELSEWHERE:
                yield name, inspect.signature(made).parameters
    for kind in (gf.Problem, gf.models.Model, gf.Solution, gf.Integrator, gf.TwoPhase, gf.OutputModel):
        for base in kind.__mro__[:-1]:
            for name, made in vars(base).items():
                if not name.startswith("_") and inspect.isfunction(
                    inspect.unwrap(getattr(made, "__func__", made))
                ):
                    owner = "Problem" if base is gf.Problem else kind.__name__
                    yield f"{owner}.{name}", list(inspect.signature(getattr(kind, name)).parameters)


def test_the_table_is_complete():
    missing = []
    for name, parameters in public_callables():
        known = CALLABLES.get(name, (None, None, {}))[2]
        if name not in CALLABLES:
            missing.append(name)
        missing += [f"{name}({parameter})" for parameter in parameters if parameter not in {*known, "self"}]
    assert not missing
