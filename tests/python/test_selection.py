"""CI runs every test: it selects again what `pytest` alone deselects."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SLOW_FILES = {f"tests/python/test_{name}.py" for name in ("examples", "package", "selection")}


def collected(*arguments):
    """Return the names of the tests that pytest would run with these arguments."""
    command = [sys.executable, "-m", "pytest", *arguments, "--collect-only", "-q", "-n", "0"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {line for line in done.stdout.splitlines() if "::" in line}


@pytest.mark.slow
def test_ci_selects_every_test():
    (arguments,) = re.findall(r"^pytest\b(.*)$", (ROOT / ".ci" / "run").read_text(), flags=re.MULTILINE)
    everything = collected("-o", "addopts=")
    assert collected(*shlex.split(arguments)) == everything
    quick = collected()
    assert len(everything) > 2000
    assert 0.8 * len(everything) < len(quick) < len(everything)
    assert {name.split("::")[0] for name in quick} | SLOW_FILES == {
        name.split("::")[0] for name in everything
    }
