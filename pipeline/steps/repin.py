"""Another golden in place of the one that a class pins, written into the file that pins it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import MetisError, about
from ..golden.newer import Newer
from ..inventory.builder import Keys
from ..inventory.document import Document
from ..inventory.pin import diff, repinned
from ..inventory.read import Inventory
from ..inventory.resolve import class_chain
from ..machine import durable

Place = tuple[Path, Keys]
"""A file, and the keys that lead to a value in it."""


def repin(inventory: Inventory, found: Iterable[Newer]) -> tuple[list[str], dict[str, MetisError]]:
    """Pin what is published now; give the diffs of the files, and by class why others could not be edited.

    Classes that share a pin, by a class that they extend, have it edited once.
    """
    edited: dict[Place, str] = {}
    diffs: list[str] = []
    errors: dict[str, MetisError] = {}
    for newer in found:
        try:
            edits = {
                _place(inventory, newer, key, old): (old, new) for key, (old, new) in newer.edits.items()
            }
            if not edits:
                raise by_hand(newer)
            left = {place: (old, new) for place, (old, new) in edits.items() if edited.get(place) != new}
            for file in dict.fromkeys(file for file, _ in left):
                here = [(keys, *change) for (where, keys), change in left.items() if where == file]
                diffs.append(_edit(file, inventory.shown(file), here))
            edited.update({place: new for place, (_, new) in left.items()})
        except (MetisError, OSError) as error:
            errors[newer.class_name] = about(f"class {newer.class_name}", error)
    return diffs, errors


def _place(inventory: Inventory, newer: Newer, key: str, old: str) -> Place:
    """Where a class's pin stands, in its own file or in that of a class it extends."""

    def document_of(name: str) -> Document | None:
        return inventory.get("classes", name)

    for name, document in reversed(class_chain(newer.class_name, document_of)):
        if document.data.get("image", {}).get(key) == old:
            return inventory.file("classes", name), document.written(("image", key))
    raise by_hand(newer)


def by_hand(newer: Newer) -> MetisError:
    """What to say where no file pins what is not published any more."""
    return MetisError(
        f"class {newer.class_name}: {newer.pinned[:12]} stands in none of its files",
        f"pin what is published by hand, as image.sha256: {newer.published}",
    )


def _edit(file: Path, shown: str, edits: Sequence[tuple[Keys, str, str]]) -> str:
    """Replace values of a file, all or none; it keeps its owner and mode. Gives the diff."""
    target = file.resolve()
    try:
        status, before = target.stat(), target.read_bytes().decode()
        after = before
        for path, old, new in edits:
            after = repinned(after, path, old, new)
        with durable.replacing(target) as part:
            part.write_bytes(after.encode())
            part.chmod(status.st_mode & 0o7777)
            if os.geteuid() == 0:
                os.chown(part, status.st_uid, status.st_gid)
    except (MetisError, UnicodeDecodeError) as error:
        raise MetisError(f"{shown} keeps its pin: {error}") from None
    return diff(shown, before, after)
