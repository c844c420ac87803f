"""The Python in the README runs, block after block, as a reader would type it."""

import importlib.util
import re
from pathlib import Path

import matplotlib as mpl

README = Path(__file__).parents[2] / "README.md"


def test_python_blocks_of_the_readme(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 9
    names = {}
    for block in blocks:
        if "import torch" in block and importlib.util.find_spec("torch") is None:
            continue
        exec(compile(block, str(README), "exec"), names)
    assert names["sol"].success
    assert names["phases"].success
    for name in ("flow.png", "limit.png"):
        assert (tmp_path / name).stat().st_size > 10_000
    assert "finished" in capsys.readouterr().out
