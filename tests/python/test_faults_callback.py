"""Faults of a user's own functions: told with the function's name, or a status and the trajectory so far."""

import threading
import time

import grokflow as gf
import numpy as np
import pytest

W0 = np.array([1.0, 2.0])
METHODS = pytest.mark.parametrize("method", ["BDF", "Radau"])


def objective(gradient=lambda w: w, hessian=lambda w: np.eye(2), **options):
    """F = ||w||^2 / 2 with one function replaced."""
    return gf.Objective(loss=lambda w: w @ w / 2, gradient=gradient, hessian=hessian, num_params=2, **options)


def least_squares(**replaced):
    """r = w with one function replaced."""
    functions = {"residual": lambda w: w.copy(), "jvp": lambda w, v: v.copy(), "vjp": lambda w, u: u.copy()}
    return gf.LeastSquares(**functions | replaced, num_params=2, num_residuals=2, scale="sum")


def run(problem, t_end=1.0, **options):
    options = {"weight_decay": 0.0, "observe": {}} | options
    return gf.gradient_flow(problem, W0, (0, t_end), **options)


def after(calls, late, early=lambda w: w):
    """Return `early` for that many calls, then `late`."""
    count = iter(range(10**9))
    return lambda w: (early if next(count) < calls else late)(w)


WRONG = {
    "longer": lambda w: np.ones(3),
    "one_that_would_broadcast": lambda w: np.ones(1),
    "scalar": lambda w: 1.0,
    "column": lambda w: np.ones((2, 1)),
    "none": lambda w: None,
    "text": lambda w: ["a", "b"],
    "complex": lambda w: w + 0j,
    "object": lambda w: np.array([1, None]),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("calls", [0, 9], ids=["at_once", "midway"])
def test_gradient_of_wrong_kind(wrong, calls):
    with pytest.raises((TypeError, ValueError), match="gradient"):
        run(objective(after(calls, wrong)))


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_residual_of_wrong_kind(wrong):
    with pytest.raises((TypeError, ValueError), match="residual"):
        run(least_squares(residual=wrong))


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("name", ["jvp", "vjp"])
def test_product_of_wrong_kind(name, wrong):
    with pytest.raises((TypeError, ValueError), match=name):
        run(least_squares(**{name: lambda w, v: wrong(w)}), curvature="gram")


HESSIANS = {
    "larger": lambda w: np.eye(3),
    "flat": lambda w: np.ones(2),
    "none": lambda w: None,
    "complex": lambda w: np.eye(2) + 0j,
}


@pytest.mark.parametrize("wrong", HESSIANS.values(), ids=HESSIANS)
def test_hessian_of_wrong_kind(wrong):
    with pytest.raises((TypeError, ValueError), match="hessian"):
        run(objective(hessian=wrong))


def test_unsymmetric_hessian():
    """A factorisation reads one triangle and would hide it."""
    with pytest.raises(ValueError, match="symmetric"):
        run(objective(hessian=lambda w: np.array([[1.0, 0.5], [0.0, 1.0]])))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@METHODS
def test_not_finite_from_the_start(method, value):
    """A flow that cannot start is misuse of w0 or of the data."""
    for problem in (
        objective(lambda w: np.array([0.0, value])),
        least_squares(residual=lambda w: np.array([0.0, value])),
    ):
        with pytest.raises(ValueError, match=r"gradient at t = 0 .*index 1"):
            run(problem, method=method)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@METHODS
def test_not_finite_beyond_a_point(method, value):
    """w1 = exp(-t) reaches 1/2 at t = log 2; beyond, the gradient is not finite."""
    sol = run(objective(lambda w: w if w[0] > 0.5 else np.full(2, value)), method=method)
    assert sol.status == "non_finite"
    assert 0.5 < sol.t_final <= np.log(2) * (1 + 1e-4)
    assert np.isfinite(sol.w).all()
    assert np.isfinite(sol.final).all()
    assert sol.t[-1] == sol.t_final
    assert sol.stats["nfev"] < 3000
    assert sol.stats["nnonfinite"] > 0


def test_one_step_is_attempted_sixty_times():
    """However small, it leaves w0, the one point where the gradient is finite."""
    problem = gf.Objective(
        loss=lambda w: 0.0, gradient=lambda w: [np.nan if w[0] else 1.0], hvp=lambda w, v: v, num_params=1
    )
    sol = gf.gradient_flow(problem, [0.0], (0, 1), weight_decay=0.0)
    assert sol.status == "non_finite"
    assert sol.t_final == 0.0
    assert sol.stats["nnonfinite"] == 60


@METHODS
def test_one_single_nan(method):
    """A flaky evaluation costs one rejected step."""
    once = iter([False] * 20 + [True])
    sol = run(objective(lambda w: np.full(2, np.nan) if next(once, False) else w), method=method)
    assert sol.success
    assert sol.stats["nnonfinite"] == 1
    np.testing.assert_allclose(sol.final, np.exp(-1) * W0, rtol=1e-4)


@METHODS
def test_nan_in_the_hessian(method):
    sol = run(objective(hessian=lambda w: np.full((2, 2), np.nan)), method=method)
    assert not sol.success
    assert sol.status in ("non_finite", "solver_failed")
    assert np.isfinite(sol.final).all()


def test_nan_in_a_jvp():
    sol = run(least_squares(jvp=lambda w, v: v * np.nan), curvature="gram")
    assert not sol.success
    assert np.isfinite(sol.final).all()


@pytest.mark.parametrize("error", [ZeroDivisionError("mine"), KeyboardInterrupt("mine"), SystemExit(3)])
@pytest.mark.parametrize("calls", [0, 15])
@METHODS
def test_exception_reaches_the_user_unchanged(method, calls, error):
    def explode(w):
        raise error

    with pytest.raises(type(error)) as caught:
        run(objective(after(calls, explode)), method=method)
    assert caught.value is error
    assert caught.traceback[-1].name == "explode"
    if calls:
        sol = caught.value.solution
        assert sol.status == "interrupted"
        assert not sol.success
        assert 0 <= sol.t_final < 1
        assert np.isfinite(sol.w).all()
        np.testing.assert_allclose(sol.final, np.exp(-sol.t_final) * W0, rtol=1e-3)


@pytest.mark.parametrize("where", ["hessian", "observable", "callback"])
def test_exception_elsewhere(where):
    error = OSError("mine")

    def explode(*args):
        if where == "hessian" or args[0] > 0.1:
            raise error
        return None if where == "callback" else 0.0

    options = {"hessian": {}, "observable": {"observe": {"a": explode}}, "callback": {"callback": explode}}[
        where
    ]
    with pytest.raises(OSError, match="mine") as caught:
        run(objective(hessian=explode) if where == "hessian" else objective(), **options)
    assert caught.value is error


def test_same_problem_after_an_exception():
    """The next run is as if nothing had happened."""
    fail = [True]

    def gradient(w):
        if fail and w[0] < 0.7:
            fail.clear()
            raise RuntimeError("once")
        return w

    problem = objective(gradient)
    with pytest.raises(RuntimeError, match="once"):
        run(problem)
    assert run(problem).w.tobytes() == run(objective()).w.tobytes()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda g: np.repeat(g, 2)[::2],
        lambda g: g[::-1].copy()[::-1],
        lambda g: np.asfortranarray(g),
        lambda g: tuple(g),
        lambda g: np.array(g, dtype=np.longdouble).astype(float),
    ],
    ids=["strided", "reversed", "fortran", "tuple", "copied"],
)
def test_memory_layout_changes_no_bit(wrap):
    assert run(objective(lambda w: wrap(w * 1.0))).w.tobytes() == run(objective()).w.tobytes()


