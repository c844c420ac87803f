"""Files that are whole or absent, and that say when they have been damaged.

A trajectory is an ``.npz``: NumPy arrays and one JSON text, no pickle, readable by ``numpy.load`` as well.
The zip comment at its end holds the SHA-256 of every byte before it, so that a cut or a flipped bit anywhere
is noticed.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from grokflow.memory import MemoryLimitError

MARK = b"grokflow solution, sha256 "
DIGEST = 64  # hexadecimal digits
HEADER = "json"
EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed time stamp: equal contents give equal files


class FileError(ValueError):
    """A file that cannot be read as what it should be; the message names the file and says why."""


@contextmanager
def contents_of(path: str | os.PathLike[str], kind: str) -> Iterator[None]:
    """Turn what falls where a whole file holds something else than a `kind` into a FileError."""
    try:
        yield
    except (FileError, MemoryLimitError, OSError):
        raise
    except Exception as error:  # NumPy, json and zipfile have a dozen kinds
        reason = " ".join(f"{type(error).__name__} {error}".split())
        raise FileError(f"{os.fspath(path)} is no {kind} of this version of grokflow: {reason}") from None


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A stream to write to; at the end what is at ``path`` is replaced by it, unless an exception falls.

    The file there is the old one or the new one, whole, at every moment, also after a loss of power.
    """
    target = Path(path)
    scratch = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with open(scratch, "xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(scratch, target)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # elsewhere folders cannot be opened, and need not be
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_scratch(path: Path) -> None:
    """Remove what processes that were killed within `replacing` have left; none may be in it now."""
    left = re.compile(rf"\.{re.escape(path.name)}\.\d+\.[0-9a-f]{{8}}")
    for beside in path.parent.iterdir():
        if left.fullmatch(beside.name):
            beside.unlink(missing_ok=True)


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path`` so that the file there is the old one or the new one, whole."""
    with replacing(path) as stream:
        stream.write(data)


@contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Keep others that ask likewise, processes or threads, from writing to ``path`` meanwhile.

    A lock of the operating system on a file beside it, which ends with the process however that ends. A file
    system without locks is taken as it is.

    Raises
    ------
    FileError
        Somebody else is writing to ``path``.
    """
    beside = path.with_name(f".{path.name}.lock")
    while True:
        handle = os.open(beside, os.O_RDWR | os.O_CREAT | getattr(os, "O_TEMPORARY", 0), 0o666)
        try:
            _lock(handle)
            if os.path.exists(beside) and os.path.samestat(os.fstat(handle), os.stat(beside)):
                break  # else its owner has removed it in between
        except BlockingIOError:
            os.close(handle)
            raise FileError(f"another run is writing to {path}; give each a file of its own") from None
        os.close(handle)
    try:
        yield
    finally:
        beside.unlink(missing_ok=True)
        os.close(handle)


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            raise BlockingIOError from None

else:
    import fcntl

    def _lock(handle: int) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            return  # no locks here: a run whose file has been replaced notices that by itself


def pack(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the bytes of an ``.npz`` with ``arrays`` and ``header`` (as JSON), closed by its checksum."""
    text = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    stream = io.BytesIO()
    try:
        with zipfile.ZipFile(stream, "w") as archive:
            for name, array in {HEADER: text, **arrays}.items():
                with archive.open(zipfile.ZipInfo(f"{name}.npy", EPOCH), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
            archive.comment = MARK + b"0" * DIGEST
    except ValueError as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # zipfile cannot close where one has come
            raise error.__context__ from None
        raise
    body = stream.getvalue()[:-DIGEST]
    return body + hashlib.sha256(body).hexdigest().encode()


def unpack(path: str | os.PathLike[str], version: int) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the header and the arrays that `pack` put into the file at ``path``.

    Raises
    ------
    FileError
        The file is cut short, damaged, of a later format than ``version``, or something else altogether.
    """
    data = Path(path).read_bytes()
    if not data.startswith(b"PK"):
        raise FileError(f"{path} is not a Solution file (those are .npz files written by Solution.save)")
    tail = data[-len(MARK) - DIGEST :]
    if not tail.startswith(MARK):
        if zipfile.is_zipfile(io.BytesIO(data)) and MARK not in tail:
            raise FileError(f"{path} is not a Solution file, or its end is missing")
        raise FileError(f"{path} is cut short after {len(data)} bytes: the end of the archive is missing")
    if hashlib.sha256(data[:-DIGEST]).hexdigest().encode() != data[-DIGEST:]:
        raise FileError(f"{path} is damaged: its checksum does not match its contents")
    with contents_of(path, "Solution file"):
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header: dict[str, Any] = json.loads(arrays.pop(HEADER).tobytes())
        found = int(header["version"])
    if found > version:
        raise FileError(
            f"{path} has format version {found}; this grokflow reads versions up to {version}. "
            "Upgrade grokflow to read it"
        )
    return header, arrays
