"""The image while it is burned: opened once, so that a rebuild meanwhile changes nothing of it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from stat import S_ISBLK

from ..errors import MetisError, reason_of
from ..raw import hashing


class Image:
    """An image that is open for reading, of `size` bytes. Safe to use from threads.

    A rebuild renames a new file over it; what is open stays what it was. All reads raise MetisError where the
    image cannot be read or ends too early.
    """

    def __init__(self, path: Path, file: FileIO) -> None:
        self.size = file.seek(0, os.SEEK_END)
        self._path = path
        self._file = file

    @property
    def status(self) -> os.stat_result:
        """What fstat(2) says of it."""
        return os.fstat(self._file.fileno())

    def is_at(self, path: str) -> bool:
        """Whether it is what is at a path, by whatever name."""
        with suppress(OSError, ValueError):
            own, other = self.status, os.stat(path)  # noqa: PTH116 - a device of Windows is no Path
            is_same_device = S_ISBLK(own.st_mode) and S_ISBLK(other.st_mode) and own.st_rdev == other.st_rdev
            return is_same_device or os.path.samestat(own, other)
        return False

    def read(self, start: int, end: int) -> bytes:
        """Its bytes from one place up to another."""
        data = bytearray(end - start)
        self.read_into(start, memoryview(data))
        return bytes(data)

    def read_into(self, offset: int, into: memoryview) -> None:
        """Fill `into` with its bytes from `offset` on."""
        try:
            while into:
                count = hashing.read_into(self._file.fileno(), into, offset)
                if count == 0:
                    raise OSError(errno.EIO, f"it ends at byte {offset}")
                offset, into = offset + count, into[count:]
        except OSError as error:
            raise MetisError(f"cannot read {self._path}: {reason_of(error)}") from error


@contextmanager
def open_image(path: Path) -> Iterator[Image]:
    """The image while the block runs. Raises MetisError where it cannot be opened."""
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise MetisError(f"cannot read {path}: {reason_of(error)}") from error
    with file:
        yield Image(path, file)
