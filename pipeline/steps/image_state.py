"""How images are: what is known of each node's, in a word and with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from . import receipts
from .artifacts import Artifacts, receipt_of

State = Literal["fresh", "stale", "never built", "finished"]
STATES: tuple[State, ...] = get_args(State)
"""How images are; they are finished where nothing is built."""


@dataclass(frozen=True, slots=True)
class ImageState:
    """An image as a build would find it; `built` is a time in UTC.

    `why` says what made it stale, or what keeps it from being built; it is empty for a fresh one. A finished
    one was brought here from where it was built: nobody here can tell whether it is up to date.
    """

    node: str
    klass: str
    state: State
    why: str
    built: str | None

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        data = asdict(self)
        data["class"] = data.pop("klass")
        return data


def built_at(image: Path) -> str | None:
    """When an image was finished, which its receipt was written for; None without image or receipt."""
    if receipts.read(image) is None or not image.is_file():
        return None
    when = datetime.fromtimestamp(receipt_of(image).stat().st_mtime, UTC)
    return when.isoformat(timespec="seconds")


def finished(artifacts: Artifacts) -> Iterator[ImageState]:
    """The images that are there, by node, where no inventory is asked; nothing is hashed."""
    found = artifacts.root.glob("*.img") if artifacts.root.is_dir() else ()
    for image in sorted(found):
        node = image.stem
        if image.is_file() and node.isprintable() and not node.startswith("."):
            yield ImageState(node, "", "finished", _doubt(image), built_at(image))


def _doubt(image: Path) -> str:
    """What a burn would say of its receipt."""
    receipt = receipts.read(image)
    if receipt is None:
        return "its receipt cannot be read" if receipt_of(image).exists() else "it has no receipt"
    return "" if receipt.subject == image.stem else f"by its receipt it is of {receipt.subject}"
