"""Benchmarks of grokflow against its peers, on one thread: see README.md beside this file."""

import os

# The libraries behind NumPy read these once, when they are loaded.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
