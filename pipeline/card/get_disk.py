"""Windows' own list of its disks: the question to PowerShell, and the cards in its answer. Pure.

The answer is a stranger's: what is missing, or no such value as Microsoft documents, is read as whatever
keeps a disk from being written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import MetisError, one_line
from .cards import SWAP, Card, Mount

QUESTION = r"""
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$bus = @{ n = 'BusType'; e = { [int]$_.CimInstanceProperties['BusType'].Value } }
$letter = @{ n = 'DriveLetter'; e = { "$($_.DriveLetter)".Trim([char]0) } }
$disks = @(Get-Disk | Select-Object Number, Path, Manufacturer, Model, FriendlyName, SerialNumber,
    Size, LogicalSectorSize, NumberOfPartitions, IsBoot, IsSystem, IsReadOnly, IsOffline, IsClustered, $bus)
$partitions = @(Get-Partition -ErrorAction SilentlyContinue |
    Select-Object DiskNumber, PartitionNumber, AccessPaths, MbrType, GptType, IsBoot, IsSystem, $letter)
$drives = @(Get-CimInstance -ClassName Win32_DiskDrive | Select-Object Index, Capabilities)
$pages = @(Get-CimInstance -ClassName Win32_PageFileUsage | Select-Object Name)
$answer = ConvertTo-Json -Depth 4 -Compress -InputObject ([ordered]@{
    Disks = $disks; Partitions = $partitions; Drives = $drives; PageFiles = $pages })
