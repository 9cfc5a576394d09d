"""What is mounted at a folder, and which place of which disk that is, as the kernel tells it."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .attaching import backing_of

_SECTOR = 512
"""Bytes of the unit in which sysfs counts, whatever the disk's own is."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A whole file system that is mounted: the number of its device (major:minor), and its kind."""

    device: str
    filesystem: str


def mount_of(descriptor: int, path: Path) -> Mount | None:
    """What is mounted at an open folder; None where the folder is not the top of a file system.

    `path` is the folder without links. See proc(5), /proc/pid/mountinfo.
    """
    about = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
    number = re.search(r"^mnt_id:\s*([0-9]+)$", about, re.MULTILINE)
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        words, _, rest = line.partition(" - ")
        own, _, device, top, point = words.split(" ")[:5]
        if number and own == number[1]:
            is_top = top == "/" and _plain(point) == str(path)
            return Mount(device, rest.split(" ")[0]) if is_top else None
    return None


def source_of(mount: Mount) -> tuple[Path, int] | None:
    """The disk or image that a mounted file system lies in, and the byte at which it begins.

    None for what is on no disk (tmpfs), on several (btrfs), or on what was built of some (device mapper).
    """
    device = Path("/sys/dev/block", mount.device)
    with suppress(OSError, ValueError):
        if (device / "partition").exists():
            return _node(device.resolve().parent), int((device / "start").read_text()) * _SECTOR
        if (device / "loop").exists():
            file, offset = backing_of(device.resolve().name)
            return (Path(file), int(offset)) if Path(file).exists() else None
        if not any((device / "slaves").iterdir()):
            return _node(device.resolve()), 0
    return None


def _node(device: Path) -> Path:
    """What opens a device of sysfs; raises ValueError where that cannot be told."""
    name = re.search(r"^DEVNAME=(.+)$", (device / "uevent").read_text(), re.MULTILINE)
    if name is None:
        raise ValueError(f"{device} has no name")
    return Path("/dev", name[1])


def _plain(text: str) -> str:
    r"""Undo the kernel's encoding: `\040` for a space."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
