"""The partition table of an image, fitted to the card that it is burned to: pure work on bytes.

A GPT's backup moves to the card's end (UEFI 2.10, 5.3), and the last partition grows there; what it holds is
grown by the node at its first boot. No program is asked, as none is there on every flash host.
"""

from __future__ import annotations

from dataclasses import dataclass

SECTOR = 512
BACKUP = 33 * SECTOR
"""Bytes of a GPT's backup at the end of a disk: 32 sectors of entries and a header."""


@dataclass(frozen=True, slots=True)
class Patch:
    """Bytes that a card has at a place instead of the image's."""

    start: int
    data: bytes

    @property
    def end(self) -> int:
        """The first byte after them."""
        return self.start + len(self.data)


@dataclass(frozen=True, slots=True)
class Table:
    """What a card's size changes: bytes to put over the image's, and ranges where what the image does not map
    must be zeros, lest something older is found there."""

    patches: tuple[Patch, ...]
    stale: tuple[tuple[int, int], ...]


def fitted(head: bytes, image_size: int, size: int) -> Table:
    """The changes for a card of `size` bytes; `head` is the first MiB of an image of `image_size` bytes."""
    raise NotImplementedError
