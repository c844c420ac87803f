"""The integrators as methods of `scipy.integrate.solve_ivp`."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import grokflow as gf
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.sparse import csc_matrix, csr_array, diags
from scipy.sparse.linalg import LinearOperator, aslinearoperator

METHODS = ("BDF", "Radau", "Tsit5", "ROCK2")
IMPLICIT = METHODS[:2]
TOLERANCE = {"BDF": 1e-7, "Radau": 1e-7, "Tsit5": 1e-7, "ROCK2": 1e-5}


def solve(fun, span, y0, method, **options):
    return solve_ivp(fun, span, y0, method=getattr(gf.scipy, method), **options)


def swing(t, y):
    """y = exp(sin t)"""
    return np.cos(t) * y


def pulled(t, y):
    """Prothero and Robinson: y = cos t, and what starts beside it is pulled there at a rate of 200."""
    return -200.0 * (y - np.cos(t)) - np.sin(t)


def chain(n):
    """Heat on n points between walls at 0: a tridiagonal matrix, eigenvalues to -4 (n + 1)^2."""
    return diags([1.0, -2.0, 1.0], [-1, 0, 1], shape=(n, n), format="csc") * (n + 1) ** 2


def test_importing_grokflow_does_not_import_scipy():
    code = "import sys, grokflow; assert 'scipy' not in sys.modules; grokflow.scipy.BDF"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("scipy.integrate._ivp.tests") is None, reason="SciPy came without its tests"
)
def test_scipy_tests_its_own_slots(tmp_path):
    """All 58 tests of BDF and Radau, but for those that scipy_slots.py names with the reason."""
    config = tmp_path / "pytest.ini"
    config.write_text("[pytest]\n")
    plugins = ["-p", "scipy_slots", "-p", "no:xdist", "-p", "no:cacheprovider", "-c", str(config)]
    tests = ["--pyargs", "scipy.integrate._ivp.tests.test_ivp"]
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, *tests],
        env=os.environ | {"PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.mark.parametrize("span", [(0.0, 4.0), (4.0, 0.0)], ids=["forward", "backward"])
@pytest.mark.parametrize("method", METHODS)
def test_fun_may_depend_on_time(method, span):
    rtol = TOLERANCE[method]
    sol = solve(swing, span, [np.exp(np.sin(span[0]))], method, rtol=rtol, atol=rtol)
    assert sol.success
    assert (sol.t[0], sol.t[-1]) == span
    np.testing.assert_allclose(sol.y[0], np.exp(np.sin(sol.t)), rtol=20 * rtol)


@pytest.mark.parametrize("method", ["BDF", "Radau", "ROCK2"])
def test_a_curve_that_attracts_is_followed(method):
    rtol = TOLERANCE[method]
    sol = solve(pulled, (0.0, 10.0), [1.0], method, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(sol.y[0], np.cos(sol.t), rtol=0, atol=10 * rtol)


@pytest.mark.parametrize("method", ["BDF", "Radau", "ROCK2"])
def test_a_start_at_rest_does_not_hide_that_time_goes_on(method):
    """fun and df/dt vanish at t = 0, and do not tell that cos t falls by 0.12 in a first step of 1/2."""
    sol = solve(pulled, (0.0, 1.0), [1.0], method, rtol=1e-5, atol=1e-5, first_step=0.5)
    np.testing.assert_allclose(sol.y[0], np.cos(sol.t), rtol=0, atol=1e-3)


@pytest.mark.parametrize("fun", [swing, pulled])
@pytest.mark.parametrize("method", METHODS)
def test_time_costs_no_more_than_a_component_would(method, fun):
    """(y, t)' = (fun(t, y), 1) is the same system: wrong times of stages would take far more steps."""
    if fun is pulled and method == "Tsit5":
        pytest.skip("stiff")
    options = {"rtol": TOLERANCE[method], "atol": TOLERANCE[method]}
    sol = solve(fun, (0.0, 5.0), [1.2], method, **options)
    whole = solve(lambda t, z: [*fun(z[1], z[:1]), 1.0], (0.0, 5.0), [1.2, 0.0], method, **options)
    assert sol.t.size < 1.3 * whole.t.size + 5


@pytest.mark.parametrize("method", METHODS)
def test_fun_is_never_asked_beyond_the_bound(method):
    asked = []

    def fun(t, y):
        asked.append(t)
        return -y

    solve(fun, (0.3, 0.7), [1.0], method, rtol=1e-2)
    solve(fun, (0.3, 0.3 + 1e-9), [1.0], method)
    assert min(asked) == 0.3
    assert max(asked) <= 0.7
    asked.clear()
    solve(fun, (0.7, 0.3), [1.0], method)
    assert min(asked) >= 0.3
    assert max(asked) == 0.7


