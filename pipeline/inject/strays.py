"""What stands in an image where only Metis decides, and no entry explains it."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache

from ..errors import MetisError
from ..model import Side
from .paths import Paths
from .tree import NodeKind, NotExactError, Tree

Owned = Mapping[Side, Mapping[str, str]]
"""The paths at and beneath which a stray file changes what the node is, and how; `*` is within a name."""

Stray = tuple[str, NodeKind, str]
"""A path without links, what is there, and what would come of it."""

_MOST = 1 << 16
"""Names that are looked at beneath one path."""
_LONGEST = 4096
"""Letters of a path; no kernel takes one that is longer (path_resolution(7), PATH_MAX)."""


class Strays:
    """Looks for what nobody explains; `wanted` are the paths without links of all entries of a side."""

    def __init__(self, side: Side, tree: Tree, paths: Paths, wanted: Collection[str], owned: Owned) -> None:
        self._owned = owned[side]
        self._paths = paths
        # FAT finds a name in any case.
        self._fold: Callable[[str], str] = str.casefold if side == "boot" else str
        self._explained = set(map(self._fold, wanted))
        self._list = cache(tree.list_names)

    def owned(self) -> Iterator[Stray]:
        """All of them in what Metis owns; one that two patterns fit comes twice."""
        for pattern, reason in self._owned.items():
            for path in self._matching(pattern):
                yield from self.beneath(path, reason)

    def beneath(self, top: str, reason: str) -> Iterator[Stray]:
        """Those at or beneath a path; directories alone do no harm.

        Raises MetisError where there would be no end of them: directories may be in themselves.
        """
        todo, seen = [top], 0
        while todo:
            path, seen = todo.pop(), seen + 1
            if seen > _MOST or len(path) > _LONGEST:
                what = f"{_MOST} names, or a path longer than {_LONGEST} letters"
                raise MetisError(f"{top} holds more than {what}", "see what lies there")
            status = self._paths.status(path)
            if status is None:
                continue
            if status.kind == "directory":
                todo += [posixpath.join(path, name) for name in self._list(path)]
            elif self._fold(path) not in self._explained:
                yield path, status.kind, reason

    def _matching(self, pattern: str) -> Sequence[str]:
        *folders, last = pattern[1:].split("/")
        found = ["/"]
        for name in folders:
            found = [folder for path in self._named(found, name) for folder in self._followed(path)]
        return self._named(found, last)

    def _named(self, folders: Sequence[str], name: str) -> list[str]:
        """The paths of a name, or of what fits it, in directories."""
        return [
            posixpath.join(folder, each)
            for folder in folders
            for each in (self._list(folder) if "*" in name else (name,))
            if fnmatchcase(each, name)
        ]

    def _followed(self, path: str) -> Iterator[str]:
        """The directory that a path leads to, if it leads to one."""
        try:
            folder = self._paths.directory(path)
            status = self._paths.status(folder)
        except NotExactError:
            raise
        except MetisError:  # it leads nowhere
            return
        if status is not None and status.kind == "directory":
            yield folder
