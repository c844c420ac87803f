"""The facts of tests/data/gradient_flows.json as arrays."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np

_FLOWS = json.loads((Path(__file__).parents[1] / "data" / "gradient_flows.json").read_text())["flows"]


def facts(name):
    """Return the entries of one flow as float arrays (numbers stay numbers)."""
    entries = {key: np.array(value, dtype=float) for key, value in _FLOWS[name].items() if key != "what"}
    return SimpleNamespace(**{key: a if a.ndim else float(a) for key, a in entries.items()})
