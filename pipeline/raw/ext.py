"""Asks e2fsprogs of the ext file system in a partition of an image; nothing is mounted or changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..machine import process
from .disk import Partition

KINDS = frozenset({"ext2", "ext3", "ext4"})
_TIMEOUT = 60.0


def ask(
    words: Sequence[str], image: Path, partition: Partition, *, limit: int | None = None
) -> process.Finished | None:
    """Run a program, with its options, on a partition's file system, however it ends.

    None where it cannot be asked: for another file system, and for an image of a certain name. Raises
    ToolError where it says more than `limit` bytes, or does not end.
    """
    # libext2fs takes what follows a ? for options, and would read another file.
    if partition.filesystem not in KINDS or "?" in image.name:
        return None
    place = f"./{image.name}?offset={partition.start}"
    return process.run(
        [*words, place], cwd=image.absolute().parent, timeout=_TIMEOUT, limit=limit, check=False
    )
