"""Which bytes a card must hold after a burn, and in which order they may get there. Pure.

The card is not the image: the partition table fits the card's size, what an older use has left at places
where it could be taken for something is zero, and a record says what was burned. Everything else is the
image's mapped ranges. What a card must hold is known, extent by extent, before the first byte is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..errors import MetisError, MismatchError, RefusedError
from ..raw.bmap import Bmap
from ..raw.ranges import BLOCK, PIECE, merged, outside, split
from .table import BACKUP, SECTOR, Patch, fitted

HEAD = 1 << 20
"""Bytes at a card's start without which nothing boots from it: cleared first and written last."""

ReadImage = Callable[[int, int], bytes]
"""Gives the image's bytes from one place up to another."""


@dataclass(frozen=True, slots=True)
class Extent:
    """A half-open range of the card and the SHA-256, in hex, of what it must hold.

    `data` is that content where it is not the image's own at the same place.
    """

    start: int
    end: int
    sha256: str
    data: bytes | None = None

    @classmethod
    def of(cls, start: int, data: bytes) -> Extent:
        """The extent that holds `data` from a place on."""
        return cls(start, start + len(data), hashlib.sha256(data).hexdigest(), data)

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class BurnPlan:
    """What a card of `size` bytes must hold, in order and without overlaps.

    Without `head` nothing boots from it, and without `tail` nothing is taken for its second partition table:
    both are cleared before anything else is written, and come last.
    """

    size: int
    head: tuple[Extent, ...]
    body: tuple[Extent, ...]
    tail: tuple[Extent, ...]

    @property
    def extents(self) -> Sequence[Extent]:
        """All of it, in the order of the card."""
        return (*self.head, *self.body, *self.tail)

    @property
    def mapped(self) -> int:
        """How many bytes the card must hold."""
        return sum(each.size for each in self.extents)


def make(bmap: Bmap, size: int, read: ReadImage) -> BurnPlan:
    """The plan for a card of `size` bytes; its extents begin and end on blocks, or with the card.

    `bmap` has ranges that do not cross a multiple of 1 MiB; `read` is asked for the few that are not taken
    as they are. Raises MismatchError where one of those is not what the map says, RefusedError for a card
    that is smaller than the image, and MetisError for an image that ends within a sector.
    """
    if bmap.size % SECTOR:
        raise MetisError(
            f"the image ends within a sector: it has {bmap.size} bytes, and sectors have {SECTOR}",
            "it is cut off, or no image of a disk: make it again",
        )
    if size < bmap.size:
        raise RefusedError(
            f"the card has {size} bytes, and the image {bmap.size}", "take a larger card, or less headroom"
        )
    for each in bmap.ranges:
        if each.start // PIECE != (each.end - 1) // PIECE:
            raise MetisError(
                f"the block map has a range across {-(-(each.start + 1) // PIECE) * PIECE}", "make it again"
            )
    table = fitted(read(0, min(HEAD, bmap.size)), bmap.size, size)
    mapped = [Extent(each.start, each.end, each.sha256) for each in bmap.ranges]
    if mapped:
        mapped[-1] = _to_its_block(mapped[-1], size, read)
    wanted = [*table.stale, *((patch.start, patch.end) for patch in table.patches)]
    added = outside(merged(wanted, size), [(each.start, each.end) for each in mapped])
    extents = [*mapped, *(_zeros(start, end) for start, end in split(added))]
    extents.sort(key=lambda each: each.start)
    return _ordered(_patched(extents, table.patches, read), size)


def with_record(plan: BurnPlan, patch: Patch, read: ReadImage) -> tuple[BurnPlan, tuple[Extent, ...]]:
    """The plan with some of its bytes replaced, and the extents that this changes.

    Raises MetisError where the plan does not hold all of these bytes, and MismatchError as `make` does.
    """
    extents = _patched(plan.extents, (patch,), read)
    changed = tuple(new for new, old in zip(extents, plan.extents, strict=True) if new is not old)
    held = sum(min(each.end, patch.end) - max(each.start, patch.start) for each in changed)
    if held != len(patch.data):
        raise MetisError(
            f"the image maps no {len(patch.data)} bytes for the record at {patch.start}", "build it again"
        )
    return _ordered(extents, plan.size), changed


def _ordered(extents: Sequence[Extent], size: int) -> BurnPlan:
    backup = size // SECTOR * SECTOR - BACKUP
    head = tuple(each for each in extents if each.start < HEAD)
    behind = extents[len(head) :]
    tail = tuple(each for each in behind if each.end > backup)
    return BurnPlan(size, head, tuple(behind[: len(behind) - len(tail)]), tail)


def _to_its_block(last: Extent, size: int, read: ReadImage) -> Extent:
    """An image's last extent with zeros behind it where the image ends within a block: cards that are written
    past the cache take whole ones."""
    end = min(-(-last.end // BLOCK) * BLOCK, size)
    return (
        last if end == last.end else Extent.of(last.start, content(last, read).ljust(end - last.start, b"\0"))
    )


def _patched(extents: Sequence[Extent], patches: Sequence[Patch], read: ReadImage) -> list[Extent]:
    """The extents with patches over them; those that none touches stay the same objects."""
    result = []
    for each in extents:
        over = [patch for patch in patches if patch.start < each.end and each.start < patch.end]
        if not over:
            result.append(each)
            continue
        data = bytearray(content(each, read))
        for patch in over:
            first, last = max(patch.start, each.start), min(patch.end, each.end)
            piece = patch.data[first - patch.start : last - patch.start]
            data[first - each.start : last - each.start] = piece
        result.append(Extent.of(each.start, bytes(data)))
    return result


def content(each: Extent, read: ReadImage) -> bytes:
    """What an extent must hold, once it is known to be that; raises as `other_image` says."""
    if each.data is not None:
        return each.data
    data = read(each.start, each.end)
    if hashlib.sha256(data).hexdigest() != each.sha256:
        raise other_image(each.start)
    return data


def other_image(place: int) -> MismatchError:
    """The image has changed, or its file fails."""
    return MismatchError(
        f"the image is not what its block map says, at byte {place}", "build it again, with --deep"
    )


def _zeros(start: int, end: int) -> Extent:
    sha256, data = _zeros_of(end - start)
    return Extent(start, end, sha256, data)


@lru_cache(maxsize=16)
def _zeros_of(length: int) -> tuple[str, bytes]:
    """Most that is cleared is a MiB long: one of them is enough."""
    data = bytes(length)
    return hashlib.sha256(data).hexdigest(), data
