"""The builds for other instruction sets than the one in use, and the plainest of all, obey the same laws."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from grokflow import _backend

HERE = Path(__file__).parent
LAWS = [
    HERE / f"test_{name}.py" for name in ("activations", "mlp", "closed_forms", "limit_projection", "krylov")
]
PYTEST = ["-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]


def run(*command, **variables):
    environment = {**os.environ, **variables}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("isa", [name for name in _backend.built() if name != _backend.isa])
def test_another_build_obeys_the_laws(isa):
    if isa not in _backend.available():
        pytest.skip("this processor cannot run it")
    done = run(*PYTEST, *LAWS, GROKFLOW_ISA=isa)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.slow
def test_a_build_of_this_machine_without_threads_obeys_the_laws(tmp_path):
    """By another compiler, where there is one, and in the time that little optimisation takes."""
    another = {"CXX": "clang++"} if shutil.which("clang++") else {}
    build = {"CMAKE_DISABLE_FIND_PACKAGE_OpenMP": "ON", "CMAKE_CXX_FLAGS_RELEASE": "-O1 -DNDEBUG"}
    options = [f"-Ccmake.define.{name}={value}" for name, value in build.items()]
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path]
    done = run(*pip, *options, HERE.parents[1], **another)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    here = {"PYTHONPATH": str(tmp_path), "GROKFLOW_ISA": ""}
    tell = "from grokflow._backend import *; print(core.__file__, core.has_threads, isa, *available())"
    done = run("-c", tell, **here)
    file, threads, isa, *builds = done.stdout.split()
    assert Path(file).parents[1] == tmp_path
    assert threads == "False"
    assert builds == [isa]
    done = run(*PYTEST, *LAWS, HERE / "test_threads.py", **here)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("isa", _backend.available())
def test_a_build_can_be_forced(isa):
    done = run("-c", "from grokflow import _backend as b; print(b.isa, b.core.__name__)", GROKFLOW_ISA=isa)
    assert done.stdout.split() == [isa, f"grokflow.{_backend.MODULES[isa]}"]


def test_the_fastest_build_is_the_default():
    assert _backend.isa == os.environ.get("GROKFLOW_ISA", _backend.available()[0])


# ---------------------------------------------------------------- builds that are not there, or cannot run


def test_a_build_that_cannot_run_is_refused():
    done = run("-c", "import grokflow", GROKFLOW_ISA="avx9")
    assert "GROKFLOW_ISA='avx9' cannot run here; choose from [" in done.stderr


CURE = "pip install --force-reinstall --no-deps --no-cache-dir ."


def test_a_module_of_another_machine_is_not_loaded(monkeypatch):
    """An environment that has moved: what is installed would die of an instruction that is not there."""
    monkeypatch.delenv("GROKFLOW_ISA", raising=False)
    monkeypatch.setattr(_backend, "built", lambda: ["avx512"])
    monkeypatch.setattr(_backend, "runnable", lambda: ["avx2", "baseline"])
    with pytest.raises(ImportError) as caught:
        _backend.choose()
    message = str(caught.value)
    assert "no compiled module that can run here" in message
    assert "Installed: avx512; this processor runs: avx2, baseline." in message
    assert message.endswith(CURE)


def test_without_any_module_the_error_says_so(monkeypatch):
    monkeypatch.delenv("GROKFLOW_ISA", raising=False)
    monkeypatch.setattr(_backend, "built", list)
    with pytest.raises(ImportError, match="Installed: none; this processor runs: "):
        _backend.choose()


@pytest.mark.parametrize("forced", ["avx512", "baseline"])
def test_a_forced_build_is_held_against_processor_and_installation(monkeypatch, forced):
    monkeypatch.setenv("GROKFLOW_ISA", forced)
    monkeypatch.setattr(_backend, "built", lambda: ["avx512", "avx2"])
    monkeypatch.setattr(_backend, "runnable", lambda: ["avx2", "baseline"])
    with pytest.raises(
        ImportError, match=rf"GROKFLOW_ISA='{forced}' cannot run here; choose from \['avx2'\]"
    ):
        _backend.choose()


def test_the_best_of_what_is_there_and_runs_is_taken(monkeypatch):
    monkeypatch.delenv("GROKFLOW_ISA", raising=False)
    monkeypatch.setattr(_backend, "built", lambda: ["avx512", "avx2", "baseline"])
    monkeypatch.setattr(_backend, "runnable", lambda: ["avx2", "baseline"])
    assert _backend.choose() == "avx2"
