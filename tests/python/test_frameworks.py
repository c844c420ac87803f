"""PyTorch and JAX are optional: nothing imports them that was not asked to."""

import subprocess
import sys

import pytest


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_neither_is_imported_before_it_is_asked_for():
    done = run("import sys, grokflow, grokflow.frameworks; print({'torch', 'jax'} & set(sys.modules))")
    assert done.stdout.strip() == "set()", done.stderr


@pytest.mark.parametrize(
    ("package", "name", "call"),
    [
        ("torch", "PyTorch", "gf.from_torch(None, [[1.0]], [1.0])"),
        ("jax", "JAX", "gf.from_jax(None, {}, [[1.0]], [1.0])"),
    ],
)
def test_what_is_missing_is_told(package, name, call):
    done = run(f"import sys, grokflow as gf; sys.modules[{package!r}] = None; {call}")
    assert f'ImportError: from_{package} needs {name}: pip install "grokflow[{package}]"' in done.stderr
