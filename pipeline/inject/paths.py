"""Paths as the image has them: links in a golden decide where an entry really goes.

The adapters could follow links themselves, but a tar stream must not depend on it: its member `lib/x` would
replace a `/lib` that is a link, so members are named by paths without links.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable

from ..errors import MetisError
from .tree import Status, Tree

LINK_LIMIT = 40
"""Links followed in one path, as the kernel's own limit (path_resolution(7))."""


class Paths:
    """Resolves paths in a tree as in a chroot, and asks the tree for each of them only once.

    What lies at or beneath one of the `removed` paths counts as not there.
    """

    def __init__(self, tree: Tree, removed: Collection[str] = ()) -> None:
        self._tree = tree
        self._removed = frozenset(removed)
        self._statuses: dict[str, Status | None] = {"/": Status("directory", 0o755, 0, 0)}
        self._directories: dict[str, str] = {"/": "/"}

    def of(self, path: str) -> str:
        """The path with the links in its parents followed; its last name is left as it is."""
        return posixpath.join(self.directory(posixpath.dirname(path)), posixpath.basename(path))

    def directory(self, path: str) -> str:
        """A directory's path without links. What does not exist yet stays as it is named."""
        return self._walk("/", path, 0)

    def file(self, path: str) -> str:
        """A file's path, where its last name may be a link too."""
        for _ in range(LINK_LIMIT):
            path = self.of(path)
            status = self.status(path)
            if status is None or status.kind != "symlink":
                return path
            path = posixpath.join(posixpath.dirname(path), self._tree.read_link(path))
        raise _circle(path)

    def status(self, path: str) -> Status | None:
        """What is at a path without links in its parents; the tree is not asked beneath what is missing."""
        if path not in self._statuses:
            there = path not in self._removed and self.status(posixpath.dirname(path)) is not None
            self._statuses[path] = self._tree.status(path) if there else None
        return self._statuses[path]

    def missing_parents(self, paths: Iterable[str]) -> list[str]:
        """The directories that must be made so that these paths without links have a place."""
        wanted: set[str] = set()
        for path in paths:
            parent = posixpath.dirname(path)
            while parent not in wanted and self.status(parent) is None:
                wanted.add(parent)
                parent = posixpath.dirname(parent)
        return sorted(wanted)

    def _walk(self, here: str, path: str, links: int) -> str:
        """Follow `path` from `here`, name by name: a `..` after a link leaves what the link leads to."""
        for name in path.split("/"):
            if name == "..":
                here = posixpath.dirname(here)
            elif name not in {"", "."}:
                here = self._step(posixpath.join(here, name), links)
        return here

    def _step(self, path: str, links: int) -> str:
        """Follow one name, the last of `path`, if it is a link."""
        if path not in self._directories:
            self._directories[path] = self._followed(path, links)
        return self._directories[path]

    def _followed(self, path: str, links: int) -> str:
        status = self.status(path)
        if status is None or status.kind == "directory":
            return path
        if status.kind != "symlink":
            raise MetisError(f"{path} in the golden is not a directory", "no file can be put beneath it")
        if links >= LINK_LIMIT:
            raise _circle(path)
        target = self._tree.read_link(path)
        start = "/" if target.startswith("/") else posixpath.dirname(path)
        return self._walk(start, target, links + 1)


def _circle(path: str) -> MetisError:
    return MetisError(f"{path} in the golden is a link that leads in a circle")
