"""What an image has that the base of which it is a copy has not, and writing just that.

Block maps tell without a byte being read which pieces may differ; in those, blocks are compared. So where
both files lie on a disk at hand, and the target far away, nothing travels but what differs.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from ..machine.progress import Advance
from .bmap import Bmap
from .ranges import BLOCK, Ranges, joined, split


def places(image: Bmap, base: Bmap) -> Ranges:
    """Where the two may differ: what only one of the maps says just so.

    Elsewhere both have the same hash for the same range, or neither maps anything: there both are zero.
    """
    return joined((each.start, each.end) for each in {*image.ranges} ^ {*base.ranges})


def write(image: Path, base: Path, ranges: Ranges, target: Path, advance: Advance = lambda _: None) -> None:
    """Give a copy of the base what the image has in these ranges; all three have the same size.

    `advance` is told the bytes that are written. Raises OSError.
    """
    with image.open("rb") as new, base.open("rb") as old, target.open("r+b") as copy:
        for start, end in split(ranges):
            piece = _read(new, start, end)
            for first, last in unlike(piece, _read(old, start, end)):
                copy.seek(start + first)
                advance(copy.write(piece[first:last]))


def unlike(one: bytes, other: bytes) -> Ranges:
    """The blocks of two pieces of the same length that are not the same, each run of them as one range."""
    return joined(
        (at, min(at + BLOCK, len(one)))
        for at in range(0, len(one), BLOCK)
        if one[at : at + BLOCK] != other[at : at + BLOCK]
    )


def _read(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)