def test_float32_gradient_is_converted():
    with pytest.warns(UserWarning, match="float32"):
        sol = run(objective(lambda w: w.astype(np.float32)), rtol=1e-4, atol=1e-6)
    assert sol.success
    np.testing.assert_allclose(sol.final, np.exp(-1) * W0, rtol=1e-3)


def test_one_buffer_returned_again_and_again():
    buffer = np.empty(2)

    def gradient(w):
        buffer[:] = w
        return buffer

    assert run(objective(gradient)).w.tobytes() == run(objective()).w.tobytes()


def test_argument_cannot_be_written():
    def gradient(w):
        w[0] = 0.0
        return w

    with pytest.raises(ValueError, match="read-only"):
        run(objective(gradient))


def test_argument_that_is_kept():
    """Whoever keeps w keeps what it was, or copies: the documented rule is one of the two for all calls."""
    kept, copies = [], []

    def callback(t, w):
        kept.append(w)
        copies.append(np.array(w))

    run(objective(), callback=callback)
    assert [a.tolist() for a in kept] == [a.tolist() for a in copies]


@METHODS
@pytest.mark.filterwarnings("ignore::grokflow.PrecisionWarning")
def test_noise_ends_in_bounded_work(method):
    """A gradient that is not deterministic: the run gives up with a status, or makes what progress it can."""
    noise = np.random.default_rng(0)
    problem = objective(lambda w: w + 1e-2 * noise.standard_normal(2))
    sol = run(problem, method=method, rtol=1e-9, atol=1e-12, max_steps=3000)
    assert sol.status in ("finished", "error_test_failed", "solver_failed", "step_too_small", "max_steps")
    assert "noise" in sol.message
    assert np.isfinite(sol.final).all()
    assert sol.stats["nfev"] < 100_000


