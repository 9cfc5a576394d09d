"""Cards in what lsblk(8) says. Pure: its JSON and a few facts of sysfs in, cards out.

Models and serial numbers are the device's own words, and what is mounted may have any name. What is not
understood makes a card that the policy refuses (read-only, no size, no sector size), or no list at all; it
never makes one that looks free.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import MetisError, one_line
from .cards import Card, Mount

COLUMNS = "NAME,KNAME,PATH,TYPE,SIZE,RM,RO,TRAN,VENDOR,MODEL,SERIAL,LOG-SEC,MAJ:MIN,FSTYPE"
"""What is asked for; "MOUNTPOINTS" (util-linux 2.37 and later) or "MOUNTPOINT" comes with it."""
LARGEST = 1 << 62
"""Bytes: no card has more, whatever it says."""
_KINDS = {"disk": "disk", "loop": "loop"}
_NOT_CARDS = re.compile(r"(ram|zram|dm-|md|sr|fd|mtdblock|nbd)\d|mmcblk\d+(boot|gp)\d|mmcblk\d+rpmb")
"""Names in the kernel of what is no card, though some are of type "disk": eMMCs' boot areas, for one."""
_PATH = re.compile(r"/dev/[A-Za-z0-9][A-Za-z0-9/_.:!+-]*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.!+-]*")
_NUMBER = re.compile(r"\d{1,10}:\d{1,10}")
_MEMBERS = frozenset(
    "bcache bcachefs bluestore crypto_LUKS ceph_bluestore drbd jbd stratis vdo DM_snapshot_cow".split()
)
_NO, _YES = (False, 0, "0", "false"), (True, 1, "1", "true")
_Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fact:
    """What sysfs and the mount table tell of a disk or a partition.

    `names` are its links in /dev/disk/by-id, `sequence` is its diskseq, `medium` is what an mmc device says
    of its type ("SD", "MMC"); `holders` were built on it, `points` are where it is mounted. `filesystem` is
    what lies on it, where somebody looked, and `behind` is the file of a loop device.
    """

    names: tuple[str, ...] = ()
    sequence: str = ""
    medium: str = ""
    serial: str = ""
    holders: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    filesystem: str = ""
    behind: str = ""


NOTHING = Fact()


def parse(said: bytes, facts: Mapping[str, Fact]) -> tuple[Card, ...]:
    """The disks and loop devices in lsblk's JSON; `facts` go by the kernel's name.

    Raises MetisError where that is not what lsblk writes.
    """
    try:
        top = json.loads(said.decode(errors="replace"), strict=False)["blockdevices"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _bad("no list of devices") from None
    found: dict[str, Card] = {}
    for row in _rows(top):
        if row.get("type") not in _KINDS or _NOT_CARDS.match(_word(row, "kname", _NAME)):
            continue
        card = _card(row, facts)
        if card.kind == "loop" and card.size == 0:
            continue
        if card.path in found and found[card.path] != card:
            raise _bad(f"two devices called {card.path}")
        found[card.path] = card
    return tuple(found.values())


def is_member(filesystem: str) -> bool:
    """Whether what blkid(8) calls so is a part of something larger: of LVM, md, zfs, LUKS and the like."""
    return filesystem.endswith("_member") or filesystem in _MEMBERS


def _card(row: _Row, facts: Mapping[str, Fact]) -> Card:
    fact = facts.get(_word(row, "kname", _NAME), NOTHING)
    family = [row, *_descendants(row)]
    known = [facts.get(_text(each, "kname"), NOTHING) for each in family]
    mounts = [mount for each, its in zip(family, known, strict=True) for mount in _mounts(each, its)]
    built = [_text(each, "name") for each in family[1:] if each.get("type") != "part"]
    shown = {_text(each, "kname") for each in family}
    more = {one_line(holder) for its in known for holder in its.holders if holder not in shown}
    parts = [(_device(each), _filesystem(each, its)) for each, its in zip(family, known, strict=True)]
    return Card(
        path=_word(row, "path", _PATH),
        kind="loop" if row["type"] == "loop" else "disk",
        size=_size(row, "size"),
        names=tuple(sorted(fact.names)),
        vendor=_text(row, "vendor"),
        model=_text(row, "model"),
        serial=_text(row, "serial") or one_line(fact.serial),
        bus=_text(row, "tran") or ("mmc" if fact.medium else ""),
        removable=_is(row, "rm", _YES) or fact.medium == "SD",
        read_only=not _is(row, "ro", _NO),
        sector=_size(row, "log-sec"),
        number=_word(row, "maj:min", _NUMBER),
        sequence=one_line(fact.sequence),
        mounts=tuple(dict.fromkeys(mounts)),
        holders=tuple(sorted({*built, *more})),
        behind=fact.behind,
        members=tuple(dict.fromkeys(f"{device} ({held})" for device, held in parts if is_member(held))),
    )


def _descendants(row: _Row) -> Iterator[_Row]:
    """All below a device, each with its parents before it; json has bounded how deep that can go."""
    waiting = [*_rows(row.get("children", []))]
    while waiting:
        each = waiting.pop(0)
        yield each
        waiting += _rows(each.get("children", []))


def _mounts(row: _Row, fact: Fact) -> Iterator[Mount]:
    """Where a device is mounted, by lsblk and by the mount table: one may know what the other does not."""
    if "mountpoints" in row:
        told = row["mountpoints"]
    elif "mountpoint" in row:
        told = [row["mountpoint"]]
    else:
        raise _bad("nothing on what is mounted")
    points = told if isinstance(told, list) else [told]
    for point in (*points, *fact.points):
        if point is not None and point != "":
            shown = one_line(point) if isinstance(point, str) else ""
            yield Mount(_device(row), shown or "a place without a name")


def _filesystem(row: _Row, fact: Fact) -> str:
    return _text(row, "fstype") or fact.filesystem


def _device(row: _Row) -> str:
    return _text(row, "path") or _text(row, "name")


def _rows(value: object) -> list[_Row]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise _bad("devices that are none")
    return value


def _text(row: _Row, key: str) -> str:
    """A device's own words, fit for a terminal; empty where it has none."""
    value = row.get(key)
    return one_line(value) if isinstance(value, str) else ""


def _word(row: _Row, key: str, form: re.Pattern[str]) -> str:
    """One of the kernel's words, which the rest is found by."""
    value = row.get(key)
    if not isinstance(value, str) or not form.fullmatch(value.strip()):
        raise _bad(f"a device without a proper {key.upper()}")
    return value.strip()


def _size(row: _Row, key: str) -> int:
    """A number of bytes, 0 where it is none that makes sense."""
    value = row.get(key)
    if isinstance(value, str) and re.fullmatch(r" *[0-9]{1,19} *", value):
        value = int(value)
    return value if type(value) is int and 0 <= value <= LARGEST else 0


def _is(row: _Row, key: str, meant: Sequence[object]) -> bool:
    value = row.get(key)
    value = value.strip() if isinstance(value, str) else value
    return any(type(value) is type(each) and value == each for each in meant)


def _bad(what: str) -> MetisError:
    return MetisError(f"cannot understand what lsblk says: {what}", "see `lsblk --json`")