@pytest.mark.parametrize("method", METHODS)
def test_dense_output_meets_both_ends_of_each_step(method):
    sol = solve(pulled, (0.0, 0.5), [0.0], method, dense_output=True, rtol=1e-5)
    np.testing.assert_array_equal(sol.sol(sol.t), sol.y)
    np.testing.assert_array_equal(sol.sol.interpolants[-1](sol.t[-2]), sol.y[:, -2])
    t = np.linspace(0.1, 0.5, 101)
    np.testing.assert_allclose(sol.sol(t)[0], np.cos(t), rtol=0, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_an_infinite_bound_is_reached_by_an_event(method):
    def half(t, y):
        return y[0] - 0.5

    half.terminal = True
    sol = solve(lambda t, y: -y, (0.0, np.inf), [1.0], method, events=half, rtol=1e-6, atol=1e-9)
    assert sol.status == 1
    assert sol.t_events[0][0] == pytest.approx(np.log(2), rel=1e-4)


def jacobians(A):
    """The ways to say that df/dy is A."""
    return {
        "matrix": A.toarray(),
        "list": A.toarray().tolist(),
        "function of lists": lambda t, y: A.toarray().tolist(),
        "function": lambda t, y: A.toarray(),
        "sparse": A,
        "sparse array": lambda t, y: csr_array(A),
        "operator": aslinearoperator(A),
        "function of operators": lambda t, y: aslinearoperator(A),
        "differences": None,
    }


@pytest.mark.parametrize("kind", jacobians(chain(2)))
@pytest.mark.parametrize("method", IMPLICIT)
def test_every_kind_of_jacobian_solves_the_same_system(method, kind):
    A = chain(30)
    y0 = np.sin(np.pi * np.arange(1, 31) / 31)
    rate = -4 * 31**2 * np.sin(np.pi / 62) ** 2  # of y0, an eigenvector
    sol = solve(lambda t, y: A @ y, (0.0, 0.2), y0, method, jac=jacobians(A)[kind], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(sol.y[:, -1], np.exp(0.2 * rate) * y0, rtol=1e-4)
    assert (sol.nlu == 0) == ("operator" in kind)
    assert (sol.njev > 0) == ("function" in kind or kind in ("sparse array", "differences"))
    dense = solve(lambda t, y: A @ y, (0.0, 0.2), y0, method, jac=A.toarray(), rtol=1e-6, atol=1e-9)
    assert abs(sol.t.size - dense.t.size) < 0.2 * dense.t.size
    if "sparse" in kind:  # matrices are factored when they are by the compiled side
        assert sol.nlu == dense.nlu


@pytest.mark.parametrize("method", IMPLICIT)
def test_an_operator_is_never_made_a_matrix(method):
    """n = 20 000: n x n numbers would take 3.2 GB, and n products hours."""
    A = chain(200) * 1e-4
    A = diags([A.diagonal()[0]], [0], shape=(20_000, 20_000), format="csr")
    products = 0

    def product(v):
        nonlocal products
        products += 1
        return A @ v

    J = LinearOperator(A.shape, matvec=product, dtype=float)
    sol = solve(lambda t, y: A @ y, (0.0, 1.0), np.ones(20_000), method, jac=J, rtol=1e-4, t_eval=[1.0])
    assert sol.success
    assert products < 2000


@pytest.mark.parametrize("method", IMPLICIT)
def test_sparsity_spares_differences(method):
    A, calls = chain(60), 0

    def fun(t, y):
        nonlocal calls
        calls += 1
        return A @ y

    options = {"rtol": 1e-5, "atol": 1e-8}
    sol = solve(fun, (0.0, 0.1), np.ones(60), method, jac_sparsity=A, **options)
    assert calls - sol.nfev <= 10 * sol.njev  # three groups of columns, f, and what is taken once more
    exact = solve(fun, (0.0, 0.1), np.ones(60), method, jac=A, **options)
    np.testing.assert_allclose(sol.y[:, -1], exact.y[:, -1], rtol=1e-4)


@pytest.mark.parametrize("method", IMPLICIT)
def test_a_problem_linearises_its_own_descent(method):
    rng = np.random.default_rng(0)
    problem = gf.models.TwoLayerNetwork(rng.normal(size=(6, 2)), rng.normal(size=6), width=8)
    w0 = rng.normal(size=problem.num_params)
    options = {"rtol": 1e-6, "atol": 1e-8}
    sol = solve(lambda t, w: -problem.gradient(w), (0.0, 20.0), w0, method, jac=problem, **options)
    ours = gf.gradient_flow(problem, w0, (0.0, 20.0), weight_decay=0.0, **options)
    np.testing.assert_allclose(sol.y[:, -1], ours.final, rtol=0, atol=1e-4)
    assert sol.nlu == 0


@pytest.mark.parametrize("method", IMPLICIT)
@pytest.mark.parametrize("vectorized", [False, True])
def test_vectorized_gives_the_same(method, vectorized):
    shapes = set()

    def fun(t, y):
        shapes.add(y.ndim)
        return np.stack([y[1], -y[0] - 30 * y[1]])

    sol = solve(fun, (0.0, 3.0), [1.0, 0.0], method, vectorized=vectorized, rtol=1e-8, atol=1e-10)
    assert shapes == ({2} if vectorized else {1})
    fast, slow = -15 - np.sqrt(224), -15 + np.sqrt(224)
    exact = (fast * np.exp(slow * 3) - slow * np.exp(fast * 3)) / (fast - slow)
    assert sol.y[0, -1] == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_complex_systems_are_refused(method):
    with pytest.raises(ValueError, match="complex"):
        solve(lambda t, y: -y, (0.0, 1.0), [1.0 + 1j], method)
    with pytest.raises(ValueError, match="fun returned dtype complex128"):
        solve(lambda t, y: -1j * y, (0.0, 1.0), [1.0], method)


@pytest.mark.parametrize("method", METHODS)
def test_arguments_may_be_kept_and_written_to(method):
    kept = []

    def keeps(t, y):
        kept.append((y, y.copy()))
        return -y

    def writes(t, y):
        y *= -1
        return y

    sol = solve(keeps, (0.0, 1.0), [1.0, 2.0], method)
    assert all(np.array_equal(y, copy) for y, copy in kept)
    if method not in IMPLICIT:  # whose differences look at y once more, as SciPy's do
        np.testing.assert_array_equal(solve(writes, (0.0, 1.0), [1.0, 2.0], method).y, sol.y)


@pytest.mark.parametrize("kind", [list, tuple, lambda y: np.stack([y, y])[0], np.ndarray.tolist])
def test_what_fun_may_return(kind):
    def fun(t, y):
        return np.array([y[1], -y[0] - 30 * y[1]])

    sol = solve(fun, (0.0, 3.0), [1.0, 0.0], "BDF")
    same = solve(lambda t, y: kind(fun(t, y)), (0.0, 3.0), [1.0, 0.0], "BDF")
    np.testing.assert_array_equal(same.y, sol.y)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([1.0], r"shape \(1,\), expected shape \(2,\)"),
        ((1.0, 2.0, 3.0), r"shape \(3,\), expected shape \(2,\)"),
        ([1.0, None], "dtype object"),
        ([1.0, "2"], "dtype <U"),
        ([[1.0], [2.0]], r"shape \(2, 1\)"),
        (None, "returned None; did you forget"),
    ],
)
def test_what_fun_may_not_return(value, words):
    with pytest.raises(ValueError, match=words):
        solve(lambda t, y: value, (0.0, 1.0), [1.0, 2.0], "Tsit5")


