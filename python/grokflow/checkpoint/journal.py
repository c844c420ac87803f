"""What a computation has done so far, in a file from which it goes on in another process.

A computation is a function of the package with its arguments, and the runs of the core that it makes, one
after the other. Taken up again, the function is called with the same arguments; runs that were done take
their last state from the file, and the one that was under way goes on from the step that it had reached.
The rest is computed again, from the same numbers.

The file (see `blocks`) holds one JSON text, the arrays among the arguments (as ``.npy``), and the states of
the runs.
"""

from __future__ import annotations

import json
import math
import os
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from shutil import copyfileobj
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Protocol, TypeVar

import numpy as np

from grokflow import _backend
from grokflow._backend import core
from grokflow._validate import as_choice, as_count, as_number, as_path, as_positive, as_vector
from grokflow._warnings import warn
from grokflow.checkpoint.arguments import Arrays, decode, encode
from grokflow.checkpoint.blocks import BLOCK, BlockReader, writing
from grokflow.checkpoint.fingerprint import SIZES, fingerprint
from grokflow.checkpoint.signals import deferred_signals
from grokflow.files import FileError, contents_of, only_writer, remove_scratch

FORMAT = 1
LENGTH = struct.Struct("<Q")
GOES_ON = ("running", "max_steps", "time_limit", "interrupted")
IN_MEMORY = 2**26  # bytes of a state
UNITS = {"": 1.0, "s": 1.0, "min": 60.0, "h": 3600.0}
R = TypeVar("R")
KEYWORDS = ("checkpoint", "checkpoint_every", "checkpoint_errors")


class CheckpointWarning(UserWarning):
    """A checkpoint could not be written; the last good one is still there, and the run goes on."""


class Kept(Protocol):
    """A run whose state can be kept."""

    def driving(self) -> AbstractContextManager[core.FlowRun]:
        """What must surround its steps."""

    def facts(self) -> dict[str, Any]:
        """What is not in the core, as JSON types."""

    def save(self, write: Callable[[memoryview], Any]) -> None:
        """Write the state."""

    def load(self, facts: Mapping[str, Any], readinto: Callable[[memoryview], int]) -> None:
        """Read facts and state into a run that was made from the same arguments."""

    def reopen(self) -> None:
        """Let a run go on that a limit or the user has ended."""


