"""Memory is flat over many solves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="the memory of a process in Linux")
@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_many_solves_keep_no_memory(count):
    program = [sys.executable, Path(__file__).with_name("leaks.py"), str(count)]
    one_thread = os.environ | {"GROKFLOW_NUM_THREADS": "1"}
    done = subprocess.run(program, capture_output=True, text=True, env=one_thread, check=False, timeout=600)
    assert done.stderr == ""
    assert int(done.stdout) < 2**20
