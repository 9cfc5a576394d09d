"""The partition table of an image, fitted to the card that it is burned to: pure work on bytes.

A GPT's backup moves to the card's end (UEFI 2.10, 5.3), and the last partition grows there; what it holds is
grown by the node at its first boot. No program is asked, as none is there on every flash host. What is not
understood stays as it is: a card that is not filled is right, and one with a broken table is lost.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from ..raw.ranges import PIECE

SECTOR = 512
"""Bytes: images have partition tables in sectors of this size, and start from no other disk."""
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


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of a table: its place in the head, and the half-open range of sectors that it stands for."""

    at: int
    start: int
    end: int


def fitted(head: bytes, image_size: int, size: int) -> Table:
    """The changes for a card of `size` bytes; `head` is the first MiB of an image of `image_size` bytes.

    Patches neither overlap nor leave the card, and there are none for a card that is not larger than the
    image. Later ranges of `stale` may overlap earlier ones.
    """
    sectors, old = size // SECTOR, image_size // SECTOR
    gpt = _Gpt.read(head, old)
    entries: Sequence[_Entry] = gpt.entries if gpt else _mbr(head, old)
    patches: tuple[Patch, ...] = ()
    if sectors > old and image_size % SECTOR == 0:
        if gpt:
            patches, entries = gpt.fitted(head, sectors)
        elif entries:
            patches, entries = _fitted_mbr(entries, sectors)
    return Table(patches, tuple(_stale(entries, size)))


def _stale(entries: Sequence[_Entry], size: int) -> Iterator[tuple[int, int]]:
    """Where programs look for the signatures of file systems, arrays and pools: the ends of every partition,
    and the end of the card, which is also where its second partition table would be."""
    for each in entries:
        start, end = each.start * SECTOR, min(each.end * SECTOR, size)
        if start < end:
            yield start, min(start + PIECE, end)
            yield max(end - PIECE, start), end
    if size > 0:
        yield max(size - PIECE, 0), size


def _grown(entry: _Entry, limit: int) -> _Entry:
    """The entry up to the last whole MiB before `limit` (in sectors), if that is worth a MiB."""
    step = PIECE // SECTOR
    end = limit // step * step
    return replace(entry, end=end) if end - entry.end >= step else entry


def _are_apart(entries: Sequence[_Entry], first: int, end: int) -> bool:
    """Whether the entries, in the order of the disk, lie in this range of sectors and not over each other."""
    return all(first <= each.start < each.end <= end for each in entries) and all(
        before.end <= after.start for before, after in pairwise(entries)
    )


# ---------------------------------------------------------------------------------------------- MBR

_MBR_ENTRY = struct.Struct("<B3sB3sII")
_MBR_ENTRIES = range(446, 510, 16)
_MBR_SIGNATURE = b"\x55\xaa"
_CONTAINERS = frozenset({0x05, 0x0F, 0x15, 0x1F, 0x85, 0x91, 0x9B, 0xC5, 0xCF, 0xD5})
"""Extended partitions in the types of all who made some (fdisk's list): what is in them has its own chain."""
_PROTECTIVE = 0xEE
_MBR_LIMIT = 0xFFFF_FFFF  # a sector's number has 32 bits, and so has a count of them
_HEADS, _TRACK, _CYLINDERS = 255, 63, 1024


def _mbr(head: bytes, sectors: int) -> tuple[_Entry, ...]:
    """The primary partitions in the order of the disk; none where it is not just an MBR, and a sound one.

    A file system's boot sector ends with the same signature and has other bytes where the entries are.
    """
    if head[510:512] != _MBR_SIGNATURE or head[512:520] == _GPT_SIGNATURE:
        return ()
    found = []
    for at in _MBR_ENTRIES:
        active, _, kind, _, start, count = _MBR_ENTRY.unpack_from(head, at)
        if active & 0x7F or kind in _CONTAINERS or kind == _PROTECTIVE:
            return ()
        if kind:
            found.append(_Entry(at, start, start + count))
    found.sort(key=lambda each: each.start)
    return tuple(found) if _are_apart(found, 1, sectors) else ()


def _fitted_mbr(entries: Sequence[_Entry], sectors: int) -> tuple[tuple[Patch, ...], Sequence[_Entry]]:
    last = _grown(entries[-1], min(sectors, _MBR_LIMIT))
    if last == entries[-1]:
        return (), entries
    count = (last.end - last.start).to_bytes(4, "little")
    return (Patch(last.at + 5, _chs(last.end - 1)), Patch(last.at + 12, count)), (*entries[:-1], last)


def _chs(sector: int) -> bytes:
    """A sector as sfdisk writes it into an MBR, by the geometry that all large disks say they have."""
    track, place = divmod(min(sector, _CYLINDERS * _HEADS * _TRACK - 1), _TRACK)
    cylinder, side = divmod(track, _HEADS)
    return bytes([side, place + 1 | cylinder >> 2 & 0xC0, cylinder & 0xFF])


# ---------------------------------------------------------------------------------------------- GPT

_GPT_SIGNATURE = b"EFI PART"
_GPT_HEADER = struct.Struct("<8s4sIIIQQQQ16sQIII")
_REVISION = b"\0\0\1\0"
_ENTRY_SIZE = 128  # the least there may be, and all that anybody makes
_ENTRIES_ROOM = BACKUP - SECTOR
_NO_TYPE = bytes(16)


