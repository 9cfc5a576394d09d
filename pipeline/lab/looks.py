"""How what a node or class is resolved from looks: as long as it looks the same, the same comes of it.

Cheap, as nothing is parsed or hashed but our own code. The graph asks it for its tasks (`graph.checks`), and
`lab.facts` for what it remembers of nodes.
"""

from __future__ import annotations

import hashlib
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .. import hooks
from ..cache.store import stamp
from ..inventory import overlay, renames
from ..manifest_json import digest

if TYPE_CHECKING:
    from .lab import Lab


class Looks:
    """How the files of one lab look; each is looked at once."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._words: dict[tuple[tuple[Path, ...], tuple[str, ...]], str] = {}
        self._overlays: dict[str, str] = {}

    @cached_property
    def code(self) -> str:
        """Our own code and the lab's, and which old names of keys are understood today."""
        inventory = self._lab.inventory
        # On the day on which an old name of a key ends, whoever uses it is to hear of it.
        return digest([code_digest(), hooks.state(inventory.root), renames.state(inventory.today)])

    def declared(self, files: tuple[Path, ...], overlays: tuple[str, ...]) -> str:
        """Declared files, and the exceptions of overlays, as one word; at once for all nodes of a class."""
        key = (files, overlays)
        if key not in self._words:
            modes = [self._lab.inventory.modes_file(folder) for folder in overlays]
            seen = [self._lab.index.stamps.get(file) or look_if_there(file) for file in (*files, *modes)]
            self._words[key] = digest(seen)
        return self._words[key]

    def node(self, name: str) -> str:
        """All that a node is resolved and rendered from, as one word."""
        about = self._lab.index.nodes[name]
        own, *shared = about.files
        return digest(
            [
                self.code,
                self._lab.index.stamps.get(own, ()),
                self.declared(tuple(shared), about.overlays),
                *map(self._overlay, about.overlays),
            ]
        )

    def _overlay(self, folder: str) -> str:
        if folder not in self._overlays:
            self._overlays[folder] = overlay.signature(self._lab.inventory.root / folder)
        return self._overlays[folder]


def look(file: Path) -> list[int]:
    """How a file looks: its size, times and inode."""
    return list(stamp(file).values())


def look_if_there(file: Path) -> list[int]:
    """How a file looks; nothing where there is none."""
    try:
        return look(file)
    except OSError:
        return []


def code_digest() -> str:
    """The hash of this package: its modules, schemas, and what it puts on nodes."""
    state = hashlib.sha256()
    folder = Path(__file__).parents[1]
    for top, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - {"__pycache__"})
        for name in sorted(names):
            state.update(Path(top, name).read_bytes())
    return state.hexdigest()
