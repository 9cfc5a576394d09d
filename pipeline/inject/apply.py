"""A manifest into open trees: removals, then one tar stream for each file system.

Whatever the golden decides (links in paths, the old bytes of edited files, the numbers of users) is read
through the port first. Only then is anything changed.
"""

from __future__ import annotations

import io
import os
import posixpath
import shutil
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .. import edits
from ..errors import MetisError
from ..model import Blob, Directory, Edit, Entry, File, Manifest, Remove, Side, Symlink, Text
from .tree import Status, Tree, Trees

OpenBlob = Callable[[Blob], BinaryIO]
"""Gives the bytes of a blob; raises MismatchError where they are not those that its hash names."""

MTIME = 1767225600
"""2026-01-01: every file gets the same time, so that the same manifest gives the same bytes."""

LINK_LIMIT = 40
"""Links followed in one path, as the kernel's own limit (path_resolution(7))."""


def apply(manifest: Manifest, trees: Trees, open_blob: OpenBlob, scratch: Path) -> None:
    """Put everything that the manifest says into the trees.

    `scratch` is a folder for the tar streams, which never have a name there. Raises MetisError when the
    image cannot take an entry; the image is then good for nothing.
    """
    for side in ("boot", "root"):
        entries = [item.entry for item in manifest.entries if item.entry.side == side]
        tree = trees.side(side)
        if tree is not None:
            _apply_side(entries, side, tree, open_blob, scratch)
        elif any(not isinstance(entry, Remove) for entry in entries):
            raise MetisError(
                f"{manifest.subject} has files for the boot partition, and its golden has none",
                "take boot_overlay out of the class, or name the partition with partitions.boot.label",
            )


def _apply_side(entries: Iterable[Entry], side: Side, tree: Tree, open_blob: OpenBlob, scratch: Path) -> None:
    paths = _Paths(tree)
    removals = [paths.of(entry.path) for entry in entries if isinstance(entry, Remove)]
    members: dict[str, _Member] = {}
    for entry in entries:
        member = _member(entry, paths, tree)
        if member is not None:
            members[member.path] = member
    owners = _Owners(tree, members)
    for path in removals:
        tree.remove(path)
    if not members:
        return
    for path in paths.missing_parents(members):
        members[path] = _Member(path, Directory(path))
    with _nameless_file(scratch) as stream:
        with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted(members):
                _add(archive, members[path], owners, open_blob, plain=side == "boot")
        stream.flush()
        tree.extract(Path(f"/proc/self/fd/{stream.fileno()}"))


# ---------------------------------------------------------------------------- reading what is there


@dataclass(frozen=True, slots=True)
class _Member:
    """One member of the tar stream: where it goes, what it is, and an edited file's bytes and old state."""

    path: str
    entry: File | Directory | Symlink | Edit
    edited: bytes = b""
    old: Status | None = None


class _Paths:
    """Paths as the image has them: every link in a parent followed as in a chroot (path_resolution(7))."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._known: dict[str, str] = {"/": "/"}
        self._missing: set[str] = set()

    def of(self, path: str) -> str:
        """The path with its parents resolved; its last name is left as it is."""
        return posixpath.join(self.directory(posixpath.dirname(path)), posixpath.basename(path))

    def directory(self, path: str, links: int = 0) -> str:
        """A directory's path without links. What does not exist yet stays as it is named."""
        if path not in self._known:
            parent = self.directory(posixpath.dirname(path), links)
            self._known[path] = self._step(parent, posixpath.basename(path), links)
        return self._known[path]

    def _step(self, parent: str, name: str, links: int) -> str:
        here = posixpath.join(parent, name)
        status = None if parent in self._missing else self._tree.status(here)
        if status is None:
            self._missing.add(here)
            return here
        if status.kind == "directory":
            return here
        if status.kind != "symlink":
            raise MetisError(f"{here} in the golden is not a directory", "no file can be put beneath it")
        if links >= LINK_LIMIT:
            raise MetisError(f"{here} in the golden is a link that leads in a circle")
        # normpath may take `..` literally here: the parent has no links left.
        target = posixpath.normpath(posixpath.join(parent, self._tree.read_link(here)))
        return self.directory("/" + target.lstrip("/"), links + 1)

    def missing_parents(self, members: Mapping[str, _Member]) -> list[str]:
        """The directories that must be made so that the members have a place."""
        wanted: set[str] = set()
        for path in members:
            parent = posixpath.dirname(path)
            while parent in self._missing and parent not in members:
                wanted.add(parent)
                parent = posixpath.dirname(parent)
        return sorted(wanted)


