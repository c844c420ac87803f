"""Every example runs at small size and leaves the files that it promises."""

import os
import subprocess
import sys
from pathlib import Path

import grokflow
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")
FRAMEWORKS = ("torch", "jax")  # which an example needs if its name begins so
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, tmp_path):
    for framework in FRAMEWORKS:
        if path.stem.startswith(framework):
            pytest.importorskip(framework)
    done = subprocess.run(
        [sys.executable, path, "--small"],
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": str(Path(grokflow.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert list(tmp_path.rglob("*.png"))
