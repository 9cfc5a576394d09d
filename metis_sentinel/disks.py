"""The machine's disks and their wear, by sysfs (the kernel's `Documentation/ABI`)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from .host import Host
from .texts import amount, line

_MOST = 256
_SECTOR = 512
"""Bytes in which sysfs counts a disk's size, whatever its own sectors."""
_NO_DISKS = re.compile(r"(sr|fd)\d+|mmcblk\d+(boot\d+|rpmb|gp\d+)")
_RESERVES = {1: "normal", 2: "warning", 3: "urgent"}
"""What pre_eol_info says (JEDEC eMMC 5.0, EXT_CSD 267)."""
_OVER = 11
"""More than all of its estimated life, in tenths (EXT_CSD 268 and 269); 0 is not defined."""
Disk = Mapping[str, object]


def disks(host: Host) -> list[Disk]:
    """What is built of others, or lies in a file or in memory, has no device in sysfs and is left out."""
    found = []
    for name, _ in sorted(host.kernel.listed("/sys/block", 16 * _MOST)):
        if not _NO_DISKS.fullmatch(name) and host.kernel.has(f"/sys/block/{name}/device"):
            try:
                found.append(_disk(host, name))
            except (OSError, ValueError) as error:
                host.gap(f"disks: {name}", error)
    return found[:_MOST]


def _disk(host: Host, name: str) -> Disk:
    size = amount(host.kernel.read(f"/sys/block/{name}/size", 64)) * _SECTOR
    removable = host.kernel.read(f"/sys/block/{name}/removable", 64).strip() == b"1"
    about: dict[str, object] = {"name": line(name, 64), "size": amount(str(size)), "removable": removable}
    for key, files in (("model", ("device/model", "device/name")), ("serial", ("device/serial",))):
        said = next(filter(None, (_word(host, name, file) for file in files)), "")
        if said:
            about[key] = said
    wear = _wear(_word(host, name, "device/life_time"), _word(host, name, "device/pre_eol_info"))
    return {**about, "wear": wear} if wear else about


def _wear(life_time: str, pre_eol_info: str) -> dict[str, str | int]:
    """What an eMMC says of its two kinds of cells, the worse one, and of its spare blocks."""
    found: dict[str, str | int] = {}
    tenths = max(map(_hexadecimal, life_time.split()), default=0)
    if tenths:
        found["life_used"] = min(tenths, _OVER) * 10
    reserve = _RESERVES.get(_hexadecimal(pre_eol_info))
    if reserve:
        found["reserve"] = reserve
    return found


def _hexadecimal(word: str) -> int:
    return int(word, 16) if re.fullmatch(r"0x[0-9a-fA-F]{1,2}", word) else 0


def _word(host: Host, name: str, file: str) -> str:
    """What a file of a disk says; empty where there is none."""
    try:
        return line(host.kernel.read(f"/sys/block/{name}/{file}", 1 << 12), 256)
    except OSError:
        return ""
