"""States on disk, written as they come: one ``.npy`` file with a record ``(t, w)`` for each recorded time.

The header that counts the records is rewritten after each of them, so that the file is a whole ``.npy`` at
every moment, up to the last complete snapshot: a run that is killed loses nothing before that.
``np.load(path, mmap_mode="r")["w"]`` opens it without grokflow.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np

from grokflow._validate import FloatArray
from grokflow.files import FileError

HEADER = 256  # bytes, enough for any size and count


def as_snapshot_path(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path of a file that snapshots can be written to.

    Raises
    ------
    ValueError
        If it does not end in ``.npy``.
    OSError
        If its folder does not exist or cannot be written to, or if there is a folder of that name.
    """
    target = Path(path).absolute()
    if target.suffix != ".npy":
        raise ValueError(f"save_states is {os.fspath(path)!r}; a file for states must end in .npy")
    if target.is_dir():
        raise IsADirectoryError(f"save_states is {os.fspath(path)!r}, which is a folder")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"save_states is {os.fspath(path)!r}, but {target.parent} is no folder")
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        raise PermissionError(f"save_states is {os.fspath(path)!r}, which cannot be written to")
    return target


class Snapshots:
    """A file that grows by one record with each call; the first call only begins it."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size, self.count = path, size, 0
        self._begun = False

    def __call__(self, t: float, w: FloatArray) -> float:
        """Append (t, w), as an observable of the flow, which is tried out once before the start."""
        if not self._begun:
            self.begin()
            return 0.0
        with open(self.path, "r+b") as stream:
            stream.seek(HEADER + self.count * 8 * (self.size + 1))
            stream.write(struct.pack("<d", t))
            stream.write(w.astype("<f8", copy=False).data)
            stream.flush()
            stream.seek(0)
            stream.write(_header(self.size, self.count + 1))
        self.count += 1  # last: an interrupt before it leaves this record to be written again
        return float(self.count)

    def begin(self) -> None:
        """Begin the file, empty; what is there is lost."""
        self.path.write_bytes(_header(self.size, 0))
        self._begun = True

    def states(self) -> FloatArray:
        """The states so far, shape (T, d): a read-only map of the file, so that they take no memory."""
        return read_snapshots(self.path)[1] if self.count else np.empty((0, self.size))


def read_snapshots(path: str | os.PathLike[str]) -> tuple[FloatArray, FloatArray]:
    """Return times, shape (T,), and states, shape (T, d), the latter as a read-only map of the file.

    Raises
    ------
    FileError
        If the file is not one of snapshots, or holds none.
    """
    try:
        records = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise FileError(f"{path} holds no states: {error}") from None
    if records.dtype.names != ("t", "w"):
        raise FileError(f"{path} is no file of states; those hold records (t, w)")
    return np.array(records["t"]), records["w"]


def _header(size: int, count: int) -> bytes:
    """The fixed-size header of a .npy (format 1.0) with `count` records."""
    descr = f"[('t', '<f8'), ('w', '<f8', ({size},))]"
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': ({count},), }}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", HEADER - 10) + text.ljust(HEADER - 11).encode() + b"\n"
