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
import secrets
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MARK = b"grokflow solution, sha256 "
DIGEST = 64  # hexadecimal digits
HEADER = "json"
EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed time stamp: equal contents give equal files


class FileError(ValueError):
    """A file that cannot be read as what it should be; the message names the file and says why."""


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path`` so that the file there is the old one or the new one, whole."""
    target = Path(path)
    scratch = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with open(scratch, "xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(scratch, target)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def pack(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the bytes of an ``.npz`` with ``arrays`` and ``header`` (as JSON), closed by its checksum."""
    text = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in {HEADER: text, **arrays}.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy", EPOCH), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
        archive.comment = MARK + b"0" * DIGEST
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
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header: dict[str, Any] = json.loads(arrays.pop(HEADER).tobytes())
        found = int(header["version"])
    except (KeyError, ValueError) as error:
        raise FileError(f"{path} is not a Solution file: {error}") from None
    if found > version:
        raise FileError(
            f"{path} has format version {found}; this grokflow reads versions up to {version}. "
            "Upgrade grokflow to read it"
        )
    return header, arrays
