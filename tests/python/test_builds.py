"""The builds for other instruction sets than the one in use obey the same laws."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from grokflow import _backend

HERE = Path(__file__).parent
LAWS = [
    HERE / f"test_{name}.py" for name in ("activations", "mlp", "closed_forms", "limit_projection", "krylov")
]


def run(isa, *command):
    environment = {**os.environ, "GROKFLOW_ISA": isa}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("isa", [name for name in _backend.available() if name != _backend.isa])
def test_another_build_obeys_the_laws(isa):
    done = run(isa, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *LAWS)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("isa", _backend.available())
def test_a_build_can_be_forced(isa):
    done = run(isa, "-c", "from grokflow import _backend; print(_backend.isa, _backend.core.__name__)")
    assert done.stdout.split() == [isa, f"grokflow.{_backend.MODULES[isa]}"]


def test_a_build_that_cannot_run_is_refused():
    done = run("avx9", "-c", "import grokflow")
    assert "GROKFLOW_ISA='avx9' cannot run here; choose from [" in done.stderr


def test_the_fastest_build_is_the_default():
    assert _backend.isa == os.environ.get("GROKFLOW_ISA", _backend.available()[0])
