"""What both phases of training with small weight decay are, beside the flows that they describe."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from grokflow._options import Observable, Request, WeightDecay
from grokflow._validate import FloatArray, as_flag, as_positive, as_vector
from grokflow.clocks import Clocks
from grokflow.curves import nearest, stays_below
from grokflow.flows import flow
from grokflow.limit.compare import SAME, Fit, residual_beside, step_beside
from grokflow.limit.drift import drift
from grokflow.limit.landing import Landing
from grokflow.limit.limits import Limits, both_limits
from grokflow.problems import Problem
from grokflow.regularizers import Regularization
from grokflow.snapshots import Snapshots, as_snapshot_path
from grokflow.solution import Solution

MOVED = 0.2  # of a slow time, by which the first order may move a prediction


@dataclass(frozen=True)
class GrokkingTimes:
    """When a flow has learned its training data, and when the test data.

    Attributes
    ----------
    train, test : float
        First time from which on the train loss (or the share of wrong answers, or another observable) stays
        below its tolerance, and that of the test data below its own; nan if that does not happen.
    delay : float
        ``test - train``.
    predicted_delay : float
        The same of the limit: each time is that of the drift, in units of 1/lam, or that of the fast phase
        where the drift begins with it. That of the drift is corrected to first order in lam (see
        :meth:`composite`): decay may hold the train loss up long after the landing. nan too where it would
        lie beyond `horizon`, and where the correction is more than a fifth of it, of which the next order is
        some percent.
    horizon : float
        Time up to which the limit describes the flow.
    """

    train: float
    test: float
    delay: float
    predicted_delay: float
    horizon: float


@dataclass(frozen=True, eq=False, repr=False)
class Phases:
    """The data of a `TwoPhase`, which documents them, and what follows from them."""

    problem: Problem
    w0: FloatArray
    fast: Solution
    landing: Landing
    slow: Solution | None
    flows: dict[float, Solution]
    distance: dict[float, float]
    fit: Fit
    horizon: dict[float, float]
    clocks: dict[float, Clocks]
    eps: float
    s_end: float
    kappa: float
    _decays: dict[float, WeightDecay]
    _request: Request
    _regularizer: Regularization
    _observables: dict[str, Observable]  # of all runs: quantities of the problem, and functions
    _no_drift: str = ""  # why none starts at the landing

    @property
    def slope(self) -> float:
        """That of `fit`."""
        return self.fit.slope

    @property
    def success(self) -> bool:
        """Whether the flow has landed, and drift and flows have come to their ends."""
        runs = (self.slow, *self.flows.values())
        return self.landing.success and all(run is not None and run.success for run in runs)

    @property
    def message(self) -> str:
        """What has gone wrong, or that nothing has."""
        runs = {"drift": self.slow, **{f"lam = {lam:g}": sol for lam, sol in self.flows.items()}}
        trouble = [] if self.landing.success else [f"landing: {self.landing.message}"]
        trouble += [f"drift: {self._no_drift}."] if self._no_drift else []
        trouble += [f"{name}: {sol.message}" for name, sol in runs.items() if sol and not sol.success]
        trouble += [] if trouble else ["Both phases and all flows have come to their ends."]
        return " ".join([*trouble, *([self.parting] if self.parting else [])])

    @property
    def parting(self) -> str:
        """Where the limit branches, so that flows part from it; empty if they tend to it."""
        if math.isnan(self.fit.parting):
            return ""
        return (
            "The distance of the flows to the drift does not fall with lam from "
            f"s = {self.fit.parting:.3g} on: the limit branches there or before, and what is of the size of "
            "lam decides which way a flow takes."
        )

    def composite(
        self,
        weight_decay: float,
        t: ArrayLike | None = None,
        save_states: str | os.PathLike[str] | None = None,
        *,
        normal_correction: bool = False,
    ) -> FloatArray:
        """Return ``w_fast(t) + w_slow(lam t) - Phi(w0)``, which describes the flow uniformly in t.

        Parameters
        ----------
        weight_decay : float
            The rate lam > 0; one of `flows`, if `t` is not given.
        t : array_like, shape (T,), optional
            Times, sorted, up to ``s_end / lam``. Both phases are integrated anew for them. Default: the times
            of ``flows[weight_decay]``, where they are known.
        save_states : path, optional
            A file that ends in ``.npy``, for states that do not fit into memory: they are written there, as
            by :func:`gradient_flow`, and those of both phases, integrated anew, beside it until all is done.
        normal_correction : bool, default False
            Add ``-lam J^+ (c K)^-1 J w`` from the landing on: decay holds the flow beside the manifold. What
            is left of its distance in directions normal to the manifold falls as lam^2.

        Returns
        -------
        ndarray, shape (T, d)
            nan beyond the end of a drift that stopped early. With `save_states` a read-only map of the file.

        Raises
        ------
        ValueError
            The flow has not landed, states were not kept, or a time is out of range.
        OSError
            The file cannot be written.
        """
        slow = self._require_slow()
        corrected = as_flag("normal_correction", normal_correction)
        if t is None:
            times = self._flow(weight_decay).t
        else:
            times = as_vector("t", np.atleast_1d(np.asarray(t)), np.size(t))
        lam = as_positive("weight_decay", weight_decay)
        early = times[times < self.landing.t]
        if save_states is not None:
            snapshots = Snapshots(as_snapshot_path(save_states), self.w0.size)
            with tempfile.TemporaryDirectory(dir=snapshots.path.parent) as folder:
                fast = self._fast(early, os.path.join(folder, "fast.npy"))
                drift = self._slow(lam * times, os.path.join(folder, "slow.npy"))
                with snapshots.writing():
                    composed = self._composed(lam, times, fast, drift, corrected)
                    for time, state in zip(times, composed, strict=True):
                        snapshots.append(time, state)
                    states = snapshots.states()
            assert states is not None  # they are there: nobody else could write
            return states
        fast, drift = (self.fast, slow) if t is None else (self._fast(early), self._slow(lam * times))
        if fast.w is None or drift.w is None:
            raise ValueError(
                "the states were not kept: they exceed 256 MiB; give the times t to integrate for, or a file "
                "for them, save_states"
            )
        composed = self._composed(lam, times, fast, drift, corrected)
        return np.array(list(composed)).reshape(len(times), -1)

    def _composed(
        self, lam: float, times: FloatArray, fast: Solution, drift: Solution, correct: bool
    ) -> Iterator[FloatArray]:
        """The composite at each of the times, from the states of both phases."""
        assert fast.w is not None
        assert drift.w is not None
        slow_rows = nearest(drift.t, lam * times)
        for time, row in zip(times, slow_rows, strict=True):
            if lam * time > drift.t_final * (1.0 + SAME):
                yield np.full(self.w0.size, math.nan)
                continue
            state: FloatArray = np.array(drift.w[row])
            if time < self.landing.t:
                state += fast.w[nearest(fast.t, np.array([time]))[0]] - self.landing.w
            elif correct:
                state += self._beside(lam, state)
            yield state

    def _beside(self, lam: float, w: FloatArray) -> FloatArray:
        """How the flow runs beside a point of the drift, to first order."""
        return step_beside(self.problem, w, self._decays.get(lam, lam), self._regularizer)

    def limits(self) -> Limits:
        """Return ``lim_t lim_lam w`` and ``lim_lam lim_t w`` side by side; where they differ, the flow groks.

        Returns
        -------
        Limits
            The landing as `lam_first`, where the drift comes to rest as `t_first`, their `distance` and
            `quantities`, and as `status` whether the second is a minimum of the norm on the manifold.

        Raises
        ------
        ValueError
            The flow has not landed, or on a point from which no drift starts.
        """
        slow = self._require_slow()
        return both_limits(self.problem, self.landing.w, slow.final, self._regularizer)

    def predicted_loss(self, weight_decay: float) -> FloatArray:
        """Return the train loss of the slow phase to first order in lam, at the times of `slow`, shape (T,).

        On the manifold the loss is least: zero, or the entropy of soft labels. The flow runs beside it at
        ``r = -lam (c K)^-1 J w``.

        Raises
        ------
        ValueError
            The flow has not landed, or states were not kept.
        TypeError
            The problem has no residuals.
        """
        slow = self._require_slow()
        if slow.w is None:
            raise ValueError("the states of the drift were not kept: they exceed 256 MiB")
        decay = self._decays.get(weight_decay, weight_decay)
        residuals = [residual_beside(self.problem, w, decay, self._regularizer) for w in slow.w]
        excess: FloatArray = 0.5 * self.problem.scale * np.sum(np.square(residuals), axis=1)
        return self.problem.loss(slow.w[0]) + excess

    def grokking_times(
        self, train_tol: float, test_tol: float, by: str = "loss"
    ) -> dict[float, GrokkingTimes]:
        """Return when each flow has learned its training data, and when the test data, for good.

        Parameters
        ----------
        train_tol, test_tol : float
            The loss below which the data count as learned; by accuracy the share of samples that may be on
            the wrong side: less than that.
        by : str, default "loss"
            What tells: "loss", "accuracy", or what else was observed of both as ``train_<by>`` and
            ``test_<by>``, or was observed as `by` and has two levels, such as the norm. It is a number that
            falls; functions of one's own are given the slow time by the drift.

        Raises
        ------
        ValueError
            It was not observed, or has several components.

        References
        ----------
        The delay is defined as in arXiv:2601.19791.
        """
        tolerances = as_positive("train_tol", train_tol), as_positive("test_tol", test_tol)
        levels = list(zip(self._told_by(by), tolerances, strict=True))
        found = {}
        for lam, sol in self.flows.items():
            train, test = (learned(sol, name, tol) for name, tol in levels)
            early, late = (self._predicted(lam, name, tol) for name, tol in levels)
            reach = self.horizon.get(lam, math.nan) / lam
            found[lam] = GrokkingTimes(train, test, test - train, late - early, reach)
        return found

    def _told_by(self, by: object) -> tuple[str, str]:
        """What was observed of train and test data under this name, or what itself has it, twice."""
        runs = [self.fast, *([self.slow] if self.slow else []), *self.flows.values()]
        known = [name for name in self._observables if all(name in run.observed for run in runs)]
        pair = f"train_{by}", f"test_{by}"
        names = pair if set(pair) <= set(known) else (str(by), str(by))
        if not isinstance(by, str) or names[0] not in known:
            raise ValueError(
                f"by is {by!r}, but neither {pair[0]} and {pair[1]} nor {by!r} were observed; observed were "
                f"{', '.join(map(repr, known))}. Those of test data need test data of the model"
            )
        for name in names:
            if self.fast[name].ndim > 1:
                raise ValueError(f"by is {by!r}; {name!r} has {self.fast[name].shape[1]} components, not one")
        return names

    def _require_slow(self) -> Solution:
        if self.slow is None:
            reason = self._no_drift or f"the flow has not landed: {self.landing.message}"
            raise ValueError(f"there is no drift, because {reason}")
        return self.slow

    def _flow(self, weight_decay: float) -> Solution:
        if weight_decay not in self.flows:
            raise ValueError(f"weight_decay is {weight_decay!r}; the flows are those of {list(self.flows)}")
        return self.flows[weight_decay]

    def _fast(self, times: FloatArray, save_states: bool | str = True) -> Solution:
        """Integrate the fast phase anew, to these times."""
        span = 0.0, max([self.landing.t, *times[-1:]])
        request = replace(self._request, t_span=span, t_eval=times, save_states=save_states)
        return flow(self.problem, self.w0, 0.0, request)

    def _slow(self, times: FloatArray, save_states: bool | str = True) -> Solution:
        """Integrate the drift anew, to these slow times; round-off may have put one beyond the end."""
        at_end = np.abs(times - self.s_end) <= SAME * self.s_end
        request = replace(
            self._request,
            t_span=(0.0, self.s_end),
            method="auto",
            t_eval=np.where(at_end, np.minimum(times, self.s_end), times),
            save_states=save_states,
        )
        return drift(self.problem, self.landing.w, request, self._regularizer, before=self.landing.path.final)

    def _predicted(self, lam: float, name: str, tol: float) -> float:
        """The time from which on the limit has learned; nan beyond the horizon, or if much is corrected."""
        if self.slow is None:
            return math.nan
        drift = learned(self.slow, name, tol)
        late = self._corrected(self.slow, lam, drift, name, tol)
        if max(drift, late) > self.horizon[lam] or abs(late - drift) > MOVED * drift > 0.0:
            return math.nan
        if drift != 0.0:
            return late / lam
        early = learned(self.fast, name, tol)
        return float(np.maximum(self.landing.t if math.isnan(early) else early, late / lam))

    def _corrected(self, slow: Solution, lam: float, late: float, name: str, tol: float) -> float:
        """That slow time where the flow runs beside the drift, which is below the level all along at 0."""
        if slow.w is None or not self.problem.num_residuals or math.isnan(late):
            return late
        begin, end = (1.0 - 2.0 * MOVED) * late, (1.0 + 2.0 * MOVED) * late
        if late == 0.0:
            begin, end = min(lam * self.landing.t, self.horizon[lam]), self.horizon[lam]
        first, last = np.searchsorted(slow.t, [begin, end])
        rows = slice(max(first - 1, 0), last + 1)
        states = [w + self._beside(lam, w) for w in slow.w[rows]]
        beside = [self._value(name, s, w) for s, w in zip(slow.t[rows], states, strict=True)]
        found = stays_below(slow.t[rows], missed(name, np.array(beside)), tol)
        return 0.0 if found == slow.t[rows][0] else found

    def _value(self, name: str, s: float, w: FloatArray) -> ArrayLike:
        """What was observed by this name."""
        what = self._observables[name]
        return self.problem.quantity(what, w) if isinstance(what, str) else what(s, w)


def missed(name: str, values: FloatArray) -> FloatArray:
    """Return values as they are, and of an accuracy the share of wrong answers."""
    return 1.0 - values if name.endswith("accuracy") else values


def learned(sol: Solution, name: str, tol: float) -> float:
    """Return the time from which on what was observed, or the share of wrong answers, is below `tol`."""
    return stays_below(sol.t, missed(name, sol[name]), tol)