[regex]::Replace($answer, '[^\x20-\x7e]', { param($found) '\u{0:x4}' -f [int][char]$found.Value })
"""
"""What PowerShell is asked, of Windows 8 and later: for numbers of buses, as their names are translated, and
for ASCII, as what a console makes of the rest depends on its code page."""

WINDOWS = "[Windows]"
"""The mount point of what the running Windows needs to start or to run."""
LONGEST = 4 << 20
"""Bytes of an answer; a disk takes some hundred."""

_BUSES = dict(
    enumerate(
        "scsi,atapi,ata,1394,ssa,fibre channel,usb,raid,iscsi,sas,sata,sd,mmc,virtual,file backed virtual,"
        "storage spaces,nvme,scm,ufs".split(","),
        1,
    )
)
"""BusType of MSFT_Disk, which the names without case and spaces stand for as well."""
_BY_NAME = {name.replace(" ", ""): name for name in _BUSES.values()}
_CARD_SLOTS = frozenset({"usb", "mmc", "scsi"})
"""Buses whose disk is a card where its medium can be removed; an eMMC says MMC too, and cannot."""
_REMOVABLE_MEDIA = 7  # CIM_StorageDevice.Capabilities: "Supports Removable Media"
_HIGHEST_DISK = 4095
_MEMBERS_MBR = {0x42: "a dynamic disk", 0x8E: "LVM", 0xFD: "Linux RAID"}
_MEMBERS_GPT = {
    "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3": "a dynamic disk",
    "af9b60a0-1431-4f62-bc68-3311714a69ad": "a dynamic disk",
    "e75caf8f-f680-4cee-afa3-b001e56efc2d": "a storage pool",
    "e6d6d379-f507-44c2-a23c-238f2a3df928": "LVM",
    "a19d880f-05fc-4d3b-a006-743f0f84911e": "Linux RAID",
}
_VOLUME = re.compile(r"\\\\\?\\volume\{", re.IGNORECASE)
_LASTING = re.compile(r"\\\\\?\\[^\\]+#")
"""Device interface paths, which keep their device; no plain file has such a name."""
_LETTER = re.compile(r"[A-Za-z]")


def cards(answer: bytes) -> tuple[Card, ...]:
    """The disks in PowerShell's answer to QUESTION, in the order of their numbers.

    Raises MetisError where it cannot be told from the answer which disk is which.
    """
    data = _parsed(answer)
    partitions = _by_disk(_objects(data.get("Partitions")))
    removable = {
        number
        for each in _objects(data.get("Drives"))
        if (number := _count(each.get("Index"))) is not None
        and _REMOVABLE_MEDIA in map(_count, _listed(each.get("Capabilities")))
    }
    paged = {
        name[:1].upper() for each in _objects(data.get("PageFiles")) if (name := _text(each.get("Name")))
    }
    found: dict[int, Card] = {}
    for disk in _objects(data.get("Disks")):
        number = _number(disk, "Number")
        if number in found:
            raise _bad(f"there are two disks {number}")
        found[number] = _card(number, disk, partitions.get(number, []), number in removable, paged)
    # Partitions of no disk are of one that came between two questions, and is seen at the next look.
    return tuple(found[number] for number in sorted(found))


def _card(
    number: int,
    disk: Mapping[str, Any],
    partitions: list[Mapping[str, Any]],
    removable: bool,
    paged: set[str],
) -> Card:
    path = rf"\\.\PhysicalDrive{number}"
    bus = _bus(disk.get("BusType"))
    is_card = bus == "sd" or (removable and bus in _CARD_SLOTS)
    return Card(
        path=path,
        kind="disk",
        size=_count(disk.get("Size")) or 0,
        names=tuple(filter(_LASTING.match, (_text(disk.get("Path")),))),
        vendor=_text(disk.get("Manufacturer")),
        model=_text(disk.get("Model")) or _text(disk.get("FriendlyName")),
        serial=_text(disk.get("SerialNumber")),
        bus=bus,
        removable=is_card,
        read_only=_may_be(disk.get("IsReadOnly")),
        sector=_count(disk.get("LogicalSectorSize")) or 0,
        number=str(number),
        mounts=tuple(_mounts(path, disk, partitions, is_card, paged)),
        holders=tuple(_holders(disk)),
        members=tuple(_members(disk, partitions, bus)),
    )


def _mounts(
    path: str,
    disk: Mapping[str, Any],
    partitions: list[Mapping[str, Any]],
    removable: bool,
    paged: set[str],
) -> Iterator[Mount]:
    if any(_may_be(each.get(flag)) for each in (disk, *partitions) for flag in ("IsBoot", "IsSystem")):
        yield Mount(path, WINDOWS)
    for place, each in enumerate(partitions, 1):
        device = f"{path}, partition {_count(each.get('PartitionNumber')) or place}"
        letter = _text(each.get("DriveLetter"))
        points = {f"{letter.upper()}:\\": None} if _LETTER.fullmatch(letter) else {}
        points |= {_point(text): None for text in map(_text, _listed(each.get("AccessPaths"))) if text}
        for point in points:
            if not _VOLUME.match(point):  # a name that every volume has
                yield Mount(device, point, released=removable and point[1:] == ":\\")
                if point[:1] in paged and point[1:] == ":\\":
                    yield Mount(device, SWAP)


def _point(path: str) -> str:
    """A letter in capitals, as Windows shows it; another path as it is."""
    return path.upper() if re.fullmatch(r"[A-Za-z]:\\", path) else path


def _holders(disk: Mapping[str, Any]) -> Iterator[str]:
    if _may_be(disk.get("IsOffline")):
        yield "a virtual machine, perhaps, as it is offline in Windows"
    if _may_be(disk.get("IsClustered")):
        yield "a cluster"


def _members(disk: Mapping[str, Any], partitions: list[Mapping[str, Any]], bus: str) -> Iterator[str]:
    found: dict[str, None] = {}
    if bus == "storage spaces":
        found["a storage pool"] = None
    for each in partitions:
        of_mbr = _MEMBERS_MBR.get(_count(each.get("MbrType")) or 0)
        of_gpt = _MEMBERS_GPT.get(_text(each.get("GptType")).strip("{}").lower())
        found |= dict.fromkeys(filter(None, (of_mbr, of_gpt)))
    expected = _count(disk.get("NumberOfPartitions"))
    if expected is None or expected > len(partitions):
        found["partitions that Windows does not show"] = None
    yield from found


def _parsed(answer: bytes) -> Mapping[str, Any]:
    if len(answer) > LONGEST:
        raise _bad(f"it is longer than {LONGEST >> 20} MiB")
    try:
        data = json.loads(answer.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise _bad("it is no JSON in UTF-8") from None
    if not isinstance(data, dict) or "Disks" not in data:
        raise _bad("it has no list of disks")
    return data


def _objects(value: object) -> list[Mapping[str, Any]]:
    """A list of objects: PowerShell may say one without a list, none as null, some as a value and a count."""
    found = [each for each in _listed(value) if each is not None]
    if not all(isinstance(each, dict) for each in found):
        raise _bad("a list has something else than objects")
    return found


def _listed(value: object) -> list[Any]:
    if isinstance(value, dict) and value.keys() == {"value", "Count"}:
        value = value["value"]
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _by_disk(partitions: Iterable[Mapping[str, Any]]) -> dict[int, list[Mapping[str, Any]]]:
    found: dict[int, list[Mapping[str, Any]]] = {}
    for each in partitions:
        found.setdefault(_number(each, "DiskNumber"), []).append(each)
    return found


def _number(item: Mapping[str, Any], key: str) -> int:
    number = _count(item.get(key))
    if number is None or number > _HIGHEST_DISK:
        raise _bad(f"{key} is no number of a disk")
    return number


def _count(value: object) -> int | None:
    """A count that Windows can mean (UInt64), also where it is written as text."""
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,20}\s*", value):
        value = int(value)
    return value if type(value) is int and 0 <= value < 1 << 63 else None


def _text(value: object) -> str:
    return one_line(value.strip("\0 ")) if isinstance(value, str) else ""


def _bus(value: object) -> str:
    number = _count(value)
    if number is not None:
        return _BUSES.get(number, "")
    return _BY_NAME.get(_text(value).lower().replace(" ", ""), "")


def _may_be(value: object) -> bool:
    """Whether a flag is set, or is nothing that clearly says no."""
    return not (value is False or (type(value) is int and value == 0) or _text(value).lower() == "false")


def _bad(reason: str) -> MetisError:
    return MetisError(f"PowerShell's list of disks cannot be used: {reason}", "see what `Get-Disk` says")
