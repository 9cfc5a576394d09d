"""Images that are made on another disk than the one where they belong, such as one across a network.

Their base is fetched from there once. What goes back is a copy of the base, which the file system makes where
it lies if it can (copy_file_range(2): NFS from 4.2 on, SMB, and what shares blocks), and then what of the
image differs from it.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from ..cache.policy import DAY
from ..cache.store import Store
from ..errors import MetisError, MismatchError
from ..machine import durable
from ..machine.progress import Reporter
from ..raw import bmap, delta, sparse
from ..raw.ranges import Ranges
from . import receipts
from .artifacts import bmap_of, receipt_of

_UNUSED_FOR = 2 * DAY
"""Seconds; no image takes so long, so nobody is at work with what goes."""


def fetched(base: Path, store: Store, reporter: Reporter) -> Path:
    """Our own copy of a base, kept in our cache; whoever comes first fetches it, and all others wait.

    It is kept by its block map's hash: a base that was made again has the same id, and other bytes. Whichever
    was not used for two days goes then. Raises MetisError where the base has no receipt, MismatchError where
    it is not what its block map says.
    """
    receipt = receipts.read(base)
    if receipt is None:
        raise MetisError(f"{base} has no receipt", "build the class's base first")
    own = store.root / "bases" / f"{receipt.bmap_sha256}.img"
    with store.lock(receipt.bmap_sha256, f"fetching the base {receipt.subject}"):
        if not receipts.is_whole(own, deep=False, reporter=reporter):
            _drop_unused(durable.make_private(own.parent))
            _fetch(base, receipt, own, reporter)
        os.utime(receipt_of(own))  # when it was last used
    return own


def _fetch(base: Path, receipt: receipts.Receipt, own: Path, reporter: Reporter) -> None:
    described, subject = receipts.block_map(base, receipt), receipt.subject
    with durable.beside(own) as part:
        with reporter.step(f"{subject}: fetching the base", sparse.mapped_bytes(base)) as advance:
            sparse.copy(base, part, advance)
        with reporter.step(f"{subject}: checking the base", receipt.mapped) as advance:
            if described is None or bmap.difference(part, described, advance) is not None:
                raise MismatchError(f"{base} is not what its block map says", "remove it and run again")
        receipts.finish_copy(part, own, base, receipt)


def _drop_unused(folder: Path) -> None:
    for image in folder.glob("*.img"):
        receipt = receipt_of(image)
        with suppress(FileNotFoundError):  # somebody else drops it too
            last = (receipt if receipt.exists() else image).stat().st_mtime
            if time.time() - last > _UNUSED_FOR:
                for file in (receipt, bmap_of(image), image):
                    file.unlink(missing_ok=True)


def deliver(made: Path, own_base: Path, base: Path, target: Path, reporter: Reporter) -> None:
    """Put an image that was made of our copy of a base where that base is, under a name of nobody else's.

    All of it is copied where the base does not look as its receipt says: nobody knows what it holds then.
    Raises OSError, also where the folder of `target` is gone.
    """
    image = receipts.read(made)
    assert image is not None
    places, part = _differing(made, image, own_base, base), target.with_suffix(durable.PART)
    with reporter.step(f"{image.subject}: delivering") as advance:
        if places is None:
            sparse.copy(made, part, advance)
        else:
            sparse.copy(base, part)
            delta.write(made, own_base, places, part, advance)
        receipts.finish_copy(part, target, made, image)


def _differing(made: Path, image: receipts.Receipt, own_base: Path, base: Path) -> Ranges | None:
    """Where an image may be other than its base, None where nobody knows that."""
    own, theirs = receipts.read(own_base), receipts.read(base)
    if (
        own is None
        or theirs is None
        or (own.bmap_sha256, own.size) != (theirs.bmap_sha256, image.size)
        or not receipts.looks_as(base, theirs)
    ):
        return None
    ours, old = receipts.block_map(made, image), receipts.block_map(own_base, own)
    return delta.places(ours, old) if ours and old else None