def _member(entry: Entry, paths: _Paths, tree: Tree) -> _Member | None:
    match entry:
        case Remove():
            return None
        case Directory():
            return _Member(paths.directory(entry.path), entry)
        case Edit():
            return _edited(entry, paths.of(entry.path), tree)
        case _:
            return _Member(paths.of(entry.path), entry)


def _edited(entry: Edit, path: str, tree: Tree) -> _Member:
    status = tree.status(path)
    if status is not None and status.kind != "file":
        raise MetisError(f"{path} in the golden is a {status.kind}", "only a regular file can be edited")
    old = tree.read(path) if status else b""
    new = edits.apply(entry.edit, old, dict(entry.arguments), path)
    return _Member(path, entry, new, status)


class _Owners:
    """Names of users and groups as numbers, by the image's own passwd(5) and group(5) after our edits."""

    def __init__(self, tree: Tree, members: Mapping[str, _Member]) -> None:
        self._tree = tree
        self._members = members
        self._tables: dict[str, dict[str, int]] = {}

    def uid(self, name: str) -> int:
        """The number of a user."""
        return self._number("/etc/passwd", name)

    def gid(self, name: str) -> int:
        """The number of a group."""
        return self._number("/etc/group", name)

    def _number(self, table: str, name: str) -> int:
        if name == "root":
            return 0
        if name.isdigit():
            return int(name)
        if table not in self._tables:
            self._tables[table] = self._read(table)
        if name not in self._tables[table]:
            raise MetisError(f"{table} in the golden does not know {name!r}", "use a number, or add the name")
        return self._tables[table][name]

    def _read(self, table: str) -> dict[str, int]:
        if table in self._members:
            content = self._members[table].edited
        else:
            content = self._tree.read(table) if self._tree.status(table) else b""
        rows = (line.split(":") for line in content.decode(errors="replace").splitlines())
        return {row[0]: int(row[2]) for row in rows if len(row) > 2 and row[2].isdigit()}  # noqa: PLR2004


# ------------------------------------------------------------------------------------ the tar stream


def _nameless_file(folder: Path) -> BinaryIO:
    """A file that nobody else can open and that is gone with its descriptor (open(2), O_TMPFILE)."""
    return os.fdopen(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600), "wb+")


def _add(
    archive: tarfile.TarFile, member: _Member, owners: _Owners, open_blob: OpenBlob, *, plain: bool
) -> None:
    """Write one member; a `plain` one goes to a file system without owners and modes."""
    header = tarfile.TarInfo(member.path.lstrip("/"))
    header.mtime = MTIME
    entry = member.entry
    match entry:
        case Symlink():
            header.type, header.linkname = tarfile.SYMTYPE, entry.target
            archive.addfile(header)
        case Directory():
            header.type = tarfile.DIRTYPE
            _set_owner(header, entry, owners, plain=plain)
            archive.addfile(header)
        case Edit():
            old = member.old or Status("file", 0o644, 0, 0)
            header.mode, header.uid, header.gid = old.mode, old.uid, old.gid
            header.size = len(member.edited)
            archive.addfile(header, io.BytesIO(member.edited))
        case File():
            _set_owner(header, entry, owners, plain=plain)
            _add_content(archive, header, entry, open_blob)


def _set_owner(header: tarfile.TarInfo, entry: File | Directory, owners: _Owners, *, plain: bool) -> None:
    header.mode = 0o755 if plain else entry.mode
    if not plain:
        header.uid, header.gid = owners.uid(entry.owner), owners.gid(entry.group)


def _add_content(archive: tarfile.TarFile, header: tarfile.TarInfo, entry: File, open_blob: OpenBlob) -> None:
    match entry.content:
        case (Blob() as blob,):
            with open_blob(blob) as content:
                header.size = content.seek(0, io.SEEK_END)
                content.seek(0)
                archive.addfile(header, content)
        case pieces:
            joined = io.BytesIO()
            for piece in pieces:
                if isinstance(piece, Text):
                    joined.write(piece.text.encode())
                else:
                    with open_blob(piece) as content:
                        shutil.copyfileobj(content, joined)
            header.size = joined.tell()
            joined.seek(0)
            archive.addfile(header, joined)
