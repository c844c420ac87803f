"""The number of threads: how it is set, that it is used, and that no result depends on it."""

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import grokflow as gf
import numpy as np
import pytest
from grokflow._backend import core

THREADED = pytest.mark.skipif(not core.has_threads, reason="built without OpenMP")
rng = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def _restored():
    before = gf.get_num_threads()
    yield
    gf.set_num_threads(before)


def python(code, **environment):
    """Run `code` with these variables alone for a number of threads, and return what it prints."""
    inherited = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.strip()


# ---------------------------------------------------------------- the setting


@THREADED
def test_setting_is_kept():
    gf.set_num_threads(3)
    assert gf.get_num_threads() == 3


@pytest.mark.parametrize(
    ("n", "error", "message"),
    [
        (0, ValueError, "the number of threads is 0; it must be at least 1"),
        (-2, ValueError, "the number of threads is -2"),
        (1.5, TypeError, r"the number of threads is 1.5; it must be an integer"),
        (None, TypeError, "the number of threads is None"),
        (10**12, ValueError, "the number of threads is 1000000000000; it must be at most 65536"),
    ],
)
def test_misuse(n, error, message):
    with pytest.raises(error, match=message):
        gf.set_num_threads(n)


@THREADED
@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"GROKFLOW_NUM_THREADS": "3"}, "3"),
        ({"OMP_NUM_THREADS": "2"}, "2"),
        ({"OMP_NUM_THREADS": "2", "GROKFLOW_NUM_THREADS": "5"}, "5"),
        ({"OMP_NUM_THREADS": "2", "GROKFLOW_NUM_THREADS": ""}, "2"),
    ],
)
def test_environment(environment, expected):
    assert python("import grokflow as gf; print(gf.get_num_threads())", **environment) == expected


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_environment_that_is_no_number(text):
    with pytest.raises(RuntimeError, match=f"GROKFLOW_NUM_THREADS='{text}' is no number of threads"):
        python("import grokflow", GROKFLOW_NUM_THREADS=text)


def waiting(**environment):
    """What GNU's OpenMP has read about waiting threads, and the environment after the import."""
    code = "import os, grokflow; print('GOMP_SPINCOUNT' in os.environ)"
    inherited = {k: v for k, v in os.environ.items() if k not in {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=inherited | {"OMP_DISPLAY_ENV": "verbose"} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    if "GOMP_SPINCOUNT" not in done.stderr:
        pytest.skip("not GNU's OpenMP")
    return done.stderr, done.stdout.strip()


@THREADED
def test_waiting_threads_soon_sleep():
    """Else they take the processor from other programs; nothing is left in the environment."""
    read, left = waiting()
    assert "GOMP_SPINCOUNT = '1000'" in read
    assert left == "False"


@THREADED
def test_how_threads_wait_is_for_the_user_to_say():
    assert "GOMP_SPINCOUNT = '77'" in waiting(GOMP_SPINCOUNT="77")[0]
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in waiting(OMP_WAIT_POLICY="passive")[0]


# ---------------------------------------------------------------- the same bits


def network(n=200, outputs=(), **options):
    data = rng.normal(size=(n, 20)), rng.normal(size=(n, *outputs))
    return gf.models.MLP(*data, (300, 300), **options)


LARGE = {
    "MLP": network(),
    "MLP, outputs": network(100, (3,)),
    "TwoLayerNetwork": gf.models.TwoLayerNetwork(
        rng.normal(size=(200, 20)), rng.normal(size=200), width=3000, output_bias=True
    ),
    "MatrixSensing": gf.models.MatrixSensing(rng.normal(size=(300, 40, 40)), rng.normal(size=300), width=10),
    "MatrixSensing, wide": gf.models.MatrixSensing(
        rng.normal(size=(300, 40, 40)), rng.normal(size=300), width=40
    ),
    "DiagonalLinearNetwork": gf.models.DiagonalLinearNetwork(rng.normal(size=(400, 300)), np.ones(400)),
}


def evaluate(problem):
    draw = np.random.default_rng(0)
    w, v = 0.2 * draw.normal(size=(2, problem.num_params))
    u = draw.normal(size=problem.num_residuals)
    return [
        problem.loss(w),
        problem.gradient(w),
        problem.jvp(w, v),
        problem.vjp(w, u),
        problem.hvp(w, v),
        problem.gram(w),
    ]


@pytest.mark.parametrize("name", LARGE)
def test_functions(name):
    found = []
    for threads in (1, 2, 3):
        gf.set_num_threads(threads)
        found.append(evaluate(LARGE[name]))
    for several in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], several, strict=True))


