"""Receipts: what an image or a base was made from, and what its file looked like when it was whole.

A file's presence proves nothing. An image is

- current   when its receipt names just what it would be made from, and the file has the size, times and inode
            that the receipt names; nothing is hashed for that, so it is an answer and no proof
- whole     when the file is what its receipt says: it has that size, those times and that inode, or else
            every mapped range has the hash of the block map
- there     when it is whole, and was made from just what it would be made from (`Lab.is_there`)

The receipt is written last, so a build that was cut off leaves none.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cache.store import stamp
from ..errors import MetisError, MismatchError
from ..machine import durable
from ..machine.progress import Reporter
from ..manifest_json import digest
from .artifacts import bmap_of, receipt_of

if TYPE_CHECKING:
    from ..raw import bmap
    from ..raw.disk import Disk

FORMAT = 1
LARGEST = 1 << 16
"""Bytes; ours have a few thousand."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LONGEST_SUBJECT = 255
_MOST = 1 << 63
"""No count of bytes is so large."""
_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is known of one image or base.

    `id` is the hash of everything that it was made from, which `made_from` names; `places` are the numbers
    of its root and boot partitions; `stamp` is the file's state, in bytes and nanoseconds. `secrets` says
    for people which source and versions the secrets in it came from; it decides about nothing. `slot` is the
    offset in bytes of the place that a burn fills with its record (`raw.record`), None where none is known.
    """

    subject: str
    id: str
    made_from: Mapping[str, Any]
    places: Mapping[str, int | None]
    size: int
    mapped: int
    bmap_sha256: str
    stamp: Mapping[str, int]
    secrets: Mapping[str, str] = field(default_factory=dict)
    slot: int | None = None
    format: int = FORMAT


def read(image: Path) -> Receipt | None:
    """The receipt of an image or base, None where there is none that can be read."""
    try:
        with receipt_of(image).open("rb") as file:
            return parse(file.read(LARGEST + 1))
    except OSError:
        return None


def parse(content: bytes) -> Receipt | None:
    """The receipt that a file holds, None where that is none.

    The file may be anybody's: what is given can be shown to people, counted with and written down again.
    """
    if len(content) > LARGEST:
        return None
    try:
        data = json.loads(content)
        _check(data, _DEEPEST)
        receipt = Receipt(**data)
    except (ValueError, TypeError, RecursionError):
        return None
    return receipt if _is_ours(receipt) else None


def _check(value: object, depth: int) -> None:
    """Raise ValueError for what is nested too deep, or has a text that cannot be written as UTF-8."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, dict | list):
        if depth == 0:
            raise ValueError
        for inner in [*value, *value.values()] if isinstance(value, dict) else value:
            _check(inner, depth - 1)


def _is_ours(receipt: Receipt) -> bool:
    maps = (receipt.made_from, receipt.places, receipt.stamp, receipt.secrets)
    counts = (receipt.size, receipt.mapped, 0 if receipt.slot is None else receipt.slot)
    return (
        receipt.format == FORMAT
        and all(isinstance(item, dict) for item in maps)
        and all(type(count) is int and 0 <= count < _MOST for count in counts)
        and all(_is_sha256(text) for text in (receipt.id, receipt.bmap_sha256))
        and _is_name(receipt.subject)
    )


def _is_sha256(text: object) -> bool:
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None


def _is_name(text: object) -> bool:
    """Whether a terminal can show it, and a line has room for it."""
    return isinstance(text, str) and 0 < len(text) <= _LONGEST_SUBJECT and text.isprintable()


def finish(
    part: Path,
    image: Path,
    subject: str,
    made_from: Mapping[str, Any],
    places: Mapping[str, int | None],
    reporter: Reporter,
    secrets: Mapping[str, str] | None = None,
    slot: int | None = None,
    *,
    layout: Disk | None = None,
    base: Path | None = None,
) -> None:
    """Make a finished part file the image: block map and image get their names, the receipt comes last.

    `layout` is the file's own, where it is read already. What the image still has in common with the `base`
    that it is a copy of is not hashed again.
    """
    described = _describe(part, layout, subject, reporter, base)
    xml = described.to_xml()
    receipt = Receipt(
        subject=subject,
        id=digest(made_from),
        made_from=made_from,
        places=places,
        size=described.size,
        mapped=described.mapped,
        bmap_sha256=hashlib.sha256(xml).hexdigest(),
        stamp={},
        secrets=secrets or {},
        slot=slot,
    )
    _put(part, image, xml, receipt)


def adopt(
    made: Path, image: Path, made_from: Mapping[str, Any], reporter: Reporter, *, deep: bool = False
) -> None:
    """Give an image or a base its place that somebody else has finished in the same file system.

    Raises MismatchError where it was not made from just this, or is not what its receipt says.
    """
    receipt = read(made)
    xml = bmap_of(made).read_bytes() if bmap_of(made).is_file() else b""
    if (
        receipt is None
        or receipt.id != digest(made_from)
        or receipt.bmap_sha256 != hashlib.sha256(xml).hexdigest()
        or not is_whole(made, deep=deep, reporter=reporter, receipt=receipt)
    ):
        raise MismatchError(f"what was made for {image} is not what was asked for", "run again")
    _put(made, image, xml, receipt)


