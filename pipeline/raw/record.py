"""The record of a burn: what a card says of how it came to be, in a file of one length. Pure.

The file is in every image, blank, where the image's receipt says; a burn fills the place and nothing else, so
neither the file system nor the node need know of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..errors import MetisError
from ..model import Reserved
from .ranges import BLOCK

PATH = "/etc/metis/burn.json"
NODE = "/etc/metis/node.json"
"""What a card says of its node, beside that: the node's name and class, and the files that were put there."""
SIZE = BLOCK
"""Bytes: one block of most file systems, and the least that every medium writes at once."""
FORMAT = 1
_TEXTS = ("node", "image", "at", "image_sha256", "bmap_sha256", "by", "serial", "host")
_NEEDED = ("node", "image", "at")


def blank() -> bytes:
    """The record of a card that was not burned by us, or not to the end."""
    return Reserved(SIZE).blank


def fill(about: Mapping[str, str | int]) -> bytes:
    """A record as bytes, exactly SIZE of them: JSON in ASCII, and spaces up to the line's end.

    `about` has `node`, `image` (its id) and `at` (UTC, as ISO 8601 has it), and where they are known
    `image_sha256` or `bmap_sha256`, `by` (the version of Metis), `serial` (the card's) and `host`. Raises
    MetisError where that is more than SIZE.
    """
    text = json.dumps({"format": FORMAT, **about}, sort_keys=True)
    if len(text) >= SIZE:
        raise MetisError(
            f"the record of the burn has {len(text)} bytes, and there is room for {SIZE - 1}",
            "one of its names is too long",
        )
    return text.ljust(SIZE - 1).encode() + b"\n"


def parse(data: bytes) -> Mapping[str, Any] | None:
    """What a record says; None where it is blank, or nothing that `fill` could have made.

    A card is a stranger's: its texts may hold what a terminal would obey.
    """
    if len(data) != SIZE:
        return None
    try:
        about = json.loads(data.decode("ascii"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(about, dict) or type(about.get("format")) is not int or about["format"] != FORMAT:
        return None
    texts = (about[name] for name in _TEXTS if name in about)
    if not all(isinstance(text, str) for text in texts) or not all(name in about for name in _NEEDED):
        return None
    return about
