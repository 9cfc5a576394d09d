"""Where in an image a file lies, so that a burn can fill it without knowing of file systems."""

from __future__ import annotations

import os
import re
from pathlib import Path

from . import ext
from .disk import Partition

_LONGEST = 1 << 20  # bytes of an answer


def find(image: Path, partition: Partition, path: str, content: bytes) -> int | None:
    """The offset in the image, in bytes, of a file of a partition whose content is known.

    None where it is not known: on another file system than ext's, for a file that does not lie in one piece,
    and where something else than that content is found there.
    """
    block = _number(_said(image, partition, "stats -h"), r"^Block size: +(\d+)$")
    blocks = [int(word) for word in _said(image, partition, f'blocks "{path}"').split() if word.isdecimal()]
    if not block or not blocks or blocks != list(range(blocks[0], blocks[0] - (-len(content) // block))):
        return None
    place = partition.start + blocks[0] * block
    with image.open("rb") as file:
        return place if os.pread(file.fileno(), len(content), place) == content else None


def _said(image: Path, partition: Partition, request: str) -> str:
    """What debugfs(8) prints; it ends well whatever happens, and says nothing where it cannot answer."""
    said = ext.ask(["debugfs", "-R", request], image, partition, limit=_LONGEST)
    return "" if said is None else said.out.decode(errors="replace")


def _number(text: str, pattern: str) -> int:
    found = re.search(pattern, text, re.MULTILINE)
    return int(found[1]) if found else 0
