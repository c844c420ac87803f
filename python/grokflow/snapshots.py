"""States on disk, written as they come: one ``.npy`` file with a record for each recorded time.

A record holds the time ``t``, the weights ``w``, and a checksum of both in a field that is named after the
run. The header that counts the records is rewritten after each of them, so that the file is a whole ``.npy``
at every moment, up to the last complete record: a run that is killed loses nothing before that.
``np.load(path, mmap_mode="r")["w"]`` opens it without grokflow.

A run puts a new file in the place of an old one with its first record. Maps of the old one go on to show the
old states, and a run that finds another one's file in its place stops.
"""

from __future__ import annotations

import os
import re
import secrets
import struct
import zlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grokflow._validate import FloatArray, as_path
from grokflow.files import FileError, only_writer, write_atomically

HEADER = 256  # bytes, enough for any size and count
FIELDS = re.compile(rb"\('w', '<f8', \((\d{1,18}),\)\), \('run_([0-9a-f]{16})', .*'shape': \((\d{1,18}),\)")


def as_snapshot_path(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path of a file that snapshots can be written to.

    Raises
    ------
    TypeError, ValueError
        If it is no path, or does not end in ``.npy``.
    OSError
        If its folder does not exist or cannot be written to, or if there is a folder of that name.
    """
    target = as_path(path, "save_states").resolve()
    if target.suffix != ".npy":
        raise ValueError(f"save_states is {os.fspath(path)!r}; a file for states must end in .npy")
    if target.is_dir():
        raise IsADirectoryError(f"save_states is {os.fspath(path)!r}, which is a folder")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"save_states is {os.fspath(path)!r}, but {target.parent} is no folder")
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(f"save_states is {os.fspath(path)!r}, but {target.parent} cannot be written to")
    return target


@dataclass(frozen=True)
class Layout:
    """What the header says: which run has written the file, d, and how many records there are."""

    run: str
    size: int
    count: int

    @property
    def record(self) -> int:
        """The size of a record in bytes."""
        return 8 * (self.size + 2)

    @property
    def dtype(self) -> np.dtype[np.void]:
        """The type of a record."""
        return np.dtype([("t", "<f8"), ("w", "<f8", (self.size,)), (f"run_{self.run}", "<u8")])

    def header(self) -> bytes:
        """The fixed-size header of a .npy (format 1.0)."""
        descr = f"[('t', '<f8'), ('w', '<f8', ({self.size},)), ('run_{self.run}', '<u8')]"
        text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': ({self.count},), }}"
        return (
            b"\x93NUMPY\x01\x00" + struct.pack("<H", HEADER - 10) + text.ljust(HEADER - 11).encode() + b"\n"
        )

    def check(self, index: int, t: float, w: FloatArray) -> int:
        """The checksum of a record, which holds for this run and place only."""
        start = zlib.crc32(f"{self.run} {index}".encode())
        return zlib.crc32(np.ascontiguousarray(w, "<f8").data, zlib.crc32(struct.pack("<d", t), start))

    @staticmethod
    def of(header: bytes) -> Layout | None:
        """Read a header; None if it is anything else than one of these, to the last byte."""
        found = FIELDS.search(header)
        if found is None:
            return None
        layout = Layout(found[2].decode(), int(found[1]), int(found[3]))
        return layout if layout.header() == header else None


class Snapshots:
    """A file that grows by one record with each call; the first call of an observable is a trial."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size, self.count = path, size, 0
        self.run = secrets.token_hex(8)
        self._tried = False

    def writing(self) -> AbstractContextManager[None]:
        """What must surround calls: no other run may write to the same path meanwhile."""
        return only_writer(self.path)

    def __call__(self, t: float, w: FloatArray) -> float:
        """Append (t, w), unless this is the call in which a run tries its observables."""
        if self._tried:
            self.append(t, w)
        self._tried = True
        return float(self.count)

    def append(self, t: float, w: FloatArray) -> None:
        """Append (t, w); the first time begin a new file, in the place of what is there."""
        layout = Layout(self.run, self.size, self.count + 1)
        check = struct.pack("<Q", layout.check(self.count, t, w))
        record = struct.pack("<d", t) + w.astype("<f8", copy=False).tobytes() + check
        if self.count == 0:
            write_atomically(self.path, layout.header() + record)
        else:
            with open(self.path, "r+b") as stream:
                self._require_own(stream.read(HEADER))
                stream.seek(HEADER + self.count * layout.record)
                stream.write(record)
                stream.flush()
                stream.seek(0)
                stream.write(layout.header())
        self.count += 1  # last: an interrupt before it leaves this record to be written again

    def facts(self) -> dict[str, Any]:
        """What `take_up` needs, as JSON types."""
        return {"run": self.run, "count": self.count}

    def take_up(self, run: str, count: int) -> None:
        """Go on with the file of an earlier run, after its first `count` records."""
        self.run, self.count, self._tried = run, count, True
        if count == 0:
            return
        with open(self.path, "r+b") as stream:
            self._require_own(stream.read(HEADER))
            layout = Layout(run, self.size, count)
            end = HEADER + count * layout.record
            if stream.seek(0, os.SEEK_END) < end:
                raise FileError(
                    f"{self.path} is cut short: it must hold {count} states, for the run to go on"
                )
            stream.truncate(end)
            stream.seek(0)
            stream.write(layout.header())

    def _require_own(self, header: bytes) -> None:
        layout = Layout.of(header)
        if layout is None or layout.run != self.run:
            raise FileError(
                f"{self.path} no longer holds the states of this run: another one was written there"
            )

    def states(self) -> FloatArray | None:
        """The states so far, shape (T, d), as a read-only map of the file; None if it is there no more."""
        if not self.count:
            return np.empty((0, self.size))
        try:
            layout, records = _map(self.path)
        except (FileError, OSError):
            return None
        return records["w"][: self.count] if layout.run == self.run else None


def read_snapshots(path: str | os.PathLike[str]) -> tuple[FloatArray, FloatArray]:
    """Return times, shape (T,), and states, shape (T, d), the latter as a read-only map of the file.

    All records are read once, to check them.

    Raises
    ------
    FileError
        If the file is not one of snapshots, or is damaged.
    """
    layout, records = _map(path)
    return np.array(records["t"]), _checked(path, layout, records)


def reference_to(w: NDArray[Any] | None) -> dict[str, Any] | None:
    """Return path, run, size and count of the file that the states `w` are a map of, as JSON types.

    None for states that are in memory, or that are not the first ones of the file that is there now.
    """
    origin: Any = w
    while isinstance(origin, np.ndarray):
        records, origin = origin, origin.base
    if w is None or not isinstance(origin, mmap):
        return None
    path, layout = getattr(w, "filename", None), Layout.of(origin[:HEADER])
    first = w.ctypes.data - records.ctypes.data == 8 and w.strides == (8 * (w.shape[1] + 2), 8)
    if path is None or layout is None or not first or layout.size != w.shape[1]:
        return None
    try:
        there, _ = _map(path)
    except (FileError, OSError):
        return None
    return (
        {"path": str(path), "run": layout.run, "size": layout.size, "count": len(w)}
        if there.run == layout.run
        else None
    )


def read_reference(path: str, run: str, size: int, count: int) -> FloatArray:
    """Return the states that `reference_to` has described.

    Raises
    ------
    FileError
        If they are damaged, or no longer there.
    """
    layout, records = _map(path)
    if (layout.run, layout.size) != (run, size):
        raise FileError(
            f"{path} holds the states of another run (run {layout.run}, d = {layout.size}), not of this one "
            f"(run {run}, d = {size})"
        )
    if layout.count < count:
        raise FileError(f"{path} is damaged: it holds {layout.count} states; {count} were written")
    return _checked(path, layout, records[:count])


def _map(path: str | os.PathLike[str]) -> tuple[Layout, NDArray[np.void]]:
    """Return what the header says, and a map of the records."""
    with open(path, "rb") as stream:
        layout = Layout.of(stream.read(HEADER))
        if layout is None:
            raise FileError(
                f"{path} is no file of states, which hold records (t, w), or its header (the first {HEADER} "
                "bytes) is damaged"
            )
        whole = (os.fstat(stream.fileno()).st_size - HEADER) // layout.record
        if not 0 < layout.count <= whole <= layout.count + 1:  # a run may end between a record and its count
            raise FileError(f"{path} is damaged: its header counts {layout.count} states, it holds {whole}")
        return layout, np.memmap(stream, layout.dtype, "r", HEADER, (layout.count,))


def _checked(path: str | os.PathLike[str], layout: Layout, records: NDArray[np.void]) -> FloatArray:
    """Return the states of `records`, after a look at each."""
    for i, (t, w, check) in enumerate(records):
        if layout.check(i, t, w) != check:
            raise FileError(f"{path} is damaged: the checksum of record {i} does not match its contents")
    states: FloatArray = records["w"]
    return states
