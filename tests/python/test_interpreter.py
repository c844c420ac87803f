"""Beside the interpreter: its collector, its exit, its sub-interpreters, its memory and its types."""

import gc
import subprocess
import sys
import textwrap
import weakref

import grokflow as gf
import numpy as np
import pytest
from dense_flow import compiled_options
from grokflow._backend import core

D = 3


def objective(gradient=lambda w: w):
    return gf.Objective(loss=lambda w: 0.5 * float(w @ w), gradient=gradient, num_params=D)


def python(code, *arguments):
    """Run a program; its status, and what it wrote to stderr."""
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


# The collector


@pytest.mark.parametrize("role", ["callback", "event", "observable", "gradient"])
def test_a_run_that_its_functions_refer_to_is_collected(role):
    class Owner:
        def gradient(self, w):
            return w

        def callback(self, t, w):
            return None

        def event(self, t, w):
            return w[0] - 0.5

    owner = Owner()
    functions = {
        "callback": {"callback": owner.callback},
        "event": {"events": [owner.event]},
        "observable": {"observe": {"mine": owner.event}},
        "gradient": {},
    }[role]
    problem = objective(owner.gradient if role == "gradient" else lambda w: w)
    owner.run = gf.Integrator(problem, np.ones(D), (0, 9), weight_decay=0.1, method="ROCK2", **functions)
    owner.run.step()
    alive = weakref.ref(owner)
    run = owner.run
    del owner, functions, problem
    gc.collect()
    run.step()  # all that it refers to is there
    assert alive() is not None
    del run
    gc.collect()
    assert alive() is None


def test_a_problem_lives_as_long_as_what_is_made_from_it():
    """Its functions are not taken for unused while only a run, a linearisation or a regularizer holds it."""

    def with_a_cycle():
        cycle = []
        problem = gf.LeastSquares(
            residual=lambda w: w - len(cycle), jacobian=lambda w: np.eye(D), num_params=D, num_residuals=D
        )
        cycle.append(problem._core)
        return problem

    problem = with_a_cycle()
    lin, trace = problem._core.linearize(np.zeros(D)), core.hessian_trace(problem._core)
    run = gf.Integrator(problem, np.zeros(D), (0, 1), weight_decay=0.1)
    del problem
    run._problem = None
    gc.collect()
    run.advance(to_end=True)
    np.testing.assert_array_equal(lin.gram(), np.eye(D))
    assert trace.evaluate(np.zeros(D))[0] == pytest.approx(1.0)


# The exit


@pytest.mark.parametrize("method", ["ROCK2", "BDF"])
def test_exit_while_daemon_threads_run(method):
    """With functions of the user's, which want the GIL, and with a model, which wants it back at the end."""
    code = """
        import sys, threading, time
        import numpy as np, grokflow as gf
        mine = gf.Objective(loss=lambda w: 0.5 * float(w @ w), gradient=lambda w: w.copy(),
                            hvp=lambda w, v: v, num_params=3)
        model = gf.models.LinearRegression(np.eye(3), np.ones(3))
        begun = threading.Barrier(5)
        def work(problem):
            flow = dict(weight_decay=0.1, method=sys.argv[1], callback=lambda t, w: None)
            gf.gradient_flow(problem, np.ones(3), (0, 1), **flow)
            begun.wait()
            while True:
                gf.gradient_flow(problem, np.ones(3), (0, 1e3), **flow)
        for problem in (mine, mine, model, model):
            threading.Thread(target=work, args=(problem,), daemon=True).start()
        begun.wait()
        time.sleep(0.05)
    """
    for _ in range(3):
        assert python(code, method) == (0, "")


def test_exit_while_a_daemon_thread_computes():
    """The interpreter is gone when the thread comes back."""
    code = """
        import threading, time
        import numpy as np, grokflow as gf
        problem = gf.models.MLP(np.ones((300, 20)), np.ones(300), widths=(200, 200))
        w = problem.initial_weights(seed=0)
        threading.Thread(target=lambda: [problem.gram(w) for _ in range(1000)], daemon=True).start()
        time.sleep(0.05)
    """
    assert python(code) == (0, "")


# Sub-interpreters


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="the module has another name")
def test_a_sub_interpreter_is_refused():
    code = """
        import sys, _xxsubinterpreters as interpreters
        program = f"import sys; sys.path[:] = {sys.path!r}; import grokflow"
        try:
            interpreters.run_string(interpreters.create(), program)
        except interpreters.RunFailedError as error:
            sys.exit(0 if "cannot be imported in a sub-interpreter" in str(error) else repr(error))
        sys.exit("imported")
    """
    status, errors = python(code)
    assert status == 0, errors


# Memory


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs RLIMIT_AS")
@pytest.mark.parametrize(
    ("t_eval", "word"), [("np.linspace(0, 10, 1024)", "finished"), ("None", "interrupted")]
)
def test_states_that_do_not_fit(t_eval, word):
    """A run whose states do not fit, once or twice, is a MemoryError with all the rest."""
    code = f"""
        import resource, sys
        import numpy as np, grokflow as gf
        d = 20_000
        gf.set_num_threads(1)
        problem = gf.models.LinearRegression(np.ones((1, d)), [1.0])
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 280 * 2**20,) * 2)
        try:
            gf.gradient_flow(problem, np.ones(d), (0, 10), weight_decay=0.1, save_states=True,
                             t_eval={t_eval}, max_step=2e-3)
        except MemoryError as error:
            sol = error.solution
            print(sol.status, sol.w is None, len(sol.t) == len(sol["train_loss"]) > 100, file=sys.stderr)
    """
    status, errors = python(code)
    assert (status, errors.split()) == (0, [word, "True", "True"]), errors


# Types


def flow_arguments(**changes):
    problem = gf.models.LinearRegression(np.eye(D), np.ones(D))._core
    given = {"problem": problem, "w0": np.ones(D), "decay": [(0, D, 0.1)], "curvature": "auto"}
    return given | {"memory_budget": 1e9, "rank": 200, "options": compiled_options()} | changes


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("problem", None),
        ("problem", 1.0),
        ("w0", "ones"),
        ("w0", None),
        ("decay", 0.1),
        ("curvature", 3),
        ("memory_budget", "1e9"),
        ("rank", 2**63),
        ("rank", -(2**70)),
        ("rank", 2.5),
        ("options", None),
        ("options", {}),
    ],
)
def test_a_wrong_type_of_the_compiled_flow_is_a_type_error(name, value):
    core.gradient_flow(**flow_arguments())
    with pytest.raises(TypeError):
        core.gradient_flow(**flow_arguments(**{name: value}))


def test_a_rank_beyond_what_the_core_counts_is_misuse():
    problem = gf.models.LinearRegression(np.eye(D), np.ones(D))
    for solve in (
        lambda curvature: gf.gradient_flow(
            problem, np.ones(D), (0, 1), weight_decay=0.1, curvature=curvature
        ),
        lambda curvature: gf.limit_map(problem, np.ones(D), curvature=curvature),
    ):
        with pytest.raises((TypeError, ValueError)):
            solve(gf.Krylov(rank=2**63))