@dataclass(frozen=True, slots=True)
class _Gpt:
    """A sound GPT of which a copy fits into 33 sectors at the end of a disk: the fields that are of use here.

    `entries` are those in use, in the order of the disk; `array` is the range of the head with all of them.
    """

    protective: int
    header: bytes
    alternate: int
    array: tuple[int, int]
    entries: tuple[_Entry, ...]

    @classmethod
    def read(cls, head: bytes, sectors: int) -> _Gpt | None:
        """The table in the head of a disk of so many sectors; None for another, and for a hybrid one.

        All is checked that UEFI 2.10 (5.3.2) has a reader check, and that nothing lies over anything.
        """
        protective = _protective(head)
        header = _header(head)
        if protective is None or header is None:
            return None
        fields = _GPT_HEADER.unpack_from(header)
        _, revision, _, _, _, own, alternate, first, last, _, place, count, entry_size, crc = fields
        array = place * SECTOR, place * SECTOR + count * entry_size
        sound = (
            revision == _REVISION
            and own == 1
            and place > own
            and entry_size == _ENTRY_SIZE
            and 0 < count * entry_size <= _ENTRIES_ROOM
            and array[1] <= min(first * SECTOR, len(head))
            and zlib.crc32(head[slice(*array)]) == crc
            and first <= last < alternate - _sectors(array)
            and alternate < sectors
        )
        if not sound:
            return None
        entries = sorted(_gpt_entries(head, *array), key=lambda each: each.start)
        if not _are_apart(entries, first, last + 1):
            return None
        return cls(protective, header, alternate, array, tuple(entries))

    def fitted(self, head: bytes, sectors: int) -> tuple[tuple[Patch, ...], Sequence[_Entry]]:
        """The patches for a larger disk of so many sectors, and the partitions that it has then."""
        backup = sectors - BACKUP // SECTOR
        if self.entries and self.entries[-1].end > backup:  # few entries had a smaller copy
            return (), self.entries
        array, entries = self._grown(head[slice(*self.array)], backup)
        main = self._header(array, 1, sectors - 1, backup, self.array[0] // SECTOR)
        copy = self._header(array, sectors - 1, 1, backup, backup)
        protected = min(sectors - 1, _MBR_LIMIT).to_bytes(4, "little")
        stale = (self.alternate - _sectors(self.array)) * SECTOR
        end = min((self.alternate + 1) * SECTOR, backup * SECTOR)
        return (
            Patch(self.protective + 12, protected),
            Patch(SECTOR, main),
            Patch(self.array[0], array),
            *((Patch(stale, bytes(end - stale)),) if stale < end else ()),
            Patch(backup * SECTOR, array.ljust(_ENTRIES_ROOM, b"\0") + copy.ljust(SECTOR, b"\0")),
        ), entries

    def _grown(self, array: bytes, limit: int) -> tuple[bytes, Sequence[_Entry]]:
        """The entries with the last partition as large as it may be before a sector."""
        if not self.entries:
            return array, ()
        last = _grown(self.entries[-1], limit)
        changed = bytearray(array)
        struct.pack_into("<Q", changed, last.at - self.array[0] + 40, last.end - 1)
        return bytes(changed), (*self.entries[:-1], last)

    def _header(self, array: bytes, own: int, other: int, backup: int, place: int) -> bytes:
        """The header at one of its two places, on a disk whose backup begins at a sector."""
        header = bytearray(self.header)
        struct.pack_into("<IIQQ", header, 16, 0, 0, own, other)
        struct.pack_into("<Q", header, 48, backup - 1)
        struct.pack_into("<Q", header, 72, place)
        struct.pack_into("<I", header, 88, zlib.crc32(array))
        struct.pack_into("<I", header, 16, zlib.crc32(header))
        return bytes(header)


def _sectors(array: tuple[int, int]) -> int:
    return -(-(array[1] - array[0]) // SECTOR)


def _protective(head: bytes) -> int | None:
    """The place of the only entry of a protective MBR; a hybrid one has others beside it."""
    if head[510:512] != _MBR_SIGNATURE:
        return None
    used = [at for at in _MBR_ENTRIES if head[at + 4]]
    is_alone = len(used) == 1 and head[used[0] + 4] == _PROTECTIVE
    starts = is_alone and int.from_bytes(head[used[0] + 8 : used[0] + 12], "little") == 1
    return used[0] if starts else None


def _header(head: bytes) -> bytes | None:
    """The bytes of a header whose signature, length and CRC are right."""
    if head[SECTOR : SECTOR + 8] != _GPT_SIGNATURE or len(head) < 2 * SECTOR:
        return None
    size, crc = struct.unpack_from("<II", head, SECTOR + 12)
    if not _GPT_HEADER.size <= size <= SECTOR:
        return None
    header = head[SECTOR : SECTOR + size]
    return header if zlib.crc32(header[:16] + bytes(4) + header[20:]) == crc else None


def _gpt_entries(head: bytes, start: int, end: int) -> Iterator[_Entry]:
    for at in range(start, end, _ENTRY_SIZE):
        if head[at : at + 16] != _NO_TYPE:
            first, last = struct.unpack_from("<QQ", head, at + 32)
            yield _Entry(at, first, last + 1)
