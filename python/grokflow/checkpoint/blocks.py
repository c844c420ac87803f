"""A file of checked blocks: written as a stream, whole or absent, and damaged nowhere unnoticed.

After a line that names the format come blocks: a length and a checksum (4 bytes each, little-endian), and
as many bytes. The checksum of a block goes on from that of the one before, so that none can be lost,
doubled or moved; an empty block ends the file. A reader checks all of it before it uses any, and names the
offset at which something is wrong.
"""

from __future__ import annotations

import os
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from grokflow.files import FileError, replacing

MAGIC = b"grokflow checkpoint\n"
HEAD = struct.Struct("<II")
BLOCK = 2**20  # bytes, at most


@contextmanager
def writing(path: Path) -> Iterator[BlockWriter]:
    """A file of blocks to write to; what is at `path` is replaced at the end, unless an exception falls."""
    with replacing(path) as stream:
        writer = BlockWriter(stream)
        yield writer
        writer.finish()


class BlockWriter:
    """Cuts a stream of bytes into blocks."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._checksum = 0
        stream.write(MAGIC)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append bytes."""
        view = memoryview(data).cast("B")
        for begin in range(0, len(view), BLOCK):
            self._buffer += view[begin : begin + BLOCK]
            while len(self._buffer) >= BLOCK:
                self._block(self._buffer[:BLOCK])
                del self._buffer[:BLOCK]
        return len(view)

    def finish(self) -> None:
        """Write what is left, and the end."""
        if self._buffer:
            self._block(self._buffer)
        self._block(b"")

    def _block(self, data: bytes | bytearray) -> None:
        self._checksum = zlib.crc32(data, self._checksum)
        self._stream.write(HEAD.pack(len(data), self._checksum))
        self._stream.write(data)


class BlockReader:
    """The bytes that a `BlockWriter` has written, all of them checked at once.

    Raises
    ------
    FileError
        The file is no checkpoint, cut short, longer than it says, or damaged.
    OSError
        It cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if self.path.is_fifo():  # whose other end might never write
            raise FileError(f"{self.path} is a pipe; a checkpoint is a file")
        with open(self.path, "rb") as stream:
            self._blocks = list(self._check(stream))
        self._stream = open(self.path, "rb")  # noqa: SIM115
        self._left = iter(self._blocks)
        self._buffer = memoryview(b"")

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def read(self, size: int = -1, /) -> bytes:
        """Return the next `size` bytes, or as many as there are; by default all."""
        size = sys.maxsize if size < 0 else size
        parts = bytearray()
        while len(parts) < size and self._fill():
            part = self._buffer[: size - len(parts)]
            parts += part
            self._buffer = self._buffer[len(part) :]
        return bytes(parts)

    def copy_to(self, target: IO[bytes], size: int | None) -> None:
        """Write the next `size` bytes to `target`, or all that are left."""
        left = sys.maxsize if size is None else size
        while left > 0 and (part := self.read(min(left, BLOCK))):
            target.write(part)
            left -= len(part)
        if size is not None and left > 0:
            raise FileError(f"{self.path} ends too soon: {left} bytes are missing")

    def _fill(self) -> bool:
        """Have bytes in the buffer, if there are any left."""
        while not self._buffer:
            found = next(self._left, None)
            if found is None:
                return False
            offset, length = found
            self._stream.seek(offset)
            self._buffer = memoryview(self._stream.read(length))
        return True

    def _check(self, stream: BinaryIO) -> Iterator[tuple[int, int]]:
        """Offset and length of each block."""
        if stream.read(len(MAGIC)) != MAGIC:
            raise FileError(f"{self.path} is no checkpoint of grokflow: it does not begin as one (offset 0)")
        checksum = 0
        while True:
            offset = stream.tell()
            head = stream.read(HEAD.size)
            if len(head) < HEAD.size:
                raise FileError(
                    f"{self.path} is cut short: it ends at offset {offset + len(head)}, inside a block"
                )
            length, expected = HEAD.unpack(head)
            data = stream.read(min(length, BLOCK + 1))
            if length > BLOCK:
                raise FileError(
                    f"{self.path} is damaged at offset {offset}: a block of {length} bytes is too long"
                )
            if len(data) < length:
                end = offset + HEAD.size + len(data)
                raise FileError(
                    f"{self.path} is cut short: it ends at offset {end}, inside the block at {offset}"
                )
            checksum = zlib.crc32(data, checksum)
            if checksum != expected:
                raise FileError(
                    f"{self.path} is damaged: the checksum of the block at offset {offset} does not match"
                )
            if length == 0:
                break
            yield offset + HEAD.size, length
        end = stream.tell()
        if stream.read(1):
            raise FileError(f"{self.path} is longer than it says: bytes follow its end at offset {end}")
