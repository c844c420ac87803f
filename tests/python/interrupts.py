"""Interrupts runs at random moments, as often as the argument says: each interrupt has what was computed.

A program of its own, for an interrupt that comes late must not end the tests.
"""

import signal
import sys
import time
from contextlib import suppress

import grokflow as gf
import numpy as np

LAMS = [1e-1, 1e-2]
PROBLEM = gf.models.LinearRegression(np.eye(2, 4), np.ones(2))
W0 = np.full(4, 2.0)


class Run:
    """One run: what its callback has seen, and what is left of it."""

    def __init__(self, call):
        self.call = call
        self.reached = []  # the last time of each flow that has begun, as far as it got

    def callback(self, t, w):
        if not self.reached or t < self.reached[-1]:
            self.reached.append(t)
        self.reached[-1] = t

    def interrupted_after(self, seconds):
        """Return the interrupt, or None if the run was done before."""
        error = None
        with suppress(KeyboardInterrupt):  # one that comes after the call
            try:
                signal.setitimer(signal.ITIMER_REAL, seconds)
                self.call(self.callback)
            except KeyboardInterrupt as interrupt:
                error = interrupt
            signal.setitimer(signal.ITIMER_REAL, 0)
        return error

    def check(self, error):
        """Assert that `error` carries all flows, up to where the callback has seen them."""
        if error is None or not self.reached:
            return
        runs = [*getattr(error, "flows", {}).values()]
        if getattr(error, "landing", None) is not None:
            runs.append(error.landing.path)
        if not any(run is error.solution for run in runs):
            runs.append(error.solution)
        assert len(runs) >= len(self.reached), (self.reached, [run.t_final for run in runs])
        for reached, run in zip(self.reached, runs, strict=False):
            assert run.t_final >= reached
            assert run.t.size > 0
            assert run.w.shape == (run.t.size, 4)
        for run in runs[:-1]:
            assert run.success, run.message


def flow(callback):
    return gf.gradient_flow(PROBLEM, W0, (0, 100), weight_decay=0.1, callback=callback)


def landing(callback):
    return gf.limit_map(PROBLEM, W0, callback=callback)


def both_phases(callback):
    return gf.two_phase(PROBLEM, W0, LAMS, callback=callback)


def main(count):
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    rng = np.random.default_rng(0)
    for call, share in [(flow, 0.4), (landing, 0.2), (both_phases, 0.4)]:
        call(lambda t, w: None)
        begin = time.perf_counter()
        call(lambda t, w: None)
        took = time.perf_counter() - begin
        met = 0
        for seconds in took * rng.uniform(0.05, 1.2, round(share * count)):
            run = Run(call)
            error = run.interrupted_after(seconds)
            run.check(error)
            met += error is not None
        assert met > share * count / 20, f"{call.__name__}: only {met} interrupts"


if __name__ == "__main__":
    main(int(sys.argv[1]))
