"""The port between a burn and an open card."""

from __future__ import annotations

import errno
import mmap
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from .cards import Card


class Medium(Protocol):
    """An open card. Offsets and lengths are in bytes, and multiples of `alignment`.

    Buffers are those of `buffer`: direct transfers want memory that begins on a page. Errors are OSError, as
    the system gives them. Safe to use from threads.
    """

    size: int
    alignment: int

    def read(self, offset: int, into: memoryview) -> None:
        """Fill `into` with what the medium itself holds, not with what memory still holds of it."""

    def write(self, offset: int, data: memoryview) -> None:
        """Write all of `data`; it may be on the medium only after `sync`."""

    def sync(self) -> None:
        """Wait until everything that was written is on the medium; raises where any of it failed."""


class Opener(Protocol):
    """Opens cards of one platform for writing, alone."""

    def open(self, card: Card) -> AbstractContextManager[Medium]:
        """The card, which nobody else can open for writing or mount meanwhile.

        Raises RefusedError where somebody else has it, or where what is open is not the card that was found:
        another identity, another size. A file that is not there is made with `size` bytes.
        """


def in_full(move: Callable[[int], int], offset: int, length: int) -> None:
    """Transfer so many bytes from a place of the card on, however few the system takes at once.

    `move` is told how many are done, and says how many more are after it. Raises OSError where it gets on no
    further.
    """
    done = 0
    while done < length:
        count = move(done)
        if not 0 < count <= length - done:
            raise OSError(errno.EIO, f"nothing more can be transferred at byte {offset + done}")
        done += count


def buffer(length: int) -> memoryview:
    """Memory that begins on a page, for direct transfers (open(2), O_DIRECT)."""
    return memoryview(mmap.mmap(-1, length))
