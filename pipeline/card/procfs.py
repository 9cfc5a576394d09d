"""What the kernel says in proc(5) of the use of disks: what is mounted or swap space, and who has it open."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from ..errors import MetisError, one_line
from ..machine import mountinfo
from ..machine.paths import DEVICES
from .cards import SWAP
from .sysfs import block_number, listed, read

PROC = Path("/proc")


def points() -> dict[str, list[str]]:
    """Where devices are mounted, by their numbers: in this process's eyes, and in those of every other one.

    A file system may be mounted for a container only, and a mount may name another device than its number
    says (btrfs, overlays). Raises MetisError where nothing can be seen.
    """
    found: dict[str, list[str]] = {}
    seen = set()
    for process in ("self", *_processes()):
        try:
            space = (PROC / process / "ns/mnt").readlink()
        except OSError:
            continue
        if space in seen:
            continue
        seen.add(space)
        for mount in mounts(process):
            for number in {mount.number, block_number(mount.source)}:
                found.setdefault(number, []).append(mount.point)
    if not found:
        raise MetisError(f"cannot see what is mounted: {PROC}/self/mountinfo says nothing", "mount /proc")
    for path in swaps():
        found.setdefault(block_number(path), []).append(SWAP)
    return found


def mounts(process: str = "self") -> tuple[mountinfo.Mounted, ...]:
    """The mounts that a process sees."""
    return mountinfo.parse(read(PROC / process / "mountinfo"))


def swaps() -> Iterator[str]:
    """The files and devices that are swap space in use."""
    for line in read(PROC / "swaps").split("\n")[1:]:
        yield mountinfo.plain(line.split(" ")[0])


def openers(path: str, numbers: Iterable[int]) -> Iterator[str]:
    """The programs that have a plain file, or a device with one of the numbers, open just now."""
    for process in _processes():
        if int(process) == os.getpid():
            continue
        for handle in listed(PROC / process / "fd"):
            if _is_open(PROC / process / "fd" / handle, path, numbers):
                yield f"{one_line(read(PROC / process / 'comm')) or 'a program'} ({process})"
                break


def _processes() -> list[str]:
    return [name for name in listed(PROC) if name.isdigit()]


def _is_open(handle: Path, path: str, numbers: Iterable[int]) -> bool:
    # What a handle leads to is looked at only where its name fits: a network's file could keep us waiting.
    with suppress(OSError):
        leads_to = handle.readlink()
        if path and str(leads_to) == path:
            return True
        if numbers and DEVICES in leads_to.parents:
            status = handle.stat()
            return stat.S_ISBLK(status.st_mode) and status.st_rdev in numbers
    return False