@pytest.mark.parametrize("method", METHODS)
def test_fun_of_the_wrong_shape_is_told(method):
    with pytest.raises(ValueError, match=r"fun returned shape \(1,\), expected shape \(2,\)"):
        solve(lambda t, y: y[:1], (0.0, 1.0), [1.0, 2.0], method)


@pytest.mark.parametrize(
    "jac", [np.eye(3), csc_matrix(np.eye(3)), np.ones(2), aslinearoperator(np.eye(3)), 1.0]
)
@pytest.mark.parametrize("constant", [True, False])
def test_a_jacobian_of_the_wrong_shape_is_told(jac, constant):
    with pytest.raises(ValueError, match=r"`jac` has shape .*it must be \(2, 2\)"):
        solve(lambda t, y: -y, (0.0, 1.0), [1.0, 2.0], "BDF", jac=jac if constant else lambda t, y: jac)


@pytest.mark.parametrize("make", [csc_matrix, aslinearoperator])
def test_the_shape_of_a_jacobian_may_not_change(make):
    def jac(t, y):
        return make(-np.diag(300 * y**2) if t == 0.0 else -np.eye(3))

    with pytest.raises(ValueError, match=r"`jac` has shape \(3, 3\); it must be \(2, 2\)"):
        solve(lambda t, y: -100 * y**3, (0.0, 1.0), [1.0, 2.0], "BDF", jac=jac)


