"""Which bytes two files have in common, where one was a copy of the other and then changed.

Where their file system keeps such bytes once (FICLONE, as on XFS and btrfs), it tells without one being read:
what is written to a shared block goes to another one. Elsewhere both are read and compared, which takes a
fraction of the time of hashing one.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from . import hashing
from .ranges import Ranges, joined, within

_FIEMAP = 0xC020660B  # FS_IOC_FIEMAP
_HEAD = struct.Struct("=QQIII4x")  # start, length, flags, mapped extents, room for extents
_EXTENT = struct.Struct("=QQQ16xI12x")  # logical, physical, length, flags
_SYNC = 1
_SHARED = 0x2000
_PLAIN = 0x1 | 0x1000 | _SHARED
"""The flags of an extent whose bytes are those of its blocks: last of a file, made of several, shared."""
_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class Stretch:
    """A half-open range of a file, and how far its blocks lie behind it on the disk, in bytes.

    A hole has no `shift`, and what cannot be told has 'unknown', which is no other's.
    """

    start: int
    end: int
    shift: int | str | None


UNKNOWN = "unknown"


def places(one: Path, other: Path, wanted: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Those of the wanted ranges, of at most 1 MiB each, that are the same in both; both must lie still."""
    same = ranges(one, other)
    if same:
        return [place for place in wanted if within(place, same)]
    with one.open("rb") as new, other.open("rb") as old:
        found = hashing.alike(new.fileno(), old.fileno(), wanted, lambda _: None)
        return [place for place, is_same in zip(wanted, found, strict=True) if is_same]


def ranges(one: Path, other: Path) -> Ranges:
    """The byte ranges that are the same in both for sure, nothing where the file system shares no blocks.

    Both must lie still meanwhile. What was written is brought to the disk first, where blocks are shared.
    """
    with suppress(OSError), one.open("rb") as new, other.open("rb") as old:
        if os.fstat(new.fileno()).st_dev == os.fstat(old.fileno()).st_dev and _shares(old.fileno()):
            size = min(os.fstat(file.fileno()).st_size for file in (new, old))
            return common(*(list(_stretches(file.fileno(), size)) for file in (new, old)))
    return ()


def common(one: Sequence[Stretch], other: Sequence[Stretch]) -> Ranges:
    """Where both have the same blocks, or both a hole; each covers all of its file, in order."""
    found = []
    first = second = 0
    while first < len(one) and second < len(other):
        ours, theirs = one[first], other[second]
        if ours.shift == theirs.shift != UNKNOWN:
            found.append((max(ours.start, theirs.start), min(ours.end, theirs.end)))
        first += ours.end <= theirs.end
        second += theirs.end <= ours.end
    return joined(found)


def _shares(descriptor: int) -> bool:
    return any(flags & _SHARED for *_, flags in _extents(descriptor, 0))


def _stretches(descriptor: int, size: int) -> Iterator[Stretch]:
    """All of a file, its holes too."""
    position = 0
    for logical, physical, length, flags in _extents(descriptor, _SYNC):
        if position < logical:
            yield Stretch(position, logical, None)
        position = logical + length
        yield Stretch(logical, position, UNKNOWN if flags & ~_PLAIN else physical - logical)
    if position < size:
        yield Stretch(position, size, None)


def _extents(descriptor: int, flags: int) -> Iterator[tuple[int, int, int, int]]:
    """What a file's blocks are, in order; raises OSError where the file system does not tell."""
    import fcntl  # Windows has none

    start = 0
    while True:
        answer = bytearray(_HEAD.size + _AT_ONCE * _EXTENT.size)
        _HEAD.pack_into(answer, 0, start, (1 << 64) - 1 - start, flags, 0, _AT_ONCE)
        fcntl.ioctl(descriptor, _FIEMAP, answer)
        count = _HEAD.unpack_from(answer)[3]
        if not count:
            return
        for number in range(count):
            logical, physical, length, about = _EXTENT.unpack_from(answer, _HEAD.size + number * _EXTENT.size)
            yield logical, physical, length, about
            start = logical + length
            if about & 1:
                return
