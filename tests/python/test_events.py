"""Events: zeros of g(t, w) along the trajectory, with SciPy's attributes `terminal` and `direction`."""

import grokflow as gf
import numpy as np
import oracle_problems as op
import pytest

# F = (w1^2 + 4 w2^2) / 2 from (1, 1) without decay: w = (exp(-t), exp(-4 t)).
PROBLEM = op.linear_regression(np.diag([1.0, 2.0]), np.zeros(2))


def level(value, index=0, *, terminal=None, direction=None):
    """Return the event w[index] = value."""

    def event(t, w):
        return w[index] - value

    if terminal is not None:
        event.terminal = terminal
    if direction is not None:
        event.direction = direction
    return event


def run(events, t_end=5.0, *, method="BDF", rtol=1e-9, atol=1e-12, **options):
    options = {"weight_decay": 0.0, "method": method, "rtol": rtol, "atol": atol, "events": events} | options
    return gf.gradient_flow(PROBLEM.compiled(), np.ones(2), (0, t_end), **options)


def test_location(flow):
    """Located on the dense output to the accuracy of the solution itself."""
    levels = np.array([0.9, 0.5, 0.1])
    sol = flow.run(
        PROBLEM,
        np.ones(2),
        (0, 5),
        weight_decay=0.0,
        rtol=1e-9,
        atol=1e-12,
        events=[level(v) for v in levels],
    )
    assert [len(t) for t in sol.t_events] == [1, 1, 1]
    flow.check([t[0] for t in sol.t_events], -np.log(levels), rtol=1e-9, atol=1e-9)
    flow.check([w[0] for w in sol.w_events], [[v, v**4] for v in levels], rtol=1e-9)


@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_event_is_a_zero_of_the_dense_output(method):
    """However loose the tolerance, g(t_event, w_event) is zero to round-off."""
    sol = run([level(0.37), level(0.2, index=1)], method=method, rtol=1e-3, atol=1e-6)
    assert abs(sol.w_events[0][0, 0] - 0.37) < 1e-12
    assert abs(sol.w_events[1][0, 1] - 0.2) < 1e-12


@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_terminal_event_ends_the_run(method):
    sol = run(level(0.5, terminal=np.True_), method=method)
    assert sol.status == "event"
    assert sol.success
    assert sol.t_final == sol.t_events[0][-1]
    assert sol.final.tolist() == sol.w_events[0][-1].tolist()
    assert sol.t[-1] <= sol.t_final
    assert sol.t_final == pytest.approx(np.log(2), rel=1e-7)


def test_terminal_event_ends_the_recording_too():
    sol = run(level(0.5, terminal=True), t_eval=None)
    assert sol.t[-1] == sol.t_final
    assert sol.w[-1].tolist() == sol.final.tolist()
    sol = run(level(0.5, terminal=True), t_eval=[0.0, 0.1, 0.6, 0.7, 5.0])
    assert sol.t.tolist() == [0.0, 0.1, 0.6]


def test_terminal_event_counts():
    """terminal = 3 stops at the third occurrence."""

    def wave(t, w):
        return np.cos(10 * t)

    wave.terminal = 3
    sol = run(wave, max_step=0.05)
    assert sol.status == "event"
    np.testing.assert_allclose(sol.t_events[0], np.pi / 10 * (np.arange(3) + 0.5), rtol=1e-10)


def test_two_terminal_events_in_one_step_keep_their_order():
    """The step ends at the earlier one, and the later one has not happened."""
    late, early = level(0.5, terminal=True), level(0.51, terminal=True)
    sol = run([late, early], rtol=1e-3, atol=1e-6)
    assert [t.size for t in sol.t_events] == [0, 1]
    assert sol.final[0] == pytest.approx(0.51, rel=1e-10)


def test_event_after_the_terminal_one_is_not_reported():
    sol = run([level(0.49), level(0.5, terminal=True)], rtol=1e-3, atol=1e-6)
    assert sol.t_events[0].size == 0


@pytest.mark.parametrize(("direction", "expected"), [(0, 1), (-1, 1), (1, 0)])
def test_direction(direction, expected):
    assert run(level(0.5, direction=direction)).t_events[0].size == expected


def test_direction_picks_every_other_zero():
    def wave(t, w):
        return np.cos(np.pi * t)

    def rising(t, w):
        return np.cos(np.pi * t)

    rising.direction = 1
    sol = run([wave, rising], max_step=0.2)
    np.testing.assert_allclose(sol.t_events[0], np.arange(5) + 0.5, rtol=1e-10)
    np.testing.assert_allclose(sol.t_events[1], [1.5, 3.5], rtol=1e-10)