def finish_copy(part: Path, target: Path, original: Path, receipt: Receipt) -> None:
    """Give a finished copy of an image or a base its name, the original's block map, and its own receipt."""
    _put(part, target, bmap_of(original).read_bytes(), receipt)


def block_map(image: Path, receipt: Receipt) -> bmap.Bmap | None:
    """The block map beside an image; None where there is none, or not the one that the receipt names."""
    from ..raw import bmap

    try:
        xml = bmap_of(image).read_bytes()
    except FileNotFoundError:
        return None
    return bmap.parse(xml) if hashlib.sha256(xml).hexdigest() == receipt.bmap_sha256 else None


def _put(part: Path, image: Path, xml: bytes, receipt: Receipt) -> None:
    """Have a finished file, its block map and its receipt take their places, in this order."""
    durable.settle(part, image)
    durable.write(bmap_of(image), xml)
    durable.write(receipt_of(image), durable.as_json(asdict(replace(receipt, stamp=stamp(image)))))


def to_data(image: Path) -> dict[str, Any]:
    """What the receipt beside an image says, for machines."""
    receipt = read(image)
    return {"image": str(image), **(asdict(receipt) if receipt else {})}


def _describe(
    part: Path, layout: Disk | None, subject: str, reporter: Reporter, base: Path | None
) -> bmap.Bmap:
    from ..raw import bmap, mapped
    from ..raw.ranges import split

    places = list(split(mapped.ranges(part, layout)))
    kept = _kept(part, base, places) if base else {}
    unread = [place for place in places if place not in kept]
    with reporter.step(f"{subject}: hashing", sum(end - start for start, end in unread)) as advance:
        fresh = bmap.describe(part, unread, advance)
    found = {**kept, **{(each.start, each.end): each for each in fresh.ranges}}
    return bmap.Bmap(fresh.size, tuple(found[place] for place in places))


def _kept(part: Path, base: Path, places: Sequence[tuple[int, int]]) -> Mapping[tuple[int, int], bmap.Range]:
    """Those of the places where a copy of a base has the base's bytes, with the hashes of the base's map.

    None where the base is not what its receipt says.
    """
    from ..raw import shared

    receipt = read(base)
    described = block_map(base, receipt) if receipt and looks_as(base, receipt) else None
    known = {(each.start, each.end): each for each in described.ranges} if described else {}
    same = shared.places(part, base, [place for place in places if place in known])
    return {place: known[place] for place in same}


def is_current(image: Path, made_from: Mapping[str, Any]) -> bool:
    """Whether the file looks as its receipt says, and was made from just this; nothing is hashed."""
    receipt = read(image)
    return (
        receipt is not None
        and receipt.id == digest(made_from)
        and image.is_file()
        and stamp(image) == receipt.stamp
    )


def is_whole(image: Path, *, deep: bool, reporter: Reporter, receipt: Receipt | None = None) -> bool:
    """Whether the file is what its receipt says; with `deep`, or when its stamp differs, by its hashes.

    `receipt` is the image's own, where it is read already.
    """
    receipt = receipt or read(image)
    now = _stamp(image)
    if receipt is None or now is None or now["size"] != receipt.size or not bmap_of(image).is_file():
        return False
    if now == receipt.stamp and not deep:
        return True
    if not _has_its_hashes(image, receipt, reporter):
        return False
    if now != receipt.stamp:
        _note_looks(image, receipt, now)
    return True


def _note_looks(image: Path, receipt: Receipt, looks: Mapping[str, int]) -> None:
    """Have the next look at an image that was copied or restored cost nothing again, if that is possible.

    Who looks holds no lock: what was built while they hashed has a receipt of its own, which stays.
    """
    if read(image) == receipt and _stamp(image) == looks:
        with suppress(MetisError):
            durable.write(receipt_of(image), durable.as_json(asdict(replace(receipt, stamp=looks))))


def looks_as(image: Path, receipt: Receipt) -> bool:
    """Whether a file has the size, the times and the inode that a receipt names; nothing is hashed."""
    return _stamp(image) == receipt.stamp


def _stamp(image: Path) -> Mapping[str, int] | None:
    try:
        return stamp(image)
    except OSError:
        return None


def _has_its_hashes(image: Path, receipt: Receipt, reporter: Reporter) -> bool:
    from ..raw import bmap

    described = block_map(image, receipt)
    if described is None:
        return False
    with reporter.step(f"{image.name}: checking its hashes", receipt.mapped) as advance:
        return bmap.difference(image, described, advance) is None
