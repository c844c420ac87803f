"""Fixtures that several test files share: the ways to run a flow, each law on every one of them."""

import os
import signal
from dataclasses import dataclass

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers have the cores already
    os.environ["OMP_NUM_THREADS"] = "1"

import grokflow as gf
import numpy as np
import pytest
from reference import flows as reference

# A shell that starts the tests in the background lets them ignore Ctrl-C, which some of them send.
signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class Flow:
    """One way to run `gradient_flow`: the NumPy reference, or a method with a curvature.

    `limit` is the error allowed at the end, in units of rtol * scale + atol: the solvers control the error of
    a step, and a multistep method adds up more of them than a one-step method.
    """

    method: str
    curvature: str
    limit: float

    def __str__(self):
        return f"{self.method}-{self.curvature}"

    def run(self, problem, w0, t_span, *, weight_decay, rtol=1e-8, atol=1e-11, t_eval=None, **options):
        """Integrate an `oracle_problems.Loss`."""
        w0 = np.array(w0, dtype=float)
        common = {"weight_decay": weight_decay, "rtol": rtol, "atol": atol, "t_eval": t_eval, **options}
        if self.method == "reference":
            return reference.gradient_flow(problem, w0, t_span, **common)
        sol = gf.gradient_flow(
            problem.compiled(), w0, t_span, method=self.method, curvature=self.curvature, **common
        )
        assert sol.success, sol.message
        return sol

    def end(self, problem, w0, t_end, **options):
        """Return w(t_end)."""
        return self.run(problem, w0, (0, t_end), **options).final

    def check(self, w, exact, *, rtol=1e-8, atol=1e-11, scale=None):
        """Assert that w agrees with the exact values within the tolerance times `limit`."""
        exact = np.asarray(exact, dtype=float)
        scale = max(1e-300, np.max(np.abs(exact))) if scale is None else scale
        error = np.max(np.abs(np.asarray(w) - exact)) / (rtol * scale + atol)
        assert error < self.limit, f"the error is {error:.3g} times the tolerance; the limit is {self.limit}"


REFERENCE = Flow("reference", "hessian", 10)
DENSE = [Flow("BDF", "dense", 50), Flow("Radau", "dense", 10)]
GRAM = [Flow("BDF", "gram", 50), Flow("Radau", "gram", 10)]


SLOW = pytest.param(REFERENCE, marks=pytest.mark.slow)  # NumPy's steps are the same in every build


@pytest.fixture(params=[SLOW, *DENSE, *GRAM], ids=str)
def flow(request):
    """Every way to run a flow on a sum of squares."""
    return request.param


@pytest.fixture(params=[SLOW, *DENSE], ids=str)
def hessian_flow(request):
    """Every way to run a flow that needs only a Hessian."""
    return request.param


@pytest.fixture(params=[*DENSE, *GRAM], ids=str)
def compiled_flow(request):
    """Every compiled way to run a flow on a sum of squares."""
    return request.param


@pytest.fixture
def csv(tmp_path):
    """A table of 30 rows for the command line: columns a, b, c, d, and the target y."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 4))
    rows = np.column_stack([X, np.tanh(X[:, 0] - X[:, 1])])
    path = tmp_path / "table.csv"
    np.savetxt(path, rows, delimiter=",", header="a,b,c,d,y", comments="")
    return path
