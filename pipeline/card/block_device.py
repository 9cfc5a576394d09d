"""A block device of Linux, opened for writing, alone."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from stat import S_ISBLK

from ..errors import RefusedError
from .cards import Card, changed
from .posix import open_to_write

LookAgain = Callable[[str], Card]
"""Finds what is at a path now."""

_BLKRRPART = 0x125F  # linux/fs.h


@contextmanager
def held(card: Card, look_again: LookAgain) -> Iterator[int]:
    """The device, which nobody else has mounted or claimed while the block runs.

    Raises RefusedError where somebody has, and where what is open is not the card that was found.
    """
    descriptor = open_to_write(card, os.O_EXCL)  # for a device: nobody has it mounted or claimed (open(2))
    try:
        _check(descriptor, card, look_again)
        try:
            yield descriptor
        finally:
            with suppress(OSError):  # that the kernel sees the new partitions is a courtesy
                fcntl.ioctl(descriptor, _BLKRRPART)
    finally:
        os.close(descriptor)


def _check(descriptor: int, card: Card, look_again: LookAgain) -> None:
    status = os.fstat(descriptor)
    if not S_ISBLK(status.st_mode):
        raise RefusedError(f"{card.path} is no disk", "name the device of a card")
    number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    found = look_again(card.path)
    if number != card.number or found.number != card.number or found.identity != card.identity:
        raise changed(card.path)
    if os.lseek(descriptor, 0, os.SEEK_END) != card.size:
        raise changed(card.path)
