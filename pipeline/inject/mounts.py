"""What is mounted at a folder, and which place of which disk that is, as the kernel tells it."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from ..machine import mountinfo
from ..machine.mountinfo import Mounted
from .attaching import backing_of

_SECTOR = 512
"""Bytes of the unit in which sysfs counts, whatever the disk's own is."""


def mount_of(descriptor: int, path: Path) -> Mounted | None:
    """What is mounted at an open folder; None where the folder is not the top of a file system.

    `path` is the folder without links.
    """
    about = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
    own = re.search(r"^mnt_id:\s*([0-9]+)$", about, re.MULTILINE)
    table = Path("/proc/self/mountinfo").read_bytes().decode(errors="surrogateescape")
    for mount in mountinfo.parse(table):
        if own and mount.id == own[1]:
            return mount if (mount.top, mount.point) == ("/", str(path)) else None
    return None


def source_of(mount: Mounted) -> tuple[Path, int] | None:
    """The disk or image that a mounted file system lies in, and the byte at which it begins.

    None for what is on no disk (tmpfs), on several (btrfs), or on what was built of some (device mapper).
    """
    device = Path("/sys/dev/block", mount.number)
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
