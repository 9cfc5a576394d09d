"""Another golden in place of the one that a class pins, written into the file that pins it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from . import durable
from .errors import MetisError
from .inventory.document import Document
from .inventory.pin import diff, repinned
from .inventory.read import Inventory
from .inventory.resolve import class_chain
from .nightly_report import Newer

Place = tuple[Path, tuple[str, ...]]
"""A file, and the keys that lead to a value in it."""


def repin(inventory: Inventory, found: Iterable[Newer]) -> tuple[list[str], list[MetisError]]:
    """Pin what is published now; give the diffs of the files that were edited, and what could not be.

    Classes that share a pin, by a class that they extend, have it edited once.
    """
    edited: dict[Place, str] = {}
    diffs: list[str] = []
    errors: list[MetisError] = []
    for newer in found:
        try:
            if not newer.edits:
                raise _by_hand(newer)
            places = [_place(inventory, newer, key, old) for key, (old, _) in newer.edits.items()]
            for place, (old, new) in zip(places, newer.edits.values(), strict=True):
                if edited.get(place) != new:
                    diffs.append(_edit(place[0], inventory.shown(place[0]), place[1], old, new))
                    edited[place] = new
        except MetisError as error:
            errors.append(error)
    return diffs, errors


def _place(inventory: Inventory, newer: Newer, key: str, old: str) -> Place:
    """Where a class's pin stands, in its own file or in that of a class it extends."""

    def document_of(name: str) -> Document | None:
        return inventory.get("classes", name)

    for name, document in reversed(class_chain(newer.class_name, document_of)):
        if document.data.get("image", {}).get(key) == old:
            within = ("classes", name) if inventory.single else ()
            return inventory.file("classes", name), (*within, "image", key)
    raise _by_hand(newer)


def _by_hand(newer: Newer) -> MetisError:
    return MetisError(
        f"class {newer.class_name}: {newer.pinned[:12]} stands in none of its files",
        f"pin what is published by hand, as image.sha256: {newer.published}",
    )


def _edit(file: Path, shown: str, path: tuple[str, ...], old: str, new: str) -> str:
    """Replace one value of a file, which keeps its owner and mode; give the diff."""
    target = file.resolve()
    try:
        about, before = target.stat(), target.read_bytes().decode()
        after = repinned(before, path, old, new)
        with durable.replacing(target) as part:
            part.write_bytes(after.encode())
            part.chmod(about.st_mode & 0o7777)
            if os.geteuid() == 0:
                os.chown(part, about.st_uid, about.st_gid)
    except (MetisError, UnicodeDecodeError) as error:
        raise MetisError(f"{shown} keeps its pin: {error}") from None
    return diff(shown, before, after)
