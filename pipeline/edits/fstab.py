"""fstab(5): by which name the partitions of the card are mounted, and what is mounted besides."""

from __future__ import annotations

import re

from .lines import Arguments, joined, lines

BOOT_POINTS = frozenset(("/boot", "/boot/firmware"))
BOOT_TYPES = frozenset(("auto", "msdos", "vfat"))
"""A /boot of another type is a partition of its own, and not the firmware's."""

# The device, the mount point and the type, with what stands before, between and after them.
_LINE = re.compile(r"([ \t]*)([^ \t#][^ \t]*)([ \t]+)([^ \t]+)([ \t]+)([^ \t]+)(.*)", re.DOTALL)
_ON_DISK = re.compile(r"(LABEL|UUID|PARTLABEL|PARTUUID|ID)=|/dev/")


def fstab(text: str, arguments: Arguments, _path: str) -> str:
    """Name the root and the firmware's partition by id, and put our own mounts last, in place of older ones.

    `root` and `boot` are the PARTUUIDs of the two, where they are to be changed; `mounts` has whole lines.
    """
    ours = lines(arguments.get("mounts", ""))
    points = {_mount_point(line) for line in ours}
    kept = [line for line in lines(text) if _mount_point(line) not in points]
    return joined([*(_by_id(line, arguments) for line in kept), *ours])


def _mount_point(line: str) -> str | None:
    match = _LINE.fullmatch(line)
    return _plain(match[4]) if match else None


def _plain(point: str) -> str:
    return point.rstrip("/") or "/"


def _by_id(line: str, arguments: Arguments) -> str:
    match = _LINE.fullmatch(line)
    if match is None or not _ON_DISK.match(match[2]):
        return line
    before, _, gap, point, space, kind, rest = match.groups()
    name = None
    if _plain(point) == "/":
        name = arguments.get("root")
    elif _plain(point) in BOOT_POINTS and kind in BOOT_TYPES:
        name = arguments.get("boot")
    return f"{before}PARTUUID={name}{gap}{point}{space}{kind}{rest}" if name else line
