"""An image that may be burned: it is what its receipt or its block map says, where there is either."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..cache.store import stamp_of
from ..card.here import here
from ..card.image import Image, open_image
from ..errors import MetisError, MismatchError, one_line
from ..machine.progress import Reporter
from ..raw import bmap, record
from ..raw.ranges import Ranges
from . import receipts
from .artifacts import bmap_of, receipt_of


@dataclass(frozen=True, slots=True)
class Burnable:
    """An open image, its block map with a hash for each MiB, and what is known of how it came to be.

    `subject` is the node's name, or the file's where no receipt says it; `slot` is where the record goes.
    """

    image: Image
    map: bmap.Bmap
    subject: str
    id: str = ""
    slot: int | None = None


@contextmanager
def opened(path: Path, reporter: Reporter, *, deep: bool = False) -> Iterator[Burnable]:
    """An image while it is burned; who builds it anew meanwhile does not disturb that.

    It is what its receipt, or a block map beside it, says: by its looks, or by its hashes where it looks
    otherwise and with `deep`; and the burn itself hashes all that it reads. Raises MismatchError where it is
    not, or where its receipt has a burn's record written over something else than the place for it.
    """
    with open_image(path) as image:
        receipt = receipts.read(path)
        if receipt is None and receipt_of(path).exists():
            hint = f"build it again, or remove {receipt_of(path).name} if it is of something else"
            raise MismatchError(f"{path} has a receipt that cannot be read", hint)
        try:
            described = _map(path, image, receipt, reporter, deep=deep)
        except MismatchError:
            if receipts.read(path) != receipt:
                raise MetisError(f"{path} was built anew meanwhile", "run again") from None
            raise
        if described.size != image.size:
            raise MismatchError(f"{path} is not as long as its block map says", "build it again")
        if receipt is None:
            yield Burnable(image, described, one_line(path.name.removesuffix(".img")))
        else:
            if receipt.slot is not None:
                _check_slot(path, image, described, receipt.slot)
            yield Burnable(image, described, receipt.subject, receipt.id, receipt.slot)


def _map(
    path: Path, image: Image, receipt: receipts.Receipt | None, reporter: Reporter, *, deep: bool
) -> bmap.Bmap:
    try:
        xml = bmap_of(path).read_bytes()
    except FileNotFoundError:
        if receipt is not None:
            raise MetisError(f"{path} has lost its block map", "build it again") from None
        reporter.note(f"nothing says what {path} must be: it is written as it is")
        return _unknown(path, image.size, reporter)
    if receipt is not None and hashlib.sha256(xml).hexdigest() != receipt.bmap_sha256:
        raise MismatchError(f"the block map of {path} is not what its receipt names", "build it again")
    found = bmap.parse(xml)
    if receipt is not None and not deep and stamp_of(image.status) == receipt.stamp:
        return found
    with reporter.step(f"{path.name}: checking its hashes", found.mapped) as advance:
        return bmap.refined(image.read_into, found, advance)


def _check_slot(path: Path, image: Image, described: bmap.Bmap, slot: int) -> None:
    """Before a card is touched: who wrote the receipt may have named the partition table."""
    end = slot + record.SIZE
    held = sum(max(0, min(each.end, end) - max(each.start, slot)) for each in described.ranges)
    if held != record.SIZE or image.read(slot, end) != record.blank():
        raise MismatchError(
            f"{path} has no place for the record of a burn where its receipt says", "build it again"
        )


def _unknown(path: Path, size: int, reporter: Reporter) -> bmap.Bmap:
    """A map of an image that came without one."""
    places: Ranges = ((0, size),)
    if here().knows_file_systems:
        from ..raw import mapped

        places = mapped.ranges(path)
    with reporter.step(f"{path.name}: hashing", sum(end - start for start, end in places)) as advance:
        return bmap.describe(path, places, advance)