@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_zero_at_the_start_is_an_event(method):
    """As in SciPy."""
    sol = run(level(1.0, terminal=True), method=method)
    assert sol.status == "event"
    assert sol.t_events[0].tolist() == [0.0]
    assert sol.w_events[0].tolist() == [[1.0, 1.0]]
    sol = run([level(1.0), level(1.0, direction=1), level(1.0, direction=-1)], method=method)
    assert [t.tolist() for t in sol.t_events] == [[0.0], [], [0.0]]


@pytest.mark.parametrize("rate", [1.0, 7.0, 300.0])
@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_every_zero_within_a_step_is_found(method, rate):
    """Steps of the flow, which comes to rest, are as long as many periods of the wave."""

    def wave(t, w):
        return np.sin(rate * (t - 0.1))

    sol = run(wave, 10.0, method=method, rtol=1e-3, atol=1e-6, t_eval=None)
    assert np.diff(sol.t).max() > {"BDF": 0.4, "Radau": 1.0}[method]
    expected = 0.1 + np.pi / rate * np.arange(np.ceil(-0.1 * rate / np.pi), (9.9 * rate / np.pi))
    np.testing.assert_allclose(sol.t_events[0], expected, rtol=1e-10)


@pytest.mark.parametrize("method", ["BDF", "Radau", "Exponential"])
@pytest.mark.parametrize("distance", [1.0, 1e-3, 1e-6])
def test_a_pair_of_zeros_within_a_step(method, distance):
    calls = 0

    def dip(t, w):
        nonlocal calls
        calls += 1
        return (t - 3.0) * (t - 3.0 - distance)

    sol = run(dip, 10.0, method=method, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(sol.t_events[0], [3.0, 3.0 + distance], rtol=1e-12)
    assert calls < 12 * sol.stats["nsteps"] + 150


@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_a_dip_below_zero_within_a_step(method):
    """Down and up again between two steps, around t = 7."""

    def dip(t, w):
        return (t - 7.0) ** 2 - 0.01

    def up(t, w):
        return dip(t, w)

    up.direction = 1
    up.terminal = True
    sol = run([dip, up], 10.0, method=method, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(sol.t_events[0], [6.9, 7.1], rtol=1e-10)
    assert sol.t_final == pytest.approx(7.1, rel=1e-10)


def test_an_event_at_the_level_of_noise_costs_little():
    """w tends to the level, and round-off makes many zeros there: they are not searched for."""
    calls = 0

    def rest(t, w):
        nonlocal calls
        calls += 1
        return w[0] - w[0] * (1 + 1e-16 * np.sin(1e6 * t)) + (1.0 if t == 0 else 0.0)

    sol = run(rest, 1e6, t_eval=None)
    assert calls < 12 * sol.stats["nsteps"]


@pytest.mark.parametrize("method", ["BDF", "Radau"])
def test_zero_between_two_steps_is_found_once(method):
    def noon(t, w):
        return t - 1.0

    sol = run(noon, 2.0, method=method, rtol=0.5, atol=0.5, first_step=0.25, max_step=0.25, t_eval=None)
    assert 1.0 in sol.t
    assert sol.t_events[0].tolist() == [1.0]


def test_no_events_give_empty_lists():
    assert run(None).t_events == []
    assert run(None).w_events == []
    silent = run([level(2.0)])
    assert silent.t_events[0].shape == (0,)
    assert silent.w_events[0].shape == (0, 2)


def test_events_do_not_change_the_trajectory():
    plain, watched = run(None), run([level(0.5), level(0.3, index=1)])
    assert plain.w.tobytes() == watched.w.tobytes()
    assert plain.stats["nfev"] == watched.stats["nfev"]


@pytest.mark.parametrize("bad", [3.0, "norm", [None]])
def test_event_that_cannot_be_called(bad):
    with pytest.raises(TypeError, match="event"):
        run(bad)


@pytest.mark.parametrize("value", [None, "x", np.ones(2), np.nan, 1j])
def test_event_that_returns_no_number(value):
    with pytest.raises((TypeError, ValueError), match="event"):
        run(lambda t, w: value)


@pytest.mark.parametrize("terminal", [-1, 0.5, "yes"])
def test_bad_terminal(terminal):
    with pytest.raises((TypeError, ValueError), match="terminal"):
        run(level(0.5, terminal=terminal))


def test_event_that_raises():
    error = RuntimeError("mine")

    def event(t, w):
        if t > 1:
            raise error
        return 1.0

    with pytest.raises(RuntimeError) as caught:
        run(event)
    assert caught.value is error
    assert 0 < caught.value.solution.t_final <= 5
