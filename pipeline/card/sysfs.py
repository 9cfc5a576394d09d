"""What the kernel shows of disks and partitions in sysfs(5), and udev in its links; by the kernel's names."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..machine.paths import DEVICES
from .lsblk import Fact

_LASTING = DEVICES / "disk/by-id"
_BLOCKS = Path("/sys/class/block")
_BTRFS = Path("/sys/fs/btrfs")
_NUMBER = re.compile(r"[0-9]+:[0-9]+")


def facts(points: Mapping[str, Sequence[str]]) -> dict[str, Fact]:
    """What is known of each disk and partition; `points` are where devices are mounted, by their numbers."""
    names, holders, behind = _lasting_names(), _holders(), dict(loops())
    found = {}
    for name in listed(_BLOCKS):
        own = _BLOCKS / name
        number = read(own / "dev")
        found[name] = Fact(
            names=tuple(sorted(names.get(number, ()))),
            sequence=read(own / "diskseq"),
            medium=read(own / "device/type") if name.startswith("mmcblk") else "",
            serial=read(own / "device/serial"),
            holders=(*listed(own / "holders"), *holders.get(number, ())),
            points=tuple(dict.fromkeys(points.get(number, ()))),
            behind=behind.get(name, ""),
        )
    return found


def loops() -> Iterator[tuple[str, str]]:
    """The loop devices and the files behind them."""
    for name in listed(_BLOCKS):
        if name.startswith("loop") and (behind := read(_BLOCKS / name / "loop/backing_file")):
            yield name, behind


def name_of(number: str) -> str:
    """A device by its number (major:minor)."""
    return Path(f"/sys/dev/block/{number}").resolve().name


def device(name: str) -> Path:
    """Where a device is opened."""
    return DEVICES / name.replace("!", "/")


def parts(name: str) -> list[str]:
    """The partitions of a disk."""
    return [each for each in listed(_BLOCKS / name) if (_BLOCKS / name / each / "partition").exists()]


def whole(name: str) -> str:
    """The disk that a partition is of; empty for what is no partition."""
    own = _BLOCKS / name
    return own.resolve().parent.name if (own / "partition").exists() else ""


def numbers(number: str) -> set[int]:
    """The numbers of a disk and its partitions, as stat(2) has them."""
    told = (number, *(read(_BLOCKS / each / "dev") for each in parts(name_of(number))))
    return {os.makedev(*map(int, each.split(":"))) for each in told if _NUMBER.fullmatch(each)}


def block_number(path: str | Path) -> str:
    """The number (major:minor) of the block device at a path, empty where there is none.

    Only what is called a device is looked at: a network's file could keep us waiting.
    """
    with suppress(OSError, ValueError):
        status = Path(path).stat() if DEVICES in Path(path).parents else None
        if status is not None and stat.S_ISBLK(status.st_mode):
            return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    return ""


def listed(folder: Path) -> list[str]:
    """The names in a folder, none where it cannot be listed."""
    with suppress(OSError):
        return sorted(each.name for each in folder.iterdir())
    return []


def read(file: Path) -> str:
    """What a small file says, nothing where it cannot be read."""
    with suppress(OSError):
        return file.read_bytes().decode(errors="surrogateescape").strip()
    return ""


def _lasting_names() -> dict[str, list[str]]:
    """The links that udev made, by the number of the device that each leads to."""
    found: dict[str, list[str]] = {}
    for link in listed(_LASTING):
        number = block_number(_LASTING / link)
        if number and link.isprintable():
            found.setdefault(number, []).append(str(_LASTING / link))
    return found


def _holders() -> dict[str, list[str]]:
    """What uses devices without being listed as their holder: loop devices, and btrfs on several disks."""
    found: dict[str, list[str]] = {}
    for name, behind in loops():
        if number := block_number(behind):
            found.setdefault(number, []).append(name)
    for volume in listed(_BTRFS):
        for name in listed(_BTRFS / volume / "devices"):
            if number := read(_BLOCKS / name / "dev"):
                found.setdefault(number, []).append(f"btrfs {volume}")
    return found
