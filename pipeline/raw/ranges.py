"""Byte ranges: half-open pairs of places, joined, cut and taken from each other. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

BLOCK = 4096
"""Bytes: what is mapped or not is decided for so many at once, and transfers past the page cache are of whole
ones, which suits every disk and file system."""
PIECE = 1 << 20
"""Bytes: no range that is hashed, written or read again is longer."""
Ranges = tuple[tuple[int, int], ...]
"""Ordered half-open byte ranges that neither overlap nor touch."""


def merged(pieces: Iterable[tuple[int, int]], size: int) -> Ranges:
    """Byte ranges in any order, widened to whole blocks, cut at `size` and joined where they meet."""
    return joined(
        (start // BLOCK * BLOCK, min(-(-end // BLOCK) * BLOCK, size))
        for start, end in pieces
        if start < min(end, size)
    )


def joined(pieces: Iterable[tuple[int, int]]) -> Ranges:
    """Byte ranges in any order, joined where they meet, without those that are empty."""
    result: list[tuple[int, int]] = []
    for start, end in sorted(piece for piece in pieces if piece[0] < piece[1]):
        if result and start <= result[-1][1]:
            result[-1] = result[-1][0], max(result[-1][1], end)
        else:
            result.append((start, end))
    return tuple(result)


def split(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Cut byte ranges at the multiples of 1 MiB."""
    for start, end in ranges:
        while start < end:
            stop = min(start // PIECE * PIECE + PIECE, end)
            yield start, stop
            start = stop


def within(place: tuple[int, int], ranges: Ranges) -> bool:
    """Whether the ranges have all of a place that is not empty."""
    index = bisect_right(ranges, place[0], key=lambda each: each[0]) - 1
    return index >= 0 and place[1] <= ranges[index][1]


def outside(
    extents: Iterable[tuple[int, int]], places: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """What of the extents no place covers; both are in order."""
    index = 0
    for start, end in extents:
        while index < len(places) and places[index][1] <= start:
            index += 1
        behind = index
        while start < end:
            first, last = places[behind] if behind < len(places) else (end, end)
            if start < first:
                yield start, min(first, end)
            start, behind = max(start, last), behind + 1
