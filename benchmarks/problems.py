"""All problems of the benchmark, by name."""

from __future__ import annotations

from benchmarks.matrix import Matrix
from benchmarks.models import Diagonal, Linear
from benchmarks.network import Network
from benchmarks.tanh import Tanh

#: name -> (class, sizes, weight decay, end of time)
CASES = {
    "linear": (Linear, {"n": 50, "d": 200}, 1e-3, 1e5),
    "diagonal": (Diagonal, {"n": 40, "features": 100}, 1e-4, 1e6),
    "matrix-w10": (Matrix, {"size": 20, "width": 10}, 1e-3, 1e5),
    "matrix-w40": (Matrix, {"size": 20, "width": 40}, 1e-3, 1e5),
    "tanh-w50": (Tanh, {"n": 40, "inputs": 10, "width": 50}, 1e-4, 1e6),
    "tanh-w200": (Tanh, {"n": 40, "inputs": 10, "width": 200}, 1e-4, 1e6),
    "tanh-w4000": (Tanh, {"n": 40, "inputs": 10, "width": 4000}, 1e-4, 1e6),
    "tanh-n200": (Tanh, {"n": 200, "inputs": 20, "width": 1000}, 1e-4, 1e5),
}

#: Deep networks, for which all solvers take grokflow's derivatives.
NETWORKS = {
    "mlp-n200": (Network, {"n": 200, "d": 10**4}, 1e-4, 1e5),
    "mlp-n1000": (Network, {"n": 1000, "d": 2 * 10**4}, 1e-4, 1e5),
}


def make(name, weight_decay=None):
    """The problem of that name; with another weight decay, t_end moves so that lam * t_end stays."""
    kind, sizes, lam, t_end = (CASES | NETWORKS)[name]
    if weight_decay is not None:
        t_end, lam = t_end * lam / weight_decay, weight_decay
    return kind(name, **sizes, weight_decay=lam, t_end=t_end)