def test_rotation_is_no_gradient():
    """A field that is no gradient is integrated as it is given; check_problem finds out."""
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    problem = objective(lambda w: turn @ w, hessian=None, hvp=lambda w, v: turn @ v)
    with pytest.raises(ValueError, match=r"symmetr|gradient|loss"):
        gf.check_problem(problem, W0).raise_if_failed()


@METHODS
def test_hessian_of_wrong_sign_costs_time_but_not_accuracy(method):
    sol = run(objective(hessian=lambda w: -np.eye(2)), method=method, rtol=1e-6, atol=1e-9)
    assert not sol.success or np.allclose(sol.final, np.exp(-1) * W0, rtol=1e-4)


def test_solver_inside_a_callback():
    inner = []

    def gradient(w):
        if len(inner) < 3:
            inner.append(run(objective(), t_end=0.5).final)
        return w

    outer = run(objective(gradient))
    assert outer.w.tobytes() == run(objective()).w.tobytes()
    assert all(w.tobytes() == run(objective(), t_end=0.5).final.tobytes() for w in inner)


def test_slow_callback_and_max_time():
    def gradient(w):
        time.sleep(0.01)
        return w

    began = time.perf_counter()
    sol = run(objective(gradient), t_end=1e6, max_time=0.1)
    assert time.perf_counter() - began < 1.0
    assert sol.status == "time_limit"
    assert sol.t.size > 0
    assert np.isfinite(sol.final).all()


def test_callback_in_another_thread():
    """A run outside the main thread calls back into Python as well."""
    results = []
    thread = threading.Thread(target=lambda: results.append(run(objective()).final))
    thread.start()
    thread.join(timeout=20)
    assert results[0].tolist() == run(objective()).final.tolist()


class Tensor:
    """What torch does where a gradient is wanted, and CuPy for an array on a device."""

    def detach(self):
        return self

    def __array__(self, *args, **kwargs):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


TENSORS = {
    "gradient": lambda: run(objective(gradient=lambda w: Tensor())),
    "hessian": lambda: run(objective(hessian=lambda w: Tensor())),
    "residual": lambda: run(least_squares(residual=lambda w: Tensor())),
    "observable 'a'": lambda: run(objective(), observe={"a": lambda t, w: Tensor()}),
}


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_that_is_no_array_is_told_with_the_way_out(name):
    with pytest.raises(
        gf.CallbackError, match=rf"{name} returned a Tensor, .*detach\(\)\.cpu\(\)\.numpy\(\)"
    ):
        TENSORS[name]()


def test_a_tensor_as_an_argument():
    with pytest.raises(TypeError, match="w0 is a Tensor, which is no array: Can't call numpy"):
        gf.gradient_flow(objective(), Tensor(), (0, 1), weight_decay=0.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda w: None, "None; did you forget"),
        (lambda w: "text", "dtype <U4"),
        (lambda w: 1j, "dtype complex128"),
        (lambda w: np.eye(2), r"shape \(2, 2\)"),
        (lambda w: [1, None], "dtype object"),
        (lambda w: {}, "dtype object"),
    ],
)
@pytest.mark.parametrize("calls", [0, 5], ids=["at_once", "midway"])
def test_observable_of_wrong_kind(wrong, message, calls):
    """None is no nan."""
    function = after(calls, wrong, lambda w: 1.0)
    with pytest.raises(gf.CallbackError, match=f"^observable 'a' returned .*{message}") as caught:
        run(objective(), observe={"a": lambda t, w: function(w)})
    assert (caught.value.t is None) == (calls == 0)


def test_observables_may_be_whatever_converts():
    sol = run(
        objective(),
        observe={"list": lambda t, w: [1, 2.5], "int": lambda t, w: 3, "bool": lambda t, w: t > 0.5},
    )
    assert sol["list"].shape == (len(sol.t), 2)
    assert (sol["int"] == 3).all()
    assert sol["bool"][0] == 0 < sol["bool"][-1] == 1


def test_weight_decay_that_overflows_at_the_start():
    with pytest.raises(ValueError, match=r"overflows at t = 0, index 0, where w0 is 1e\+300"):
        gf.gradient_flow(objective(lambda w: w * 0), [1e300, 1.0], (0, 1), weight_decay=1e10)
