"""A pytest plugin that tries changes, each in a process of its own, on the tests that it matters to.

The tests are collected once, before grokflow has computed anything, so that a process that is forked then
begins with nothing but their collection. At first all are run as they are, to note which reach which change.
"""

import json
import mmap
import os
import resource
import signal
import tempfile
import time
from itertools import pairwise

MEMORY = 8 << 30  # bytes that the tests of a change may take


def apart(work, seconds):
    """What `work` yields in a process of its own, and the signal that ended it, or 0."""
    with tempfile.TemporaryFile("w+") as said:
        child = os.fork()
        if not child:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
            resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
            for value in work():
                print(json.dumps(value), file=said, flush=True)
            os._exit(0)
        end = time.monotonic() + 20 * seconds  # for one that waits
        while not (status := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > end:
                os.kill(child, signal.SIGXCPU)
            time.sleep(0.02)
        said.seek(0)
        return [json.loads(line) for line in said], os.WTERMSIG(status[1])


def seconds_of_work():
    """The CPU time of this process and of those that it has waited for."""
    return sum(os.times()[:4])


class Trials:
    """One of several workers: it tries its part of `changes`, numbers of bytes in the file `table`."""

    def __init__(self, table, changes, seconds, part, exchange, tell):
        """Each change is tried for so many `seconds`, then `tell(change, result, by)` is called.

        `exchange(x)` returns the x of all workers; `part` slices the share of this one.
        """
        self.table = mmap.mmap(table.fileno(), 0)
        self.changes, self.seconds, self.part = changes, seconds, part
        self.exchange, self.tell = exchange, tell

    def pytest_runtest_logreport(self, report):
        self.failed |= report.failed

    def run(self, numbers):
        """Run the tests with these numbers: of each its number, whether it passed, the seconds it took."""
        for number, following in pairwise([*numbers, None]):
            self.failed, start = False, seconds_of_work()
            after = None if following is None else self.items[following]
            self.items[number].ihook.pytest_runtest_protocol(item=self.items[number], nextitem=after)
            yield number, not self.failed, seconds_of_work() - start

    def reach(self):
        """Run tests as they are: with each, the changes that would have made a difference to it."""
        for outcome in self.run(range(len(self.items))[self.part]):
            yield *outcome, [change for change in self.changes if self.table[change]]
            self.table[:] = bytes(len(self.table))

    def pytest_runtestloop(self, session):
        self.items = session.items
        reached, end = apart(self.reach, 7200)
        reached = [outcome for worker in self.exchange(reached) for outcome in worker]
        if end or len(reached) < len(self.items):
            raise RuntimeError("a test ends the process")
        self.costs = {number: seconds for number, passed, seconds, _ in reached if passed}
        self.catches = dict.fromkeys(self.costs, 1)
        for change in self.changes[self.part]:
            tests = [number for number, passed, _, those in reached if passed and change in those]
            self.tell(change, *self.attempt(change, tests))
        return True

    def attempt(self, change, tests):
        """What these tests make of a change; those that notice most for their time are asked first."""

        def work():
            start = seconds_of_work()
            for outcome in self.run(
                sorted(tests, key=lambda number: self.costs[number] / self.catches[number])
            ):
                yield outcome
                if not outcome[1] or seconds_of_work() > start + self.seconds:
                    return

        if not tests:
            return "not reached", ""
        self.table[change] = 2
        outcomes, end = apart(work, 2 * self.seconds + 20)
        self.table[:] = bytes(len(self.table))
        if end:
            return "caught", {signal.SIGXCPU: "no end"}.get(end, "a crash")
        number, passed, _ = outcomes[-1]
        if passed:
            return "survived", f"{len(outcomes)} of {len(tests)} tests"
        self.catches[number] += 1
        return "caught", self.items[number].nodeid.removeprefix("tests/python/")
