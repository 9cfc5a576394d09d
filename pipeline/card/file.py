"""Burns an image to a plain file that stands for a card: write, read back, compare."""

from __future__ import annotations

import os
from pathlib import Path

from .. import bmap, durable, sparse
from ..artifacts import DEVICES, lies_below
from ..errors import MismatchError, RefusedError
from ..progress import Reporter


def burn(image: Path, expected: bmap.Bmap, card: Path, artifacts: Path, reporter: Reporter) -> None:
    """Write an image to `card` and compare what can be read there with its block map.

    Raises RefusedError for anything that is not a plain file (or nothing yet), for a place below /dev, where
    a name misspelt would fill memory, and for one below `artifacts`, which are not cards. Raises
    MismatchError when what is read back is not what was written; `card` is then what it was before.
    """
    if lies_below(card, artifacts):
        raise RefusedError(f"{card} is among the artifacts", "name a place outside of them")
    if lies_below(card, DEVICES) or (card.exists() and not card.is_file()):
        raise RefusedError(
            f"{card} is no place for a plain file",
            f"devices are not written yet: `bmaptool copy {image} {card}` does it",
        )
    with durable.beside(card) as part:
        with reporter.step(f"writing {card}", sparse.mapped_bytes(image)) as advance:
            sparse.copy(image, part, advance)
        _leave_page_cache(part)
        with reporter.step(f"reading {card} back", expected.mapped) as advance:
            wrong = bmap.difference(part, expected, advance)
        if wrong is not None:
            raise MismatchError(f"{card} differs from {image} at byte {wrong}", "its medium may be failing")
        durable.settle(part, card)


def _leave_page_cache(file: Path) -> None:
    """Sync a file and drop what memory holds of it: a read comes from the medium (posix_fadvise(2))."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
