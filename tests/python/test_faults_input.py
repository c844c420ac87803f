"""Misuse is a ValueError or TypeError before any work: what was got, why it is wrong, how to mend it."""

import grokflow as gf
import numpy as np
import pytest

X = np.array([[1.0, 2.0, 0.5], [0.0, 1.0, -1.0]])
Y = np.array([1.0, -2.0])
W0 = np.array([0.5, -1.0, 2.0])


class Counted:
    """A linear regression that counts how often it was called."""

    def __init__(self):
        self.calls = 0
        self.problem = gf.LeastSquares(
            residual=self.count(lambda w: X @ w - Y),
            jvp=self.count(lambda w, v: X @ v),
            vjp=self.count(lambda w, u: X.T @ u),
            num_params=3,
            num_residuals=2,
        )

    def count(self, function):
        def counted(*args):
            self.calls += 1
            return function(*args)

        return counted


def run(w0=W0, t_span=(0, 10), **options):
    return gf.gradient_flow(gf.models.LinearRegression(X, Y), w0, t_span, **{"weight_decay": 0.01} | options)


def with_entry(value, index=1):
    w0 = W0.copy()
    w0[index] = value
    return w0


INF, NAN = np.inf, np.nan
MISUSE = {
    # w0
    "w0_nan": ({"w0": with_entry(NAN)}, ValueError, r"w0\[1\] is nan"),
    "w0_inf": ({"w0": with_entry(-INF, 2)}, ValueError, r"w0\[2\] is -inf"),
    "w0_empty": ({"w0": []}, ValueError, "w0 .*empty"),
    "w0_too_long": ({"w0": np.ones(4)}, ValueError, r"w0 .*\(4,\).*3"),
    "w0_2d": ({"w0": np.ones((1, 3))}, ValueError, r"w0 .*\(1, 3\)"),
    "w0_0d": ({"w0": 1.0}, ValueError, r"w0 .*\(\)"),
    "w0_complex": ({"w0": W0 + 1j}, TypeError, "w0 .*complex"),
    "w0_text": ({"w0": ["a", "b", "c"]}, TypeError, "w0"),
    "w0_object": ({"w0": np.array([1, None, 2])}, TypeError, "w0 .*object"),
    "w0_none": ({"w0": None}, TypeError, "w0"),
    "w0_ragged": ({"w0": [1, [2, 3], 4]}, (TypeError, ValueError), "w0"),
    # t_span
    "tspan_nan": ({"t_span": (0, NAN)}, ValueError, "t_span"),
    "tspan_inf": ({"t_span": (0, INF)}, ValueError, "t_span"),
    "tspan_start_inf": ({"t_span": (-INF, 0)}, ValueError, "t_span"),
    "tspan_reversed": ({"t_span": (1, 0)}, ValueError, "t_span"),
    "tspan_three": ({"t_span": (0, 1, 2)}, (TypeError, ValueError), "t_span"),
    "tspan_number": ({"t_span": 10.0}, (TypeError, ValueError), "t_span"),
    "tspan_text": ({"t_span": ("0", "1")}, TypeError, "t_span"),
    "tspan_complex": ({"t_span": (0, 1j)}, TypeError, "t_span"),
    # weight_decay
    "decay_negative": ({"weight_decay": -1e-3}, ValueError, "weight_decay.*-0.001"),
    "decay_nan": ({"weight_decay": NAN}, ValueError, "weight_decay"),
    "decay_inf": ({"weight_decay": INF}, ValueError, "weight_decay"),
    "decay_none": ({"weight_decay": None}, TypeError, "weight_decay"),
    "decay_text": ({"weight_decay": "0.1"}, TypeError, "weight_decay"),
    "decay_unknown_block": ({"weight_decay": {"bias": 0.1}}, ValueError, "bias.*w"),
    "decay_missing_block": ({"weight_decay": {}}, ValueError, "'w'"),
    "decay_block_negative": ({"weight_decay": {"w": -1.0}}, ValueError, "w.*-1"),
    # t_eval
    "teval_unsorted": ({"t_eval": [0, 2, 1]}, ValueError, "t_eval"),
    "teval_outside": ({"t_eval": [0, 11]}, ValueError, "t_eval.*11"),
    "teval_before": ({"t_eval": [-1, 5]}, ValueError, "t_eval.*-1"),
    "teval_nan": ({"t_eval": [0, NAN]}, ValueError, "t_eval"),
    "teval_2d": ({"t_eval": [[0, 1]]}, ValueError, "t_eval"),
    "teval_word": ({"t_eval": "linear"}, ValueError, "log"),
    "teval_number": ({"t_eval": 3.0}, (TypeError, ValueError), "t_eval"),
    # tolerances
    "rtol_zero": ({"rtol": 0}, ValueError, "rtol"),
    "rtol_negative": ({"rtol": -1e-6}, ValueError, "rtol.*-1e-06"),
    "rtol_nan": ({"rtol": NAN}, ValueError, "rtol"),
    "rtol_text": ({"rtol": "tight"}, TypeError, "rtol"),
    "atol_zero": ({"atol": 0}, ValueError, "atol"),
    "atol_negative": ({"atol": -1}, ValueError, "atol"),
    "atol_nan": ({"atol": NAN}, ValueError, "atol"),
    "atol_shape": ({"atol": [1e-9, 1e-9]}, (TypeError, ValueError), "atol"),
    # steps and limits
    "max_step_zero": ({"max_step": 0}, ValueError, "max_step"),
    "max_step_negative": ({"max_step": -1}, ValueError, "max_step"),
    "max_step_nan": ({"max_step": NAN}, ValueError, "max_step"),
    "first_step_zero": ({"first_step": 0}, ValueError, "first_step"),
    "first_step_negative": ({"first_step": -1e-3}, ValueError, "first_step"),
    "first_step_nan": ({"first_step": NAN}, ValueError, "first_step"),
    "first_step_beyond_the_end": ({"first_step": 11}, ValueError, "first_step"),
    "max_steps_zero": ({"max_steps": 0}, ValueError, "max_steps"),
    "max_steps_fraction": ({"max_steps": 1.5}, TypeError, "max_steps"),
    "max_time_negative": ({"max_time": -1}, ValueError, "max_time"),
    "max_time_nan": ({"max_time": NAN}, ValueError, "max_time"),
    # choices
    "method_unknown": ({"method": "RK45"}, ValueError, "RK45.*BDF.*Radau"),
    "method_number": ({"method": 5}, (TypeError, ValueError), "method"),
    "curvature_unknown": ({"curvature": "exact"}, ValueError, "exact.*dense"),
    "callback_not_callable": ({"callback": 3}, TypeError, "callback"),
    "unknown_option": ({"rtoll": 1e-3}, TypeError, "rtoll"),
}


