"""An open card on Linux, a device or a plain file: what is written to it, and read from its medium.

Transfers are direct where that works (open(2), O_DIRECT): the page cache is of no use to what is written
once, and what is read back must come from the medium.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ..raw.ranges import BLOCK
from .medium import in_full

_BLKFLSBUF = 0x1261  # linux/fs.h


class DirectMedium:
    """An open card; see `medium.Medium`. What cannot be transferred directly goes through the page cache.

    After `sync` nothing is left there of what was written, so that a read comes from the medium either way.
    """

    def __init__(self, plain: int, direct: int | None, size: int, alignment: int) -> None:
        self.size = size
        self.alignment = alignment
        self._plain = plain
        self._direct = direct
        self._is_direct = False

    def read(self, offset: int, into: memoryview) -> None:
        """Fill `into`. Raises OSError, also where the card ends before."""
        self._transfer(offset, into, lambda descriptor, part, place: os.preadv(descriptor, [part], place))

    def write(self, offset: int, data: memoryview) -> None:
        """Write all of `data`. Raises OSError, also where the card takes no more of it."""
        self._transfer(offset, data, os.pwrite)

    def sync(self) -> None:
        """Wait for the medium (fsync(2)), and forget what memory holds of it."""
        os.fsync(self._plain)
        os.posix_fadvise(self._plain, 0, 0, os.POSIX_FADV_DONTNEED)
        if not self._is_direct:
            with suppress(OSError):  # files know no such thing, and only root may
                fcntl.ioctl(self._plain, _BLKFLSBUF)

    def _transfer(self, offset: int, data: memoryview, move: Callable[[int, memoryview, int], int]) -> None:
        in_full(lambda done: self._some(offset + done, data[done:], move), offset, len(data))

    def _some(self, offset: int, data: memoryview, move: Callable[[int, memoryview, int], int]) -> int:
        """Transfer a beginning of `data`; after a short transfer the rest may not be on whole blocks.

        Some file systems open a file for direct transfers and then know none (EINVAL). Where one has worked,
        an error is the card's own, and the page cache would only hide it.
        """
        whole = len(data) - len(data) % BLOCK
        if self._direct is not None and whole and offset % BLOCK == 0 and _is_on_block(data):
            try:
                count = move(self._direct, data[:whole], offset)
            except OSError as error:
                if error.errno != errno.EINVAL or self._is_direct:
                    raise
            else:
                self._is_direct = True
                return count
        return move(self._plain, data, offset)


def _is_on_block(data: memoryview) -> bool:
    """Whether direct transfers take this memory; what is only read from is never of ours."""
    return not data.readonly and ctypes.addressof(ctypes.c_char.from_buffer(data)) % BLOCK == 0


@contextmanager
def medium(descriptor: int, size: int, alignment: int) -> Iterator[DirectMedium]:
    """The medium behind a descriptor, with a second one for direct transfers where there can be one.

    Opened through the first, it is the same device or file whatever its path has become (proc(5)).
    """
    direct = None
    with suppress(OSError):
        direct = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC | os.O_DIRECT)
    try:
        yield DirectMedium(descriptor, direct, size, alignment)
    finally:
        if direct is not None:
            os.close(direct)
