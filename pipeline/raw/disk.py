"""The layout of a raw image: its partition table and what each partition holds.

sfdisk and blkid read the file itself, so neither root nor a mount nor an appliance is needed. Which blocks
must reach a card is in `mapped`; a device's own facts are the business of `pipeline.card`.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from ..errors import MetisError, reason_of
from ..machine import process
from . import blkid

ALIGNMENT = 1 << 20
"""Partitions end on a multiple of this many bytes, as sfdisk(8) and the makers of cards have it."""
GPT_BACKUP_SECTORS = 33
"""The second GPT at the end of a disk: 32 sectors of entries and a header (UEFI 2.10, 5.3)."""
_CONTAINERS = frozenset({"05", "0f", "85"})  # extended partitions, which hold logical ones
_PROTECTIVE = "ee"
_ACTIVE = 446  # where the first entry of an MBR has its boot flag
_QUIETLY = "--quiet --no-reread --no-tell-kernel".split()
"""No kernel uses the table of a file, and sfdisk waits a quarter of a second before it tells one."""
_KEEP_CONTENT = [*_QUIETLY, *"--wipe never --wipe-partitions never".split()]
_TIMEOUT = 60.0
_IDS = uuid.UUID("6d6e4f4e-2f64-5d2b-9b0e-3a0f6c1d7e55")
"""The namespace of the ids that follow from a name (RFC 9562, 5.5)."""


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition: `number` is the table's own; `start` and `size` are in bytes.

    `type` is a GUID in upper case (GPT) or two hex digits in lower case (MBR); `partuuid` is the partition's
    own id as the kernel takes it in `root=PARTUUID=`. `filesystem`, `label` and `uuid` are of what it holds,
    in blkid's words ("ext4", "vfat", "swap"), None where blkid knows nothing.
    """

    number: int
    start: int
    size: int
    type: str
    partuuid: str
    filesystem: str | None
    label: str | None
    uuid: str | None

    @property
    def end(self) -> int:
        """The first byte after the partition."""
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class Disk:
    """A partitioned image: `size` and `sector` are in bytes; partitions stand in the order of the table."""

    scheme: Literal["gpt", "dos"]
    size: int
    sector: int
    partitions: tuple[Partition, ...]


class NoTableError(MetisError):
    """An image without a partition table, or with one that nobody knows."""


def read(image: Path) -> Disk:
    """Read the partition table of a raw image and name what each partition holds.

    Extended partitions are left out; the logical ones in them are there. Raises MetisError, naming the file,
    when it cannot be read, has no partition table (NoTableError), is cut off, or has partitions that overlap
    or are empty.
    """
    size, table = _table(image)
    scheme = table.get("label")
    if scheme not in {"gpt", "dos"}:
        raise MetisError(f"{image} has a partition table of kind {scheme!r}", "use an image with GPT or MBR")
    sector = int(table.get("sectorsize", 512))
    rows = [row for row in table.get("partitions", []) if scheme == "gpt" or _type(row) not in _CONTAINERS]
    if not rows:
        raise MetisError(f"{image} has no partitions", "use an image of a whole disk")
    if scheme == "dos" and any(_type(row) == _PROTECTIVE for row in rows):
        raise MetisError(f"the GPT of {image} is damaged or cut off", "fetch the image again")
    _check_bounds(image, size, [(_number(row), row["start"] * sector, row["size"] * sector) for row in rows])
    return Disk(scheme, size, sector, tuple(_probe(image, row, sector, table) for row in rows))


def grow_last(image: Path, number: int, extra: int) -> Disk:
    """Make the file longer by `extra` bytes and the last partition reach to its end, aligned to 1 MiB.

    The file stays sparse; ids, types, names, flags and boot code stay as they are; a GPT's backup moves to
    the new end (sfdisk(8), -N). What the partition holds is not touched. Raises MetisError when `number`
    does not lie last on the disk, or `extra` gives it no room; the file then has its old length.
    """
    disk = read(image)
    partition = _last(image, disk, number)
    tail = GPT_BACKUP_SECTORS * disk.sector if disk.scheme == "gpt" else 0
    end = (disk.size + extra - tail) // ALIGNMENT * ALIGNMENT
    if extra <= 0 or end <= partition.end:
        raise MetisError(f"{extra} more bytes leave no room for partition {number} of {image}")
    sectors = (end - partition.start) // disk.sector
    os.truncate(image, disk.size + extra)
    try:
        with _kept(image, _ACTIVE):
            process.run(
                ["sfdisk", *_KEEP_CONTENT, "-N", str(number), str(image.absolute())],
                stdin=f"size={sectors}\n".encode(),
                timeout=_TIMEOUT,
            )
    except BaseException:
        os.truncate(image, disk.size)
        raise
    return read(image)


