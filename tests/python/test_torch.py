"""Beside PyTorch, which brings an OpenMP runtime too: one serves both, whichever is imported first."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from grokflow._backend import core

pytestmark = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")

# The two take turns. It prints the bits of a gradient, how many threads that started, the runtimes in memory.
CODE = """
import hashlib, json, os, sys
for name in sys.argv[1:]:
    __import__(name)
import grokflow as gf, numpy as np
rng = np.random.default_rng(0)
problem = gf.models.MLP(rng.normal(size=(200, 20)), rng.normal(size=200), (300, 300))
w = problem.initial_weights(seed=0)
count = lambda: len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0
gf.set_num_threads(2)
before, gradient = count(), problem.gradient(w)
after = count()
if "torch" in sys.modules:
    import torch
    torch.set_num_threads(2)
    ones = torch.ones(600, 600)
    for _ in range(5):
        assert float((ones @ ones).mean()) == 600.0
        assert np.array_equal(problem.gradient(w), gradient)
maps = open("/proc/self/maps").read().split() if os.path.exists("/proc/self/maps") else []
runtimes = sorted({part for part in maps if "libgomp" in part})
print(json.dumps([hashlib.sha256(gradient.tobytes()).hexdigest(), after - before, runtimes]))
"""


def beside(*modules):
    done = subprocess.run(
        [sys.executable, "-c", CODE, *modules], capture_output=True, text=True, timeout=300, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("order", [("torch", "grokflow"), ("grokflow", "torch")], ids=" then ".join)
def test_one_runtime_serves_both(order):
    bits, threads, runtimes = beside(*order)
    alone, new, _ = beside("grokflow")
    assert bits == alone
    assert threads == new
    if core.has_threads and Path("/proc/self/maps").exists():
        assert new == 1
        assert len(runtimes) == 1, runtimes