@pytest.mark.parametrize(("options", "error", "message"), MISUSE.values(), ids=MISUSE)
def test_misuse(options, error, message):
    counted = Counted()
    arguments = {"w0": W0, "t_span": (0, 10), "weight_decay": 0.01} | options
    with pytest.raises(error, match=message):
        gf.gradient_flow(counted.problem, **arguments)
    assert counted.calls == 0


def test_weight_decay_has_no_default():
    with pytest.raises(TypeError, match="weight_decay"):
        gf.gradient_flow(gf.models.LinearRegression(X, Y), W0, (0, 1))


@pytest.mark.parametrize("problem", [None, X, lambda w: w, gf.models.LinearRegression])
def test_problem_that_is_none(problem):
    with pytest.raises(TypeError, match="problem"):
        gf.gradient_flow(problem, W0, (0, 1), weight_decay=0.1)


@pytest.mark.parametrize("order", [0, 6, 2.5, "two", None])
def test_bad_order(order):
    with pytest.raises((TypeError, ValueError), match="max_order"):
        gf.BDF(max_order=order)


def test_curvature_that_the_problem_does_not_allow():
    loss = gf.Objective(loss=lambda w: w @ w / 2, gradient=lambda w: w, num_params=3)
    for curvature in ("gram", "dense", "auto"):
        with pytest.raises((TypeError, ValueError), match=r"hvp|hessian|residual"):
            gf.gradient_flow(loss, W0, (0, 1), weight_decay=0.1, curvature=curvature)


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint16, np.float32, np.float16, bool])
def test_other_real_dtypes_are_converted(dtype):
    w0 = np.array([1, 0, 1], dtype=dtype)
    sol = run(w0)
    assert sol.w.dtype == sol.final.dtype == np.float64
    assert sol.w.tobytes() == run(w0.astype(np.float64)).w.tobytes()


def test_lists_are_converted():
    assert run(W0.tolist()).final.tolist() == run().final.tolist()


