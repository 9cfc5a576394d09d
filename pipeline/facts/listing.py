"""What a folder of snapshots holds, by its names alone and in one pass: it may hold a million of them."""

from __future__ import annotations

import heapq
import os
import re
from dataclasses import dataclass, field

TRIES = 5
"""Of the newest snapshots of a node, so many are opened where one after the other cannot be used."""
MOST = 20_000
"""Files with other names, and folders, of a place that are looked into."""

_TIME = re.compile(
    r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})T([0-9]{2}):?([0-9]{2}):?([0-9]{2})(?:\.([0-9]{1,6}))?Z\.json"
)
_ENDINGS = (".json", ".yaml", ".yml")


@dataclass(slots=True)
class Listing:
    """What was seen; what is hidden, or is called like nothing that could hold snapshots, is not in it.

    `snapshots` counts the files that are named by a time, `ahead` those of them that are named by one that
    has not come; `files`, `folders` and `links` are names, at most MOST of each, and `left` counts the rest.
    """

    snapshots: int = 0
    ahead: int = 0
    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    left: int = 0
    _newest: list[tuple[str, str]] = field(default_factory=list)
    """A heap: the digits of the time, and the name."""

    @property
    def newest(self) -> list[str]:
        """The files with the latest times that have come, the latest first."""
        return [name for _, name in sorted(self._newest, reverse=True)]

    def take(self, entry: os.DirEntry[str], until: str) -> None:
        """Count one thing in."""
        name = entry.name
        if time := _TIME.fullmatch(name):
            self._snapshot("".join(time.groups("")), name, until)
        elif name.startswith("."):
            return
        elif name.endswith(_ENDINGS):
            self._keep(self.files, name)
        elif entry.is_symlink():
            self._keep(self.links, name)
        elif entry.is_dir(follow_symlinks=False):
            self._keep(self.folders, name)

    def _snapshot(self, digits: str, name: str, until: str) -> None:
        self.snapshots += 1
        if digits > until:
            self.ahead += 1
        elif len(self._newest) < TRIES:
            heapq.heappush(self._newest, (digits, name))
        elif (digits, name) > self._newest[0]:
            heapq.heapreplace(self._newest, (digits, name))

    def _keep(self, names: list[str], name: str) -> None:
        if len(names) < MOST:
            names.append(name)
        else:
            self.left += 1


def listed(folder: int, until: str) -> Listing:
    """What an open folder holds; `until` has the digits of the latest time that is believed.

    Raises OSError.
    """
    found = Listing()
    with os.scandir(folder) as entries:
        for entry in entries:
            found.take(entry, until)
    return found