def with_own_ids(image: Path, owner: str) -> Disk:
    """Give a disk's partitions ids that follow from `owner`: no two owners' disks are taken for each other.

    A GPT's partitions get a GUID each; those of an MBR are named by the disk's id of 32 bits, which is set.
    """
    disk = read(image)
    words = ["sfdisk", *_QUIETLY]
    with _kept(image, _ACTIVE):
        if disk.scheme == "dos":
            process.run(
                [*words, "--disk-id", image.absolute(), f"0x{_own_id(owner).hex[:8]}"], timeout=_TIMEOUT
            )
        for partition in disk.partitions if disk.scheme == "gpt" else ():
            number = str(partition.number)
            guid = str(_own_id(f"{owner} {number}")).upper()
            process.run([*words, "--part-uuid", image.absolute(), number, guid], timeout=_TIMEOUT)
    _, table = _table(image)
    ids = {_number(row): _partuuid(row, table) for row in table["partitions"]}
    return replace(
        disk, partitions=tuple(replace(each, partuuid=ids[each.number]) for each in disk.partitions)
    )


def facts(disk: Disk, root: int, boot: int | None) -> dict[str, str]:
    """What an edit may need of an image whose partitions `root` and `boot` are: see `model.ImageFact`."""
    ids = {partition.number: partition.partuuid for partition in disk.partitions}
    return {"root_partuuid": ids[root], **({"boot_partuuid": ids[boot]} if boot is not None else {})}


def _own_id(owner: str) -> uuid.UUID:
    return uuid.uuid5(_IDS, owner)


@contextmanager
def _kept(image: Path, offset: int) -> Iterator[None]:
    """Keep a byte that sfdisk clears: some BIOSes start a GPT disk only if its protective MBR is active."""
    with image.open("rb+", buffering=0) as file:
        byte = os.pread(file.fileno(), 1, offset)
        yield
        os.pwrite(file.fileno(), byte, offset)


def _last(image: Path, disk: Disk, number: int) -> Partition:
    last = max(disk.partitions, key=lambda partition: partition.start)
    if last.number != number:
        raise MetisError(f"partition {number} of {image} cannot grow: partition {last.number} lies last")
    # A logical partition ends where its container does, and a container may lie behind everything else.
    if any(_type(row) in _CONTAINERS for row in _table(image)[1]["partitions"]):
        raise MetisError(f"partition {number} of {image} cannot grow: the disk has an extended partition")
    return last


def _table(image: Path) -> tuple[int, dict[str, Any]]:
    """The size of the image and what sfdisk says of it."""
    try:
        with image.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
    except OSError as error:
        raise MetisError(f"cannot read {image}: {reason_of(error)}") from error
    if size == 0:
        raise MetisError(f"{image} is empty", "make or fetch it again")
    said = process.run(["sfdisk", "--json", str(image.absolute())], timeout=_TIMEOUT, check=False)
    if b"does not contain a recognized partition table" in said.err:
        raise NoTableError(f"{image} has no partition table", "use a raw image of a whole disk")
    try:
        table: dict[str, Any] = json.loads(said.out.decode(errors="replace"), strict=False)["partitiontable"]
    except (ValueError, KeyError) as error:
        raise MetisError(f"cannot read the partition table of {image}: {said.last_words}") from error
    return size, table


def _type(row: dict[str, Any]) -> str:
    """A GUID in upper case, or an MBR type as two hex digits in lower case."""
    text = str(row["type"])
    return text.upper() if "-" in text else text.lower().rjust(2, "0")


def _number(row: dict[str, Any]) -> int:
    """The partition's number: sfdisk puts a `p` before it where the file's own name ends in a digit."""
    digits = re.search(r"[0-9]+\Z", row["node"])
    assert digits is not None
    return int(digits[0])


def _partuuid(row: dict[str, Any], table: dict[str, Any]) -> str:
    """As udev and the kernel spell it: a GUID in lower case, or an MBR's disk id and the number."""
    if "uuid" in row:
        return str(row["uuid"]).lower()
    return f"{int(str(table.get('id', '0')), 16):08x}-{_number(row):02x}"


def _check_bounds(image: Path, size: int, places: list[tuple[int, int, int]]) -> None:
    """Refuse (number, start, size) of partitions that are empty, outside the image or over each other."""
    places = sorted(places, key=lambda place: place[1])
    for number, start, length in places:
        if start <= 0 or length <= 0:
            raise MetisError(f"partition {number} of {image} has no size or no place")
        if start + length > size:
            missing = start + length - size
            raise MetisError(
                f"{image} is cut off: partition {number} needs {missing} more bytes", "fetch the image again"
            )
    for (number, start, length), (other, behind, _) in pairwise(places):
        if start + length > behind:
            raise MetisError(f"partitions {number} and {other} of {image} overlap")


def _probe(image: Path, row: dict[str, Any], sector: int, table: dict[str, Any]) -> Partition:
    """A partition with what blkid(8) finds in it."""
    start, size = row["start"] * sector, row["size"] * sector
    facts = blkid.probed(image, "--offset", str(start), "--size", str(size))
    return Partition(
        number=_number(row),
        start=start,
        size=size,
        type=_type(row),
        partuuid=_partuuid(row, table),
        filesystem=facts.get("ID_FS_TYPE"),
        label=_plain(facts.get("ID_FS_LABEL_ENC")),
        uuid=_plain(facts.get("ID_FS_UUID_ENC")),
    )


def _plain(encoded: str | None) -> str | None:
    r"""Undo blkid's encoding: `\x20` for a byte that is neither a plain letter nor UTF-8."""
    if encoded is None:
        return None
    return re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), encoded)
