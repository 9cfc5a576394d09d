"""Which file systems may be read and changed without a kernel: those of which we know all that it would do.

Pure: bytes in, a reason out. The fields are those of ext4's superblock (kernel.org, "Super Block") and of the
FAT specification (fatgen103).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

SUPERBLOCK = (1024, 1024)
"""Where an ext file system's is, and how long, in bytes."""
FAT_HEAD = 512
"""Bytes of a FAT's boot sector."""

_FEATURES = {
    "compat": {
        0x4: "has_journal",
        0x8: "ext_attr",
        0x10: "resize_inode",
        0x20: "dir_index",
        0x200: "sparse_super2",
        0x400: "fast_commit",
        0x1000: "orphan_file",
    },
    "incompat": {0x2: "filetype", 0x40: "extents", 0x80: "64bit", 0x200: "flex_bg", 0x2000: "csum_seed"},
    "ro_compat": {
        0x1: "sparse_super",
        0x2: "large_file",
        0x8: "huge_file",
        0x10: "uninit_bg",
        0x20: "dir_nlink",
        0x40: "extra_isize",
        0x400: "metadata_csum",
    },
}
"""Features that change nothing about what has to be done for a file, or whose part the library does."""
_OTHERS = {
    ("incompat", 0x10): "meta_bg",
    ("incompat", 0x100): "mmp",
    ("incompat", 0x400): "ea_inode",
    ("incompat", 0x4000): "large_dir",
    ("incompat", 0x8000): "inline_data",
    ("incompat", 0x10000): "encrypt",
    ("incompat", 0x20000): "casefold",
    ("ro_compat", 0x100): "quota",
    ("ro_compat", 0x200): "bigalloc",
    ("ro_compat", 0x2000): "project",
    ("ro_compat", 0x4000): "shared_blocks",
    ("ro_compat", 0x8000): "verity",
}
_JOURNAL, _RECOVER, _EXTENTS = 0x4, 0x4, 0x40
_ORPHANS = 0x1_0000
_CLEAN = 1
_MAGIC = 0xEF53


def why_not_ext(superblock: bytes, size: int) -> str:
    """Why an ext file system in a partition of `size` bytes is left alone; "" where there is no reason."""
    if len(superblock) < SUPERBLOCK[1] or _word(superblock, 0x38) & 0xFFFF != _MAGIC:
        return "it has no superblock"
    found = dict(zip(_FEATURES, struct.unpack_from("<3I", superblock, 0x5C), strict=True))
    strange = list(_strange(found))
    blocks = _word(superblock, 0x4) | _word(superblock, 0x150) << 32
    reasons = {
        "its journal waits to be replayed": found["incompat"] & _RECOVER,
        "it was not put away well": _word(superblock, 0x38) >> 16 != _CLEAN,
        "files without a name wait to be removed": _word(superblock, 0xE8) or found["ro_compat"] & _ORPHANS,
        f"it has {', '.join(strange)}": strange,
        # e2fsck would look for it, by an id that a stranger chose, among all disks of this machine.
        "its journal is on another device": _word(superblock, 0xE4)
        or (found["compat"] & _JOURNAL and not _word(superblock, 0xE0)),
        "it is not of Linux, or as old as the first ext2": _word(superblock, 0x48)
        or not _word(superblock, 0x4C),
        "it is larger than its partition": blocks << 10 + _word(superblock, 0x18) % 64 > size,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def has_extents(superblock: bytes) -> bool:
    """Whether new files of it are mapped by extents."""
    return bool(_word(superblock, 0x60) & _EXTENTS)


def why_not_fat(head: bytes, size: int) -> str:
    """Why a FAT in a partition of `size` bytes is left alone, by its boot sector; "" where nothing is."""
    if len(head) < FAT_HEAD or head[510:512] != b"\x55\xaa":
        return "it has no boot sector"
    sector, short = struct.unpack_from("<H", head, 11)[0], struct.unpack_from("<H", head, 22)[0]
    count = struct.unpack_from("<H", head, 19)[0] or _word(head, 32)
    if sector * count > size:
        return "it is larger than its partition"
    # BS_Reserved1, which Linux and Windows set while it is mounted
    if head[0x25 if short else 0x41] & 1:
        return "it was not put away well"
    return ""


def _word(data: bytes, offset: int) -> int:
    return int(struct.unpack_from("<I", data, offset)[0])


def _strange(found: dict[str, int]) -> Iterator[str]:
    for kind, bits in found.items():
        left = bits & ~sum(_FEATURES[kind])
        for bit in (1 << shift for shift in range(32) if left >> shift & 1):
            yield _OTHERS.get((kind, bit), f"{kind} feature {bit:#x}")
