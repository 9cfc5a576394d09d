"""Which bytes of an image must be written to a card.

On a used card a block that is skipped keeps its old bytes. So a hole in the sparse image may be skipped only
where nobody will ever read it as zeros: an allocated block of zeros (a journal, a file of zeros, an inode
table) must be zeros on the card too. Mapped is what holds data in the sparse file, or is allocated by its
file system; of a file system that we do not know, and before the first partition, where boot loaders and
their settings lie, it is everything.

What is not understood is mapped as a whole: that costs time and never harms a card. The partitions come from
`disk`; `bmap` writes the ranges down with their hashes.
"""

from __future__ import annotations

import re
import struct
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from . import disk, ext, sparse
from .ranges import Ranges, merged

_SWAP_HEADER = 1 << 16  # one page, which is 64 KiB at most (mkswap(8))


def ranges(image: Path, layout: disk.Disk | None = None) -> Ranges:
    """The byte ranges of a raw image that must be written, aligned to blocks; the last may end with the file.

    `layout` is the image's own, where it is read already. Raises MetisError as `disk.read` does.
    """
    layout = layout or disk.read(image)
    with image.open("rb") as file:
        pieces = [*_outside(layout), *sparse.extents(file.fileno())]
    for partition in layout.partitions:
        pieces += _clamped(_allocated(image, partition), partition)
    return merged(pieces, layout.size)


def _outside(layout: disk.Disk) -> Iterator[tuple[int, int]]:
    """All before the first partition, and a GPT's backup: its CRC covers the empty entries too."""
    yield 0, min(partition.start for partition in layout.partitions)
    if layout.scheme == "gpt":
        yield layout.size - disk.GPT_BACKUP_SECTORS * layout.sector, layout.size


def _clamped(pieces: Iterable[tuple[int, int]], partition: disk.Partition) -> Iterator[tuple[int, int]]:
    """Ranges counted from a partition's start, as ranges of the disk that do not leave it."""
    for start, end in pieces:
        yield partition.start + start, min(partition.start + end, partition.end)


def _allocated(image: Path, partition: disk.Partition) -> Iterable[tuple[int, int]]:
    """What the partition's file system uses, counted from the partition's start."""
    known: Iterable[tuple[int, int]] | None = None
    if partition.filesystem in ext.KINDS:
        known = _ext(image, partition)
    elif partition.filesystem == "vfat":
        known = _fat(image, partition)
    elif partition.filesystem == "swap":
        known = [(0, _SWAP_HEADER)]
    return [(0, partition.size)] if known is None else known


def _ext(image: Path, partition: disk.Partition) -> list[tuple[int, int]] | None:
    """All but the free blocks that dumpe2fs(8) lists; it knows of groups whose bitmap was never written.

    None, so everything, where the bitmaps cannot be trusted: a journal that waits to be replayed, an
    unclean state, checksums that do not fit.
    """
    said = ext.ask(["dumpe2fs"], image, partition)
    if said is None or said.code != 0:
        return None
    try:
        return _used(said.out.decode(errors="replace"))
    except (KeyError, ValueError):  # a volume's name may hold line breaks and play a field of the header
        return None


def _used(text: str) -> list[tuple[int, int]] | None:
    """The used byte ranges in what dumpe2fs printed, None for a file system that was not put away well."""
    header = dict(re.findall(r"^([A-Z][\w ]+): +(.+)$", text.partition("\nGroup ")[0], re.MULTILINE))
    if header["Filesystem state"] != "clean" or "needs_recovery" in header["Filesystem features"].split():
        return None
    block, count = int(header["Block size"]), int(header["Block count"])
    used, position = [], 0
    for line in re.findall(r"^  Free blocks: (.+)$", text, re.MULTILINE):
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", line):
            used.append((position, int(first) * block))
            position = (int(last or first) + 1) * block
    return [*used, (position, count * block)]


_BPB = struct.Struct("<11x HBHB HH x H 8x I I H")
_MIRROR_OFF = 0x80  # BPB_ExtFlags: only one of the FATs is kept
_FAT12_CLUSTERS, _FAT16_CLUSTERS = 4085, 65525  # from so many clusters on it is the next larger kind
_LARGEST_TABLE = 16 << 20
"""Bytes; 4 Mi clusters are 128 GiB. A larger table is not worth its memory."""


def _fat(image: Path, partition: disk.Partition) -> list[tuple[int, int]] | None:
    """The reserved sectors, the FATs, the root folder and every cluster that is not free (fatgen103).

    None, so everything, for a boot sector whose numbers do not fit each other or the partition. A chain is
    never followed, so none can lead astray.
    """
    with image.open("rb") as file:
        file.seek(partition.start)
        sector_size, per_cluster, reserved, fats, roots, small, short, large, long, flags = _BPB.unpack(
            file.read(_BPB.size)
        )
        sectors, fat_sectors = small or large, short or long
        system = reserved + fats * fat_sectors + -(-roots * 32 // max(sector_size, 1))
        clusters = (sectors - system) // max(per_cluster, 1)
        # As Linux has it: a volume without a 16 bit FAT size is FAT32, however few its clusters.
        wide = short == 0
        bits = 32 if wide else 12 if clusters < _FAT12_CLUSTERS else 16
        table_size = -(-(clusters + 2) * bits // 8)
        sound = (
            sector_size in {512, 1024, 2048, 4096}
            and per_cluster.bit_count() == 1
            and min(reserved, fats, clusters) > 0
            and (not (roots or flags & _MIRROR_OFF) if wide else clusters < _FAT16_CLUSTERS)
            and sectors * sector_size <= partition.size
            and table_size <= min(fat_sectors * sector_size, _LARGEST_TABLE)
        )
        if not sound:
            return None
        file.seek(partition.start + reserved * sector_size)
        entries = _entries(file.read(table_size), bits)
    data, cluster = system * sector_size, per_cluster * sector_size
    return [
        (0, data),
        *((data + a * cluster, data + b * cluster) for a, b in _runs(entries[2 : clusters + 2])),
    ]


def _entries(table: bytes, bits: int) -> Sequence[int]:
    """The entries of a FAT as numbers; only whether they are zero matters."""
    if bits == 12:  # noqa: PLR2004 - the kinds of FAT are named by it
        pairs = (int.from_bytes(table[at : at + 3], "little") for at in range(0, len(table), 3))
        return [half for pair in pairs for half in (pair & 0xFFF, pair >> 12)]
    entries = array("H" if bits == 16 else "I", table)  # noqa: PLR2004
    if sys.byteorder == "big":
        entries.byteswap()
    # The upper four bits of a FAT32 entry are reserved; an entry with only these counts as used: safe.
    return entries


def _runs(entries: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The half-open runs of indices whose entry is not zero."""
    start: int | None = None
    for index, entry in enumerate(entries):
        if entry and start is None:
            start = index
        elif not entry and start is not None:
            yield start, index
            start = None
    if start is not None:
        yield start, len(entries)
