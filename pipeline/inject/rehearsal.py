"""Trees that take changes without making them, and then look as if they had been made.

What would fail halfway on a card that is in use is so found before anything is written to it: what one
manifest brings, the next one finds there.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import MetisError
from .tree import READ_LIMIT, NodeKind, Status, Tree, Trees, too_long


@contextmanager
def rehearsed(trees: Trees) -> Iterator[Trees]:
    """The trees, for as long as the block runs, with nothing of what is done to them done."""
    with ExitStack() as stack:
        root, boot = (tree and _Rehearsal(tree, stack) for tree in (trees.root, trees.boot))
        assert root is not None
        yield Trees(trees.places, root, boot)


@dataclass(frozen=True, slots=True)
class _Member:
    archive: tarfile.TarFile
    header: tarfile.TarInfo


_MODE_OF_LINKS = 0o777


class _Rehearsal:
    """The port `tree.Tree`; paths are those without links, as `apply` has them."""

    def __init__(self, tree: Tree, stack: ExitStack) -> None:
        self._tree = tree
        self._stack = stack
        self._removed: set[str] = set()
        self._members: dict[str, _Member] = {}
        self._immutable: set[str] = set()

    def status(self, path: str) -> Status | None:
        """See `tree.Tree`."""
        if path not in self._members:
            return None if self._is_gone(path) else self._tree.status(path)
        header = self._members[path].header
        kind: NodeKind = "directory" if header.isdir() else "symlink" if header.issym() else "file"
        mode = _MODE_OF_LINKS if header.issym() else header.mode
        return Status(kind, mode, header.uid, header.gid)

    def read(self, path: str) -> bytes:
        """See `tree.Tree`."""
        if path not in self._members:
            return self._tree.read(path)
        if self._members[path].header.size > READ_LIMIT:
            raise too_long(path, self._members[path].header.size)
        return self._content(path)

    def sha256(self, path: str) -> str:
        """See `tree.Tree`."""
        if path not in self._members:
            return self._tree.sha256(path)
        return hashlib.sha256(self._content(path)).hexdigest()

    def read_link(self, path: str) -> str:
        """See `tree.Tree`."""
        return self._members[path].header.linkname if path in self._members else self._tree.read_link(path)

    def list_names(self, path: str) -> Sequence[str]:
        """See `tree.Tree`."""
        status = None if self._is_gone(path) else self._tree.status(path)
        old = self._tree.list_names(path) if status is not None else ()
        kept = {name for name in old if not self._is_gone(posixpath.join(path, name))}
        new = {posixpath.basename(other) for other in self._members if posixpath.dirname(other) == path}
        return sorted(kept | new)

    def remove(self, path: str) -> None:
        """See `tree.Tree`."""
        self._removed.add(path)
        for other in [other for other in self._members if other == path or other.startswith(f"{path}/")]:
            del self._members[other]

    def extract(self, archive: Path) -> None:
        """See `tree.Tree`."""
        # The stream has no name, and its maker closes it: a descriptor of our own keeps it.
        file = self._stack.enter_context(os.fdopen(os.open(archive, os.O_RDONLY | os.O_CLOEXEC), "rb"))
        members = self._stack.enter_context(tarfile.open(fileobj=file, mode="r:"))  # noqa: SIM115
        for header in members:
            self._members[f"/{header.name}"] = _Member(members, header)

    def is_immutable(self, path: str) -> bool:
        """See `tree.Tree`."""
        return path in self._immutable or (path not in self._members and self._tree.is_immutable(path))

    def set_immutable(self, path: str) -> None:
        """See `tree.Tree`."""
        self._immutable.add(path)

    def _is_gone(self, path: str) -> bool:
        return any(path == top or path.startswith(f"{top}/") for top in self._removed)

    def _content(self, path: str) -> bytes:
        member = self._members[path]
        content = member.archive.extractfile(member.header)
        if content is None:
            raise MetisError(f"{path} is not a regular file")
        return content.read()