@pytest.mark.parametrize("name", LARGE)
def test_functions_do_not_depend_on_where_their_arguments_lie(name):
    """Vectorised sums would start at another entry."""
    problem = LARGE[name]
    u = np.random.default_rng(0).normal(size=problem.num_residuals)
    w = 0.2 * np.random.default_rng(1).normal(size=problem.num_params)
    found = []
    for shift in range(4):
        there = [np.concatenate([np.zeros(shift), x])[shift:] for x in (w, u)]
        found.append([problem.gradient(there[0]), problem.jvp(w, there[0]), problem.vjp(w, there[1])])
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))


def flow(problem, seed):
    return gf.gradient_flow(
        problem, problem.initial_weights(seed=seed), (0, 10), weight_decay=1e-2, rtol=1e-3, atol=1e-6
    )


def test_flow():
    found = []
    for threads in (1, 2, 3):
        gf.set_num_threads(threads)
        found.append(flow(LARGE["MLP"], 0))
    assert found[0].success
    for sol in found[1:]:
        assert np.array_equal(sol.final, found[0].final)
        assert np.array_equal(sol["train_loss"], found[0]["train_loss"])


def test_two_flows_at_the_same_time():
    gf.set_num_threads(2)
    alone = [flow(LARGE["MLP"], seed).final for seed in (0, 1)]
    with ThreadPoolExecutor(2) as pool:
        together = [sol.final for sol in pool.map(lambda seed: flow(LARGE["MLP"], seed), (0, 1))]
    assert np.array_equal(alone, together)


# ---------------------------------------------------------------- the threads

COMPUTE = """
import os, sys
import numpy as np, grokflow as gf
problem = gf.models.MLP(np.ones((200, 2)), np.ones(200), (300, 300))
w = problem.initial_weights()
"""


@THREADED
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts the threads of a process on Linux")
def test_large_problems_use_the_threads_and_small_ones_none():
    code = (
        COMPUTE
        + """
before = len(os.listdir("/proc/self/task"))
small = gf.models.MLP(np.ones((5, 2)), np.ones(5), (10, 10))
small.gram(small.initial_weights())
between = len(os.listdir("/proc/self/task"))
problem.gradient(w)
print(between - before, len(os.listdir("/proc/self/task")) - between)
"""
    )
    assert python(code, GROKFLOW_NUM_THREADS="3", OPENBLAS_NUM_THREADS="1") == "0 2"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_child_of_a_fork_computes():
    code = (
        "import warnings; warnings.simplefilter('ignore')"
        + COMPUTE
        + """
expected = problem.gradient(w)
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(problem.gradient(w), expected) else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    )
    assert python(code, GROKFLOW_NUM_THREADS="2") == "0"


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
@pytest.mark.parametrize("limit", ["AS, 700 * 2**20", "NPROC, 1"])
def test_where_no_thread_is_to_be_had_those_that_are_do_the_work(limit):
    """OpenMP by itself ends the process."""
    program = f"""
        import os, resource
        import grokflow as gf, numpy as np
        X = np.random.default_rng(0).standard_normal((700, 700))
        problem = gf.models.LinearRegression(X, np.ones(700))
        w = np.ones(700)
        gf.set_num_threads(1)
        alone = problem.gram(w)
        if os.getuid() == 0 and {limit.startswith("NPROC")}:
            os.setuid(65534)  # root may have as many as it likes
        number = resource.RLIMIT_{limit.replace(", ", "; most = ")}
        resource.setrlimit(number, (most, most))
        gf.set_num_threads(64)
        for _ in range(3):
            assert np.array_equal(problem.gram(w), alone)
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], stderr=subprocess.PIPE, check=False, timeout=120
    )
    assert ended.returncode == 0, ended.stderr.decode()
