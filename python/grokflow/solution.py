"""The result of a flow: a trajectory that shows, saves and loads itself."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from grokflow._html import card
from grokflow._validate import as_path
from grokflow.figures import flows, network, run
from grokflow.files import contents_of, pack, unpack, write_atomically
from grokflow.problems import Problem
from grokflow.snapshots import read_reference, read_snapshots, reference_to
from grokflow.trajectory import MODE_CHANGE, Trajectory

if TYPE_CHECKING:
    import scipy.optimize
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMAT_VERSION = 1
MANY = 4  # more numbers than this are shown by the first and the last


@dataclass(frozen=True, eq=False, repr=False)
class Solution(Trajectory):
    """A trajectory, returned by `gradient_flow` whether it reached the end or not.

    Attributes
    ----------
    t : ndarray, shape (T,)
        Recorded times.
    w : ndarray, shape (T, d), or None
        The weights at those times; None when they were not kept. If they were written to a file, this is a
        read-only map of it.
    observed : dict of str to ndarray, shape (T,) or (T, k)
        What was observed at those times. ``sol["train_loss"]`` is ``sol.observed["train_loss"]``.
    final : ndarray, shape (d,)
        The last accepted weights.
    t_final : float
        The time of ``final``.
    t_events, w_events : list of ndarray, shapes (m,) and (m, d)
        Times and weights of the events, one entry for each event function; empty without events.
    status : str
        "finished", "event", "max_steps", "time_limit", "interrupted", "step_too_small", "non_finite",
        "solver_failed", "error_test_failed" or "mode_unresolved"; of the path to a landing also "landed" or
        "saddle"; of a drift also "stationary", "rank_change" or "left_manifold".
    message : str
        The status in a sentence.
    stats : dict
        Work: ``nfev`` gradients (a step with a fresh linearisation may need none), ``njvp``, ``nvjp``,
        ``nhvp``, ``ngram``, ``nhessian``, ``nfactor``, ``nsolve``, ``niter`` (iterations of solves without a
        matrix), ``nproject``, ``nlinearize``, ``nsteps``, ``nrejected``, ``nfailed``, ``nnonfinite``, and
        ``seconds`` on the clock of the wall, spent in steps and in the functions that they call. Where
        functions of your own were timed to choose the curvature, also ``gradient_seconds`` and
        ``gram_seconds``.
    settings : dict
        What was asked for, as JSON types: ``t_span`` (of a drift ``s_span``), ``method`` (the name of the one
        taken, and ``max_order`` of a BDF asked for), ``curvature`` (the one chosen, "adaptive" where it is
        krylov or gram as costs go, None with an explicit method; and ``rank`` of krylov), ``rtol``, ``atol``,
        ``t_eval``, ``observe`` (by name; None stands for a function),
        ``save_states`` (whether, or the path), ``first_step``, ``max_step``, ``max_steps`` and ``max_time``
        (None: no limit given), ``weight_decay``, and ``problem`` (how it shows itself). Of a drift
        ``regularizer``, ``on_rank_change``, ``kkt_tol`` and ``rtol_rank`` in place of the weight decay. Also
        what the numbers came from: ``problem_hash`` (of a model's data and arguments; None for functions of
        your own), ``w0_hash`` and ``initial_weights`` (how the model drew them: ``init``, ``std``, ``seed``
        and ``scale``; None for weights from elsewhere), ``num_threads``, ``build`` (the instruction set) and
        ``versions``.
    monitor : dict of str to ndarray, shape (steps,)
        Of a drift: slow times ``s`` at the end of each step and, there, what is known of the Hessian:
        ``eta``, its smallest non-zero eigenvalue, ``rank``, ``gap`` (eta over the largest eigenvalue that
        counts as zero) and ``largest``. Empty for other flows.
    mode_changes : structured ndarray, shape (k,)
        Of a flow that is smooth only piece by piece, what happened where a pre-activation was 0: ``t``,
        ``neuron``, ``sample`` (the data point) and ``kind``: "cross", "stick" (the neuron slides: its kink
        stays at the data point), "release", "pin" (it stuck at the last data point that left it any freedom,
        and is 0), or "split" (both sides repelled it; see :func:`gradient_flow`). Else empty.
    problem : Problem, or None
        What was solved. It is not saved: None after `load` and in a copy by pickle.
    """

    def __repr__(self) -> str:
        lines = self._described()
        for title, entries in self._cost().items():
            text = ", ".join(f"{name} {value}" for name, value in entries.items())
            lines[title] = f"\n{'':18}".join(textwrap.wrap(text, 92))
        head = f"Solution: {self.status}, t = {self.t_final:.6g}"
        return "\n".join([head, *(f"  {name:<16}{text}" for name, text in lines.items())])

    def _repr_html_(self) -> str:
        return card("Solution", self.status, self._described(), folded=self._cost())

    def _described(self) -> dict[str, str]:
        """What there is to say of the run, in lines by name."""
        times = f"{len(self.t)} times" + (f", {self.t[0]:.4g} ... {self.t[-1]:.4g}" if len(self.t) else "")
        states = "not kept" if self.w is None else "x".join(map(str, self.w.shape))
        lines = {"message": self.message, "t": times, "w": f"{states} (final: d = {self.final.size})"}
        for name, values in self.observed.items():
            if values.ndim > 1:
                lines[name] = f"{values.shape[1]} components"
            elif values.size:
                lines[name] = f"{values[0]:.4g} -> {values[-1]:.4g}"
        if self.monitor:
            eta, rank = self.monitor["eta"], self.monitor["rank"]
            lines["eta"] = (
                f"{eta[0]:.4g} -> {eta[-1]:.4g} (smallest {eta.min():.4g}), rank {rank[0]} -> {rank[-1]}"
            )
        if self.mode_changes.size:
            kinds, counts = np.unique(self.mode_changes["kind"], return_counts=True)
            lines["mode changes"] = ", ".join(
                f"{count} {kind}" for kind, count in zip(kinds, counts, strict=True)
            )
        return lines

    def _cost(self) -> dict[str, dict[str, str]]:
        """What the run has cost, and what was asked for."""
        return {
            title: {name: _short(value) for name, value in entries.items() if value is not None}
            for title, entries in (("stats", self.stats), ("settings", self.settings))
        }

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw losses and squared norm against time on a log axis, and accuracies where there are classes.

        Where the labels are certain, so that the loss has no minimiser, also the smallest margin and how far
        w / |w| is from where it ends.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; the squared norm then gets the right-hand axis. By default a new figure.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ImportError
            matplotlib is missing.
        """
        return run.plot(self, ax)

    def plot_modes(self, problem: Problem | None = None, ax: Axes | None = None) -> Figure:
        """Draw the kinks of a two-layer network with one input over time, on a log axis.

        The kink of neuron j, where its pre-activation is 0, is at ``-b_j / V_j``. Its line is coloured by
        ``|u_j|``, and the data points are dotted lines: kinks drift, stick to data points and merge.

        Parameters
        ----------
        problem : TwoLayerNetwork, optional
            What was solved; needed only where `problem` is None.
        ax : matplotlib Axes, optional
            Where to draw. By default a new figure.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ValueError
            The network has several inputs (`mode_changes` tells what its neurons do), the weights were not
            kept, or there is no problem.
        TypeError
            The problem is no `TwoLayerNetwork`.
        ImportError
            matplotlib is missing.
        """
        return network.plot_modes(self, self.problem if problem is None else problem, ax)

    def plot_function(
        self,
        times: ArrayLike,
        problem: Problem | None = None,
        teacher: Callable[[NDArray[np.float64]], ArrayLike] | None = None,
        ax: Axes | None = None,
    ) -> Figure:
        """Draw the function that a model with one input has learned at some times, with its data.

        Parameters
        ----------
        times : array_like
            The recorded time nearest to each is drawn.
        problem : Problem, optional
            What was solved; needed only where `problem` is None.
        teacher : callable, optional
            The function that made the data: from inputs of shape (k, 1) to values of shape (k,).
        ax : matplotlib Axes, optional
            Where to draw. By default a new figure.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        ValueError
            The model has several inputs, a time is outside the run, the weights were not kept, or there is no
            problem.
        TypeError
            The problem has no inputs: it is no regression model of the library.
        ImportError
            matplotlib is missing.
        """
        return network.plot_function(self, times, self.problem if problem is None else problem, teacher, ax)

    def plot_components(
        self, name: str, highlight: Sequence[int] | None = None, ax: Axes | None = None
    ) -> Figure:
        """Draw the components of an observable that is a vector over time: coefficients, singular values.

        Parameters
        ----------
        name : str
            What was observed.
        highlight : sequence of int, optional
            The components that get a colour of their own; the others are thin. Default: all.
        ax : matplotlib Axes, optional
            Where to draw. By default a new figure.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        KeyError
            It was not observed.
        ValueError
            It is a number, or has no such component.
        ImportError
            matplotlib is missing.
        """
        return flows.plot_components(self, name, highlight, ax)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one ``.npz`` file (arrays and JSON, no pickle, with a checksum), atomically.

        States that the run has written to a file stay there, and the new file refers to them; if another run
        has been written there since, they go into the new file.

        Parameters
        ----------
        path : path
            The file's name, used as it is. A file that is there is replaced once the new one is whole.

        Raises
        ------
        OSError
            The file cannot be written; what was there before is untouched.
        """
        target = as_path(path)
        arrays: dict[str, NDArray[Any]] = {"t": self.t, "final": self.final}
        snapshots = reference_to(self.w)
        if self.w is not None and snapshots is None:
            arrays["w"] = self.w
        arrays |= {f"observed/{name}": values for name, values in self.observed.items()}
        arrays |= {f"monitor/{name}": values for name, values in self.monitor.items()}
        if self.mode_changes.size:
            arrays["mode_changes"] = self.mode_changes
        arrays |= {f"t_events/{i}": times for i, times in enumerate(self.t_events)}
        arrays |= {f"w_events/{i}": states for i, states in enumerate(self.w_events)}
        header = {
            "version": FORMAT_VERSION,
            "observed": list(self.observed),
            "monitor": list(self.monitor),
            "events": [len(self.t_events), len(self.w_events)],
            "t_final": self.t_final,
            "status": self.status,
            "message": self.message,
            "stats": self.stats,
            "settings": self.settings,
            "snapshots": snapshots,
        }
        write_atomically(target, pack(header, arrays))

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Solution:
        """Read a file that `save` has written, or the states that a run has written to `save_states`.

        The latter has times and weights only, and the status "interrupted", for nothing tells whether the run
        came to its end. A file of an earlier version is read too; what that did not write (`monitor`,
        `mode_changes`) is empty.

        Raises
        ------
        FileError
            The file is cut short, damaged, of a later format, or no Solution file; or the states that it
            refers to are damaged, or have given place to those of another run.
        OSError
            The file cannot be read, or the file of states that it refers to.
        """
        if as_path(path).suffix == ".npy":
            return _from_snapshots(path)
        header, arrays = unpack(path, FORMAT_VERSION)
        with contents_of(path, "Solution file"):
            t_events, w_events = header["events"]
            states = header.get("snapshots")
            return Solution(
                t=arrays["t"],
                w=read_reference(**states) if states else arrays.get("w"),
                observed={name: arrays[f"observed/{name}"] for name in header["observed"]},
                final=arrays["final"],
                t_final=header["t_final"],
                t_events=[arrays[f"t_events/{i}"] for i in range(t_events)],
                w_events=[arrays[f"w_events/{i}"] for i in range(w_events)],
                status=header["status"],
                message=header["message"],
                stats=header["stats"],
                settings=header["settings"],
                monitor={name: arrays[f"monitor/{name}"] for name in header.get("monitor", ())},
                mode_changes=arrays.get("mode_changes", np.empty(0, MODE_CHANGE)),
            )

    def to_scipy(self) -> scipy.optimize.OptimizeResult:
        """Return the trajectory as :func:`scipy.integrate.solve_ivp` returns it.

        The names are SciPy's: ``t``, ``y`` of shape (d, T), None if states were not kept; ``t_events``,
        ``y_events``, None without events; ``nfev``, ``njev`` (linearisations), ``nlu`` (factorisations);
        ``status``, 0 at the end, 1 at a terminal event and -1 otherwise; ``message``, ``success``; ``sol`` is
        None.

        Raises
        ------
        ImportError
            SciPy is missing.
        """
        try:
            from scipy.optimize import OptimizeResult
        except ImportError as error:
            raise ImportError('to_scipy needs SciPy: pip install "grokflow[scipy]"') from error

        status = {"finished": 0, "event": 1}.get(self.status, -1)
        work = {"nfev": "nfev", "njev": "nlinearize", "nlu": "nfactor"}
        return OptimizeResult(
            t=self.t,
            y=None if self.w is None else self.w.T,
            sol=None,
            t_events=self.t_events or None,
            y_events=self.w_events or None,
            **{theirs: self.stats.get(ours, 0) for theirs, ours in work.items()},
            status=status,
            message=self.message,
            success=status >= 0,
        )

    def to_xarray(self) -> xarray.Dataset:
        """Return the trajectory as an `xarray.Dataset`.

        Dimensions are ``time`` (with the coordinate ``t``), ``parameter`` (of ``w`` and ``final``), and
        ``component`` of observables that are vectors (``<name>_component`` when their lengths differ), and
        ``mode_change`` of ``mode_t``, ``mode_neuron``, ``mode_sample`` and ``mode_kind``, if there are any.
        The attributes hold status, message, and stats and settings as JSON.

        Raises
        ------
        ImportError
            xarray is missing.
        """
        try:
            import xarray
        except ImportError as error:
            raise ImportError('to_xarray needs xarray: pip install "grokflow[xarray]"') from error

        lengths = {values.shape[1] for values in self.observed.values() if values.ndim > 1}
        variables: dict[str, Any] = {"final": ("parameter", self.final)}
        if self.w is not None:
            variables["w"] = (("time", "parameter"), self.w)
        if self.mode_changes.size:
            for name in MODE_CHANGE.fields or ():
                variables[f"mode_{name}"] = ("mode_change", self.mode_changes[name])
        for name, values in self.observed.items():
            component = "component" if len(lengths) == 1 else f"{name}_component"
            variables[name] = (("time", component)[: values.ndim], values)
        attributes = {
            "t_final": self.t_final,
            "status": self.status,
            "message": self.message,
            "stats": json.dumps(self.stats),
            "settings": json.dumps(self.settings),
        }
        return xarray.Dataset(variables, coords={"t": ("time", self.t)}, attrs=attributes)


def _from_snapshots(path: str | os.PathLike[str]) -> Solution:
    """What a run that was killed has left."""
    t, w = read_snapshots(path)
    message = f"These are the states in {os.fspath(path)}; how the run ended is not known."
    return Solution(
        t=t,
        w=w,
        observed={},
        final=np.array(w[-1]),
        t_final=float(t[-1]),
        status="interrupted",
        message=message,
    )


def _short(value: Any) -> str:
    if isinstance(value, list) and len(value) > MANY:
        return f"[{value[0]:.4g} ... {value[-1]:.4g}] ({len(value)} values)"
    if isinstance(value, dict):
        return "{" + ", ".join(k if v == k else f"{k}: {_short(v)}" for k, v in value.items()) + "}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