@pytest.mark.parametrize("view", [lambda a: np.repeat(a, 2)[::2], lambda a: a[::-1].copy()[::-1]])
def test_views_with_strides(view):
    assert run(view(W0)).w.tobytes() == run().w.tobytes()


def test_read_only_and_mapped_arrays(tmp_path):
    mapped = np.memmap(tmp_path / "w0.bin", dtype=float, mode="w+", shape=3)
    mapped[:] = W0
    fixed = W0.copy()
    fixed.flags.writeable = False
    for w0 in (mapped, fixed):
        assert run(w0).w.tobytes() == run().w.tobytes()
        assert w0.tolist() == W0.tolist()


def test_w0_is_copied_at_entry():
    """Changing the caller's array while the flow runs has no effect."""
    w0 = W0.copy()

    def spoil(t, w):
        w0[:] = 1e9

    assert run(w0, callback=spoil).final.tolist() == run().final.tolist()


def test_span_of_no_length():
    sol = run(t_span=(3, 3))
    assert sol.success
    assert sol.stats["nsteps"] == 0
    assert sol.final.tolist() == W0.tolist()
    assert sol.t.tolist() == [3.0]
    assert sol.w.tolist() == [W0.tolist()]


def test_duplicate_times_are_allowed():
    assert run(t_eval=[0, 5, 5, 10]).t.tolist() == [0, 5, 5, 10]


def test_tolerances_below_round_off_are_told():
    """No run can keep what double precision cannot hold: one warning, and the least that it can."""
    with pytest.warns(UserWarning, match="rtol") as caught:
        sol = run(rtol=1e-20, atol=1e-300, max_steps=20_000)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert np.isfinite(sol.final).all()


def test_subnormal_weights():
    sol = run(np.full(3, 1e-310), weight_decay=1.0)
    assert sol.success
    assert np.isfinite(sol.w).all()


def test_weights_of_all_scales():
    """1e150 and 1e-150 side by side: no overflow in a norm, or an honest status."""
    problem = gf.models.LinearRegression(np.zeros((1, 2)), np.zeros(1))
    sol = gf.gradient_flow(problem, [1e150, 1e-150], (0, 1), weight_decay=1.0)
    assert sol.success
    np.testing.assert_allclose(sol.final, np.exp(-1) * np.array([1e150, 1e-150]), rtol=1e-4)


def test_huge_weight_decay():
    sol = run(t_span=(0, 1e-7), weight_decay=1e8, rtol=1e-8, atol=1e-12)
    assert sol.success
    np.testing.assert_allclose(sol.final, np.exp(-10.0) * W0, rtol=0, atol=50e-8 * np.max(np.abs(W0)))


@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_tiny_weight_decay(method):
    """lam = 1e-16 up to t = 1e17: few steps, and no step that leaves t where it is."""
    sol = run(t_span=(0, 1e17), weight_decay=1e-16, method=method, t_eval=None)
    assert sol.success
    assert np.all(np.diff(sol.t) > 0)
    assert sol.stats["nsteps"] < 2000
    kernel = np.linalg.svd(X)[2][2]
    assert sol.final @ kernel == pytest.approx(np.exp(-10) * (W0 @ kernel), abs=50e-6)


def test_dense_matrix_that_cannot_fit():
    """d = 1e6 needs 8 TB for a Hessian: told before it is tried, with the way out."""
    d = 1_000_000
    problem = gf.models.LinearRegression(np.ones((1, d)), np.ones(1))
    with pytest.raises((MemoryError, ValueError), match=r"dense|gram"):
        gf.gradient_flow(problem, np.zeros(d), (0, 1), weight_decay=0.1, curvature="dense")
    assert gf.gradient_flow(problem, np.zeros(d), (0, 1e-9), weight_decay=0.1, t_eval=[]).success


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.ones((2, 3)), np.ones(3), r"y"),
        (np.ones((0, 3)), np.ones(0), r"X"),
        (np.ones((2, 0)), np.ones(2), r"X"),
        (np.array([[1, NAN], [0, 1]]), np.ones(2), r"X\[0, 1\] is nan"),
        (np.eye(2), np.array([1, INF]), r"y\[1\] is inf"),
        (np.ones(3), np.ones(3), r"X"),
    ],
)
def test_bad_data(X, y, message):
    for model in (gf.models.LinearRegression, gf.models.DiagonalLinearNetwork):
        with pytest.raises(ValueError, match=message):
            model(X, y)
