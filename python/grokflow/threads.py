"""How many threads the library computes with."""

from __future__ import annotations

import os

from grokflow._backend import core
from grokflow._validate import as_count

VARIABLE = "GROKFLOW_NUM_THREADS"
LIMIT = 2**16


def set_num_threads(n: int) -> None:
    """Set how many threads large computations use, from now on, in the whole process.

    Matrix products, tangent kernels and factorisations are cut into tiles that depend on their sizes alone,
    so that results are the same to the last bit at any number of threads. Small problems use one in any case.

    The default is the environment variable ``GROKFLOW_NUM_THREADS``, else ``OMP_NUM_THREADS``, else the
    number of processors that the process may use. Only grokflow follows this setting, and its threads work
    only inside a call of grokflow: NumPy's BLAS and PyTorch keep their own numbers and pools, which are idle
    meanwhile unless a function of yours calls them. Programs that run many flows at a time, in threads or
    processes, do best with one thread each. In the child of a fork, and in a build without OpenMP, there is
    one.

    Parameters
    ----------
    n : int
        At least 1.

    Raises
    ------
    TypeError
        If `n` is no integer.
    ValueError
        If `n` is below 1, or above 65536.
    """
    core.set_num_threads(as_count("the number of threads", n, LIMIT))


def get_num_threads() -> int:
    """Return how many threads large computations use; see :func:`set_num_threads`."""
    return core.num_threads()


def check_environment() -> None:
    """Raise ImportError if the environment asks for a number of threads that is none."""
    text = os.environ.get(VARIABLE)
    if text and not (text.isascii() and text.isdecimal() and 1 <= int(text) <= LIMIT):
        raise ImportError(f"{VARIABLE}={text!r} is no number of threads; it must be an integer of at least 1")
