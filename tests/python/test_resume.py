"""An exception of the user's in the middle of a run: nothing recorded is torn, and the run can go on."""

import grokflow as gf
import numpy as np
import pytest

RATES = np.array([1.0, 3.0])
TIMES = np.linspace(0, 5, 61)


class Boom(Exception):
    pass


class Fuse:
    """A function that raises at its `limit`-th call, once."""

    def __init__(self, function, limit):
        self.function, self.limit, self.calls = function, limit, 0

    def __call__(self, *args):
        self.calls += 1
        if self.calls == self.limit:
            raise Boom
        return self.function(*args)


def problem(gradient=lambda w: RATES * w):
    return gf.Objective(
        num_params=2,
        loss=lambda w: 0.5 * float(RATES @ w**2),
        gradient=gradient,
        hessian=lambda w: np.diag(RATES),
    )


def integrator(method, *, gradient=lambda w: RATES * w, **options):
    options = {"observe": ["norm"], "t_eval": TIMES} | options
    return gf.Integrator(problem(gradient), np.ones(2), (0, 5), weight_decay=0.0, method=method, **options)


def drive(run):
    """Step to the end, over all exceptions; return the solution and those that exceptions carried."""
    torn = []
    while run.status == "running":
        try:
            run.step()
        except Boom as boom:
            torn.append(boom.solution)
    return run.solution(), torn


def assert_same(sol, plain):
    assert sol.status == "finished"
    assert sol.t.tolist() == plain.t.tolist()
    assert sol.w.tolist() == plain.w.tolist()
    for name, values in plain.observed.items():
        assert sol[name].tolist() == values.tolist()
    assert [t.tolist() for t in sol.t_events] == [t.tolist() for t in plain.t_events]


@pytest.mark.parametrize("method", ["BDF", "Radau"])
@pytest.mark.parametrize("t_eval", [TIMES, None, "log"], ids=["given", "steps", "log"])
@pytest.mark.parametrize("limit", [3, 20, 30])
def test_observable(method, t_eval, limit):
    """A time is recorded with all its values or not at all, and once."""

    def options(limit):
        return {"observe": {"norm": "norm", "first": Fuse(lambda t, w: w[0], limit)}, "t_eval": t_eval}

    sol, torn = drive(integrator(method, **options(limit)))
    assert len(torn) == 1
    for record in torn:
        assert record.t.size == len(record.w) == record["norm"].size == record["first"].size
    assert_same(sol, drive(integrator(method, **options(10**9)))[0])


@pytest.mark.parametrize("method", ["BDF", "Radau"])
@pytest.mark.parametrize("limit", range(2, 40, 5))
def test_event(method, limit):
    """The step at whose end an event raised is looked at again, and its zeros are found once."""

    def options(limit):
        return {"events": [lambda t, w: w[1] - 0.25, Fuse(lambda t, w: w[0] - 0.5, limit)]}

    sol, torn = drive(integrator(method, **options(limit)))
    assert len(torn) == 1
    assert_same(sol, drive(integrator(method, **options(10**9)))[0])
    assert [t.size for t in sol.t_events] == [1, 1]


@pytest.mark.parametrize("method", ["BDF", "Radau"])
@pytest.mark.parametrize("limit", range(5, 45))
def test_gradient(method, limit):
    """Wherever in a step the flow is interrupted, time and state stay together."""
    sol, torn = drive(integrator(method, gradient=Fuse(lambda w: RATES * w, limit), observe=[]))
    assert len(torn) == 1
    assert_same(sol, drive(integrator(method, observe=[]))[0])