class Journal:
    """The file of one computation, and the states of its runs.

    Parameters
    ----------
    path : Path
        The file.
    note : object
        What its reader shall find in it beside the computation: JSON types and arrays.

    Attributes
    ----------
    function : str
        What was called.
    arguments : mapping
        Its arguments.
    every : float
        Seconds between two checkpoints.
    errors : {"warn", "raise"}
        What to do where none can be written.
    """

    def __init__(self, path: Path, note: Any = None) -> None:
        self.path, self.note = path, note
        self.function = ""
        self.arguments: Mapping[str, Any] = {}
        self.every, self.errors = math.inf, "raise"
        self.costs: Mapping[str, float] = {}  # of one's own functions, by which the curvature was chosen
        self._head: dict[str, Any] = {}
        self._arrays: Arrays = []
        self._states: dict[str, tuple[dict[str, Any], IO[bytes]]] = {}  # of the runs that were made
        self._last = ""  # of those that were read, the one that goes on

    @classmethod
    def read(cls, path: Path) -> Journal:
        """The journal of a computation that was interrupted, with a `Missing` for each function.

        Raises
        ------
        FileError
            The file is no checkpoint, damaged (it says where), or of a later format.
        OSError
            It cannot be read.
        """
        with closing(BlockReader(path)) as reader, contents_of(path, "checkpoint"):
            head = json.loads(reader.read(*LENGTH.unpack(reader.read(LENGTH.size))))
            version = as_count("format", head["format"])
            if version > FORMAT:
                raise FileError(
                    f"{path} has format version {version}; this grokflow reads versions up to {FORMAT}. "
                    "Upgrade grokflow to read it"
                )
            arrays = [np.lib.format.read_array(reader, allow_pickle=False) for _ in range(head.pop("arrays"))]
            journal = cls(path, decode(head["note"], arrays))
            journal.function = head["function"]
            journal.arguments = {name: decode(value, arrays) for name, value in head["arguments"].items()}
            journal._head, journal._arrays = head, arrays
            journal.costs = {name: float(cost) for name, cost in head.get("costs", {}).items()}
            try:
                for name, facts, size in head.pop("runs"):
                    journal._keep(name, facts, partial(reader.copy_to, size=size))
                    journal._last = name
            except BaseException:
                journal.close()
                raise
        return journal

    def forget_after_limits(self) -> None:
        """Keep the runs up to the first that a limit has ended, which goes on; those after it begin anew."""
        kept = {}
        for name, (facts, state) in self._states.items():
            kept[name] = facts, state
            self._last = name
            if facts["status"] in GOES_ON:
                break
        for name in self._states.keys() - kept.keys():
            self._states[name][1].close()
        self._states = kept

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Of the problem that the file was written for."""
        found = decode(self._head["fingerprint"], self._arrays)
        sizes = {name: as_count(name, found[name], least=0) for name in SIZES}
        loss, gradient = as_number("loss", found["loss"]), found["gradient"]
        return {**sizes, "loss": loss, "gradient": as_vector("gradient", gradient, sizes["num_params"])}

    def close(self) -> None:
        """Drop the states."""
        for _, state in self._states.values():
            state.close()

    def drive(self, name: str, driver: Kept) -> None:
        """Take a run to its end, from where the file has left it, writing the file now and then.

        Ctrl-C and SIGTERM wait for the end of a step.
        """
        if not self._head:
            self._begin()
        known = name in self._states
        if known:
            facts, state = self._states[name]
            with contents_of(self.path, "checkpoint"):
                state.seek(0)
                driver.load(facts, reading(state))
            if name == self._last:
                driver.reopen()
        due = time.monotonic() + self.every
        with driver.driving() as run, deferred_signals() as pending:
            if known and run.status != "running":
                return  # done, and in the file as it is: before those that came after it
            if known:
                self._states.pop(name)[1].close()
            while run.status == "running" and not pending:
                run.advance(to_end=False)
                if time.monotonic() >= due:
                    self._write((name, driver))
                    due = time.monotonic() + self.every
            if pending:
                self._write((name, driver))
            else:
                with self._tolerant():  # a state that cannot be kept leaves the file as it is
                    self._keep(name, driver.facts(), lambda state: driver.save(state.write))
                    self._write()

    def _begin(self) -> None:
        encoded = {name: encode(value, self._arrays) for name, value in self.arguments.items()}
        found = fingerprint(self.arguments["problem"], start_of(self.arguments))
        self._head = {
            "format": FORMAT,
            "grokflow": str(core.__version__),
            "isa": _backend.isa,
            "note": encode(self.note, self._arrays),
            "function": self.function,
            "arguments": encoded,
            "fingerprint": encode(found, self._arrays),
            "costs": dict(self.costs),
        }

    def _keep(self, name: str, facts: dict[str, Any], write: Callable[[IO[bytes]], object]) -> None:
        """Keep a state, as it is written: in memory, or in a file beside the checkpoint where it is large."""
        state = SpooledTemporaryFile(IN_MEMORY, dir=str(self.path.parent))  # noqa: SIM115
        try:
            if name in self._states:
                raise ValueError(f"two runs are called {name!r}")
            write(state)
            state.flush()
            self._states[name] = facts, state
        except BaseException:
            with suppress(OSError):  # once more, of what did not fit
                state.close()
            raise

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        """Where the disk fails, warn and go on, if so asked."""
        try:
            yield
        except OSError as error:
            if self.errors == "raise":
                error.filename = error.filename or os.fspath(self.path)
                raise
            warn(
                f"no checkpoint was written to {self.path}: {error}; the last good one is still there, "
                "and the run goes on",
                CheckpointWarning,
            )

    def _write(self, active: tuple[str, Kept] | None = None) -> None:
        """Replace the file by one that holds what has been done so far."""
        runs = [[name, facts, state.seek(0, os.SEEK_END)] for name, (facts, state) in self._states.items()]
        if active is not None:
            runs.append([active[0], active[1].facts(), None])
        text = json.dumps({**self._head, "arrays": len(self._arrays), "runs": runs}).encode()
        with self._tolerant(), writing(self.path) as stream:
            stream.write(LENGTH.pack(len(text)))
            stream.write(text)
            for array in self._arrays:
                np.lib.format.write_array(stream, array, allow_pickle=False)
            for _, state in self._states.values():
                state.seek(0)
                copyfileobj(state, stream, BLOCK)
            if active is not None:
                active[1].save(stream.write)


def reading(stream: IO[bytes]) -> Callable[[memoryview], int]:
    """Return a function that fills a buffer from the stream."""

    def readinto(buffer: memoryview) -> int:
        found = stream.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

    return readinto


def start_of(arguments: Mapping[str, Any]) -> Any:
    """Return the weights at which a computation begins."""
    return arguments["w0"] if "w0" in arguments else arguments["w"]


def as_seconds(name: str, value: object) -> float:
    """Return an interval as seconds: a positive number, or a text such as "30s", "10min" or "1.5h"."""
    if not isinstance(value, str):
        return as_positive(name, value)
    number = value.rstrip("abcdefghijklmnopqrstuvwxyz ")
    try:
        return as_positive(name, float(number) * UNITS[value[len(number) :].strip()])
    except (KeyError, ValueError):
        raise ValueError(
            f"{name} is {value!r}; it must be seconds, or such as '30s', '10min' or '1.5h'"
        ) from None


def kept(function: str, arguments: Mapping[str, Any], run: Callable[[Journal | None], R]) -> R:
    """Call `run` with the journal of a call, if its arguments ask for one, and return what it returns.

    The argument `checkpoint` is None, the path of a file that is not there yet, or a journal; no other run
    may write to it meanwhile. Without one nothing follows `run` that Ctrl-C could fall into.
    """
    checkpoint, every, errors = (arguments[name] for name in KEYWORDS)
    interval = as_seconds("checkpoint_every", every)
    as_choice("checkpoint_errors", errors, ("warn", "raise"))
    if checkpoint is None:
        return run(None)
    journal = checkpoint if isinstance(checkpoint, Journal) else Journal(as_checkpoint_path(checkpoint))
    journal.function = function
    journal.arguments = {name: value for name, value in arguments.items() if name != "checkpoint"}
    journal.every, journal.errors = interval, errors
    with closing(journal), only_writer(journal.path):
        remove_scratch(journal.path)
        return run(journal)


def as_checkpoint_path(path: object) -> Path:
    """Return the absolute path of a file that checkpoints can be written to.

    Raises
    ------
    TypeError, ValueError
        If it is no path.
    OSError
        If there is a file or a folder already, or no folder that it could be written to.
    """
    given = as_path(path, "checkpoint")
    target, named = Path(os.path.realpath(given)), f"checkpoint is {str(given)!r}"
    if target.is_dir():
        raise IsADirectoryError(f"{named}, which is a folder")
    if target.exists():
        raise FileExistsError(f"{named}, where there is a file already: resume its run, or remove it")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{named}, but {target.parent} is no folder")
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(f"{named}, but {target.parent} cannot be written to")
    return target
