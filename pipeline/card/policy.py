"""Whether a card may be written: every reason against it at once, in plain words. Pure.

Nothing here can be talked out of but by `allow_fixed`, and that opens fixed disks only: a disk that is in use
stays one. What discovery could not find out counts against a card.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..errors import RefusedError, one_line
from .cards import SWAP, Card, Mount, size_in_words
from .table import SECTOR


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asked for: the card as it was `named`, and an image of `image_size` bytes for it.

    No card may be larger than `ceiling` bytes. `allow_fixed` is the operator's word that a disk which cannot
    be pulled out is meant. `system` says what mount points of this machine are ("/": "the running system").
    """

    named: str
    image_size: int
    ceiling: int
    allow_fixed: bool
    system: Mapping[str, str]


def refusals(card: Card, request: Request) -> tuple[str, ...]:
    """Every reason why the card must not be written, with what to do where that helps; none if it may be."""
    reasons = (*_in_use(card, request.system), *_unfit(card, request), *_not_meant(card, request))
    return tuple(dict.fromkeys(map(one_line, reasons)))


def refuse(card: Card, request: Request) -> None:
    """Raise RefusedError with all reasons in one line, where there are any."""
    reasons = refusals(card, request)
    if reasons:
        raise RefusedError(f"{request.named or card.path} is not written, as it {'; it '.join(reasons)}")


def _in_use(card: Card, system: Mapping[str, str]) -> Iterator[str]:
    for mount in card.mounts:
        if not mount.released or mount.point in system:
            yield _mounted(mount, system)
    for holder in card.holders:
        yield f"is in use by {holder}, which is built on it: take that apart first"
    for member in card.members:
        yield f"holds {member}, a part of a volume: wipe it with wipefs(8) if nobody needs that"
    for opener in card.openers:
        yield f"is open in {opener}: end that first"


def _mounted(mount: Mount, system: Mapping[str, str]) -> str:
    what = system.get(mount.point)
    if mount.point == SWAP:
        return f"holds {what or 'swap space'} in use, on {mount.device}"
    if what is not None:
        return f"holds {what}: {mount.device} is mounted on {mount.point}"
    return f"is in use: {mount.device} is mounted on {mount.point}, unmount it first"


def _unfit(card: Card, request: Request) -> Iterator[str]:
    if card.read_only:
        yield (
            "cannot be written: look for a lock on the card or its adapter, use sudo if only root may, "
            "and in a service look at DeviceAllow= of its unit"
        )
    if card.size <= 0:
        if card.kind != "file":
            yield "has no medium in it, or does not tell its size"
        return
    if card.size < request.image_size:
        yield f"is too small: it has {_compared(card.size, request.image_size)}"
    if card.size > request.ceiling:
        limit = f"{size_in_words(card.size)}, and the largest allowed is {size_in_words(request.ceiling)}"
        yield f"is larger than cards are here: it has {limit} (card.max_size)"
    if card.sector != SECTOR:
        told = f"has sectors of {card.sector} bytes" if card.sector > 0 else "does not tell its sector size"
        yield f"{told}: an image for {SECTOR} would not start from it"


def _compared(size: int, needed: int) -> str:
    have, need = size_in_words(size), size_in_words(needed)
    if have == need:
        have, need = f"{size} bytes", f"{needed} bytes"
    return f"{have}, and the image needs {need}"


def _not_meant(card: Card, request: Request) -> Iterator[str]:
    """Why a disk that stays in the machine is not taken for a card."""
    if card.kind == "file" or (card.kind == "disk" and card.removable):
        return
    kind = "is a loop device" if card.kind == "loop" else "is a fixed disk, not a card"
    if card.kind == "disk" and not card.names:
        yield f"{kind}, and has no lasting name by which it could be known"
    elif not request.allow_fixed:
        by = f", and name it as {card.names[0]}" if card.names else ""
        yield f"{kind}: if it is meant, say --allow-fixed{by}"
    elif card.kind == "disk" and not {request.named, posixpath.normpath(request.named)} & {*card.names}:
        yield f"{kind}: name it by its lasting name, {card.names[0]}"
