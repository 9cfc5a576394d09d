"""The list that Raspberry Pi Imager reads: one card, offered by its own link. Pure.

The format is that of rpi-imager 2.0 (`doc/json-schema/os-list-schema.json` there), which upstream does not
promise; tests hold a list to the schema, and to what Imager does beside it (`src/imagewriter.cpp`,
`hwlistmodel.cpp`): without devices nobody gets past its first page, and a card is hidden from whoever chooses
a device of which it has no tag.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from ..errors import one_line

WARNING = (
    "This image holds the secrets of the node: its keys and its tokens. Whoever has the link has them, until "
    "the download is complete or its time is over.",
    "Raspberry Pi Imager may keep the whole image in its cache on your computer: remove it from there when "
    "the card is done.",
)
"""What is to be said beside a link."""
LIST = "os_list.json"
"""The name of a list: a link that ends otherwise is not opened by Imager."""
HINT = "Metis offers each card by a link of its own: make one on the page of the node."
LONGEST = 200
"""Letters of a text in a list."""
ARCHITECTURES = {"arm64": "armv8"}
"""As Imager calls those of Raspberry Pis; it has no name for others."""
_SHOWN = 12
_DAY = len("2026-11-29")


@dataclass(frozen=True, slots=True)
class Offer:
    """A card as it is offered: sizes in bytes, times in ISO 8601.

    `raw_size` and `raw_sha256` are of the image as it is written.
    """

    node: str
    klass: str
    arch: str
    image: str
    made_at: str
    expires_at: str
    size: int
    raw_size: int
    raw_sha256: str


def os_list(offer: Offer, url: str, icon: str) -> dict[str, Any]:
    """The list of one card, whose packed image is at `url`; both addresses are absolute.

    Its class is the only device to choose, and is chosen already. Imager must not change the image before it
    writes it: it has all that the node needs.
    """
    tag = _text(offer.klass)
    architecture = ARCHITECTURES.get(offer.arch)
    as_imager_calls_it = {"architecture": architecture} if architecture else {}
    device = {
        "name": tag,
        "description": f"Nodes of this class ({_text(offer.arch)})",
        "icon": icon,
        "tags": [tag],
        "matching_type": "exclusive",
        "default": True,
        **as_imager_calls_it,
    }
    card = {
        "name": _text(offer.node),
        "description": f"Card of {tag}, image {_text(offer.image)[:_SHOWN]}; until {_text(offer.expires_at)}",
        "tooltip": "Holds the secrets of the node: write it to the card of this node alone.",
        "icon": icon,
        "url": url,
        "extract_size": offer.raw_size,
        "extract_sha256": offer.raw_sha256,
        "image_download_size": offer.size,
        "release_date": offer.made_at[:_DAY],
        "init_format": "none",
        "devices": [tag],
        **as_imager_calls_it,
    }
    return {"imager": {"devices": [device]}, "os_list": [card]}


def no_cards(icon: str) -> dict[str, Any]:
    """The list of who has no link, which says how to get one; Imager shows it in place of devices."""
    device = {"name": "No card without a link", "description": HINT, "icon": icon, "tags": []}
    return {"imager": {"devices": [device]}, "os_list": []}


def deep_link(repository: str) -> str:
    """What opens Imager with a repository, where it is installed (rpi-imager 2.0, `handleIncomingUrl`)."""
    return f"rpi-imager://open?repo={quote(repository, safe='')}"


def _text(text: str) -> str:
    return one_line(text)[:LONGEST]
