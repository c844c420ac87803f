"""The memory limit: what it is by default, and that it is looked at before anything is made."""

import os
import subprocess
import sys
import textwrap

import grokflow as gf
import numpy as np
import pytest
from grokflow import memory

MIB = 2**20
X = np.ones((3, 2))
WIDE = gf.models.LinearRegression(np.ones((3, 50_000)), np.ones(3))
TALL = gf.models.LinearRegression(np.ones((5000, 2)), np.ones(5000))
ENTRIES = ([0, 1], [0, 1], [1.0, 2.0])


@pytest.fixture
def limit():
    """Sets a limit for one test."""
    yield gf.set_memory_limit
    gf.set_memory_limit(None)


def test_the_default_is_a_share_of_what_there_is(limit):
    default = gf.get_memory_limit()
    assert 2**28 < default < np.inf
    limit(5e9)
    assert gf.get_memory_limit() == 5e9
    limit(None)
    assert gf.get_memory_limit() == default


@pytest.mark.parametrize(
    ("groups", "files", "expected"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": "3000", "memory.max": "9000"}, [3000, 9000]),
        ("0::/\n", {"memory.max": "4096"}, [4096]),
        ("5:cpu:/x\n4:memory:/x\n0::/\n", {"memory/x/memory.limit_in_bytes": "77"}, [77]),
        ("4:cpu,memory:/not/seen/here\n", {"memory/memory.limit_in_bytes": "88"}, [88]),
        ("0::/a\n", {}, []),
        ("0::/../..\n", {"memory.max": "4096"}, [4096]),
    ],
)
def test_limits_of_containers(tmp_path, groups, files, expected):
    """Both versions of control groups; a limit of any group above counts as well."""
    root, own = tmp_path / "cgroup", tmp_path / "own"
    own.write_text(groups)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    assert sorted(memory._container(root, own)) == sorted(expected)
    assert memory._container(root, tmp_path / "nothing") == ()


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
def test_a_limit_of_the_process_counts():
    program = """
        import resource
        import grokflow as gf
        resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 4 * 2**30))
        assert gf.get_memory_limit() == 0.8 * 3 * 2**30
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False).returncode == 0


REFUSED = {
    "two layers": lambda: gf.models.TwoLayerNetwork(X, np.ones(3), width=20_000),
    "mlp": lambda: gf.models.MLP(X, np.ones(3), (300, 300)),
    "matrix completion": lambda: gf.models.MatrixCompletion(*ENTRIES, shape=(5000, 5000), width=10),
    "overflow": lambda: gf.models.MatrixCompletion(*ENTRIES, shape=(2**62, 2**62), width=2),
    "matrix sensing": lambda: gf.models.MatrixSensing(np.ones((1, 100, 100)), [1.0], width=1000),
    "prediction": lambda: gf.models.MatrixCompletion(*ENTRIES, shape=(5000, 5000), width=1).predict(
        np.ones(10_000)
    ),
    "Jacobian": lambda: WIDE.jacobian(np.ones(50_000)),
    "Hessian": lambda: WIDE.hessian(np.ones(50_000)),
    "kernel": lambda: TALL.gram(np.ones(2)),
    "flow": lambda: gf.gradient_flow(WIDE, np.ones(50_000), (0, 1), weight_decay=0.1),
    "states": lambda: gf.gradient_flow(
        TALL, [1.0, 1.0], (0, 1), weight_decay=0.1, t_eval=np.linspace(0, 1, 100_000), save_states=True
    ),
    "curvature": lambda: gf.gradient_flow(TALL, [1.0, 1.0], (0, 1), weight_decay=0.1, curvature="gram"),
    "landing": lambda: gf.limit_map(WIDE, np.ones(50_000)),
    "both phases": lambda: gf.two_phase(WIDE, np.ones(50_000), [0.1]),
    "own loss": lambda: gf.Objective(loss=np.sum, gradient=np.ones_like, num_params=10**6),
    "own residual": lambda: gf.LeastSquares(residual=abs, jacobian=abs, num_params=2, num_residuals=10**6),
    "no such size": lambda: gf.Objective(loss=np.sum, gradient=np.ones_like, num_params=2**70),
    "modular addition": lambda: gf.modular_addition(97),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_what_exceeds_the_limit_is_refused(limit, call):
    """As MemoryError, and as ValueError, for it is an argument that is too large."""
    limit(MIB)
    with pytest.raises((MemoryError, ValueError), match="GiB") as refused:
        call()
    assert isinstance(refused.value, ValueError)


def test_what_fits_is_not_refused(limit):
    limit(MIB)
    problem = gf.models.LinearRegression(X, np.ones(3))
    assert gf.two_phase(problem, np.ones(2), [1e-2, 1e-3]).success


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("2 GiB", TypeError, "limit is '2 GiB'"),
        (0, ValueError, "limit is 0"),
        (np.nan, ValueError, "limit is nan"),
    ],
)
def test_bad_limits(value, error, message):
    with pytest.raises(error, match=message):
        gf.set_memory_limit(value)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_where_the_core_gets_no_memory_it_is_a_memory_error():
    """What no limit foresees: the process has all but used up its address space."""
    program = """
        import re, resource
        import grokflow as gf, numpy as np
        d = 1500
        problem = gf.models.LinearRegression(np.random.default_rng(0).standard_normal((d, d)), np.ones(d))
        w = np.ones(d)
        gf.set_num_threads(1)
        gf.set_memory_limit(1e12)
        with open("/proc/self/status") as status:
            used = 1024 * int(re.search(r"VmSize:\\s+(\\d+)", status.read())[1])
        resource.setrlimit(resource.RLIMIT_AS, (used + 8 * 2**20,) * 2)
        for call in (
            lambda: problem.gram(w),
            lambda: problem.jacobian(w),
            lambda: problem.hessian(w),
            lambda: gf.gradient_flow(problem, w, (0, 10), weight_decay=0.1),
            lambda: gf.limit_map(problem, w),
            lambda: gf.two_phase(problem, w, [0.1]),
            lambda: gf.tangent_projection(problem, w, w),
        ):
            try:
                call()
            except MemoryError:
                continue
            raise AssertionError("there was memory")
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], stderr=subprocess.PIPE, check=False, timeout=120
    )
    assert ended.returncode == 0, ended.stderr.decode()


def test_states_are_kept_where_they_may_be(limit):
    """The default is no reason to refuse a flow that fits."""
    limit(2e7)
    sol = gf.gradient_flow(WIDE, np.ones(50_000), (0, 1), weight_decay=0.1)
    assert sol.success
    assert sol.w is None
    with pytest.raises(MemoryError, match="save_states keeps"):
        gf.gradient_flow(WIDE, np.ones(50_000), (0, 1), weight_decay=0.1, save_states=True)
