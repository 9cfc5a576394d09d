"""A copy of an image elsewhere, with its block map and a receipt of its own."""

from __future__ import annotations

from pathlib import Path
from stat import S_ISREG

from ..errors import RefusedError
from ..machine import durable
from ..machine.paths import DEVICES, lies_below
from ..machine.progress import Reporter
from ..raw import sparse
from . import receipts


def target_of(image: Path, output: Path, subject: str) -> Path:
    """Where an export of a subject's image goes: into a folder, or to a file.

    Raises RefusedError where something else would be lost.
    """
    target = (output / image.name if output.is_dir() else output).absolute()
    if target != image:
        _check(target, subject)
    return target


def export(image: Path, target: Path, reporter: Reporter) -> None:
    """Copy an image with its block map and its receipt; the receipt speaks of the copy.

    Raises RefusedError, with nothing written, as `target_of` does.
    """
    receipt = receipts.read(image)
    assert receipt is not None
    _check(target, receipt.subject)
    data = sparse.mapped_bytes(image)
    with durable.beside(target) as part:
        with reporter.step(f"copying to {target}", data) as advance:
            sparse.copy(image, part, advance)
        receipts.finish_copy(part, target, image, receipt)


def _check(target: Path, subject: str) -> None:
    """Raise RefusedError where an export would write over anything but an earlier one of its subject."""
    if lies_below(target, DEVICES):
        raise RefusedError(f"{target} is below {DEVICES}", "`metis burn --device` writes an image to a card")
    try:
        is_plain = S_ISREG(target.lstat().st_mode)
    except FileNotFoundError:
        return
    earlier = receipts.read(target) if is_plain else None
    if earlier is None or earlier.subject != subject:
        raise RefusedError(
            f"{target} is there, and is no image of {subject}", "name another place, or remove it first"
        )