@pytest.mark.parametrize("make", [np.asarray, csc_matrix, aslinearoperator, np.ndarray.tolist])
def test_a_complex_jacobian_is_refused(make):
    with pytest.raises(ValueError, match="`jac` is complex"):
        solve(lambda t, y: -y, (0.0, 1.0), [1.0, 2.0], "BDF", jac=make(-np.eye(2) + 0j))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"first_step": np.nan}, "first_step"),
        ({"max_step": np.nan}, "max_step"),
        ({"rtol": np.nan}, "rtol"),
        ({"atol": np.inf}, "atol"),
    ],
)
def test_numbers_that_are_none_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        solve(lambda t, y: -y, (0.0, 1.0), [1.0], "BDF", **options)
    for span in ((np.inf, 0.0), (0.0, np.nan)):
        with pytest.raises(ValueError, match="time span"):
            solve(lambda t, y: -y, span, [1.0], "BDF")


@pytest.mark.parametrize("make", [np.asarray, csc_matrix, aslinearoperator])
def test_a_jacobian_of_the_wrong_sign_is_told(make):
    A = np.array([[-3.0, 1.0], [1.0, -200.0]])
    with pytest.raises(ValueError, match="wrong sign"):
        solve(lambda t, y: A @ y, (0.0, 1.0), [1.0, 2.0], "Radau", jac=make(-A))


def test_one_rtol_for_all_components():
    with pytest.raises(ValueError, match="`rtol` is"):
        solve(lambda t, y: -y, (0.0, 1.0), [1.0, 2.0], "BDF", rtol=[1e-3, 1e-4])


@pytest.mark.parametrize("method", METHODS)
def test_arguments_of_no_use_are_told(method):
    with pytest.warns(UserWarning, match="`nonsense`"):
        solve(lambda t, y: -y, (0.0, 1.0), [1.0], method, nonsense=1)
    if method not in IMPLICIT:
        with pytest.warns(UserWarning, match="`jac`"):
            solve(lambda t, y: -y, (0.0, 1.0), [1.0], method, jac=np.eye(1))


@pytest.mark.parametrize("method", METHODS)
def test_an_exception_of_fun_reaches_the_user_unchanged(method):
    error = KeyError("mine")

    def fun(t, y):
        if t > 0.5:
            raise error
        return -y

    with pytest.raises(KeyError) as caught:
        solve(fun, (0.0, 1.0), [1.0], method)
    assert caught.value is error


@pytest.mark.parametrize("method", METHODS)
def test_blow_up_fails_with_what_came_before(method):
    sol = solve(lambda t, y: y * y, (0.0, 2.0), [1.0], method)
    assert sol.status == -1
    assert "step size is less" in sol.message
    assert sol.t[-1] == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize("method", METHODS)
def test_where_fun_ends_the_run_ends(method):
    sol = solve(lambda t, y: -y if t < 0.5 else y * np.nan, (0.0, 1.0), [1.0], method)
    assert sol.status == -1
    assert "not finite at t = 0.5" in sol.message or "step size is less" in sol.message
    assert sol.t[-1] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("method", METHODS)
def test_fun_without_a_value_at_the_start_is_told(method, value):
    sol = solve(lambda t, y: y * value, (0.0, 1.0), [1.0], method)
    assert (sol.status, sol.t.size) == (-1, 1)
    assert "not finite at t = 0," in sol.message


def test_a_solution_as_scipy_names_it():
    problem = gf.models.LinearRegression([[1.0, 2.0], [3.0, -1.0]], [1.0, 2.0])

    def below(t, w):
        return w[0] - 0.1

    sol = gf.gradient_flow(problem, [0.0, 0.0], (0.0, 10.0), weight_decay=1e-2, events=below)
    theirs = sol.to_scipy()
    peer = solve_ivp(lambda t, y: -y, (0.0, 1.0), [1.0], events=lambda t, y: y[0] - 0.5)
    assert theirs.keys() == peer.keys()
    np.testing.assert_array_equal(theirs.y, sol.w.T)
    assert theirs.y.shape == (2, theirs.t.size)
    assert [a.shape for a in theirs.y_events] == [(1, 2)]
    assert (theirs.status, theirs.success, theirs.nfev) == (0, True, sol.stats["nfev"])
    failed = gf.gradient_flow(
        problem, [0.0, 0.0], (0.0, 10.0), weight_decay=1e-2, max_steps=1, save_states=False
    )
    theirs = failed.to_scipy()
    assert (theirs.status, theirs.success, theirs.y, theirs.t_events) == (-1, False, None, None)
