"""A manifest into open trees: removals, then one tar stream for each file system.

Whatever the golden decides (links in paths, the old bytes of edited files, the numbers of users) is read
through the port first, and what cannot go in is found then. Only after that is anything changed.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..edits import table as edits
from ..errors import MetisError
from ..model import SIDES, Directory, Edit, Entry, File, Manifest, Needs, Remove, Side, Symlink
from .owners import Owners
from .paths import Paths
from .sources import Sources
from .stream import Member, content, nameless_file, write
from .tree import Tree, Trees


def apply(manifest: Manifest, trees: Trees, sources: Sources, scratch: Path) -> list[str]:
    """Put everything that the manifest says into the trees; gives a warning for each thing that it lacks.

    `scratch` is a folder for the tar streams, which never have a name there. Raises MetisError when the
    image cannot take an entry; the image is then good for nothing.
    """
    lacking: list[Needs] = []
    for side in SIDES:
        entries = [item.entry for item in manifest.entries if item.entry.side == side]
        tree = trees.side(side)
        if tree is not None:
            lacking += _apply_side(entries, side, tree, sources, scratch)
        elif any(not isinstance(entry, Remove) for entry in entries):
            raise MetisError(
                f"{manifest.subject} has files for the boot partition, and its golden has none",
                "name it with partitions.boot.label, use a Raspberry Pi's image, or take boot_overlay out",
            )
    return [
        f"{manifest.subject}: warning: nothing brings {need.path}, which the node starts: "
        f"name it in the class's files, or use a golden with {need.package}"
        for need in lacking
    ]


def _apply_side(
    entries: Iterable[Entry], side: Side, tree: Tree, sources: Sources, scratch: Path
) -> list[Needs]:
    removed = _removed(entries, tree)
    paths = Paths(tree, removed)
    members = _members(entries, paths, tree, sources)
    lacking = _lacking(entries, members, paths)
    owners = Owners(lambda path: _read(path, members, paths, tree, sources))
    if not members:
        _remove(removed, tree)
        return lacking
    for path in paths.missing_parents(members):
        members.setdefault(path, Member(path, Directory(path)))
    with nameless_file(scratch) as stream:
        write(stream, members, owners, sources, plain=side == "boot")
        _remove(removed, tree)
        tree.extract(Path(f"/proc/self/fd/{stream.fileno()}"))
    for member in members.values():
        if isinstance(member.entry, Directory) and member.entry.immutable:
            tree.set_immutable(member.path)
    return lacking


# ---------------------------------------------------------------------------- reading what is there


def _removed(entries: Iterable[Entry], tree: Tree) -> list[str]:
    """The paths, without links, of what must not be there; the last name may be a link and goes itself."""
    paths = Paths(tree)
    found = []
    for entry in entries:
        if isinstance(entry, Remove):
            path = paths.of(entry.path)
            if paths.status(path) is not None:
                found.append(path)
    return found


def _remove(paths: Iterable[str], tree: Tree) -> None:
    for path in paths:
        tree.remove(path)


def _members(entries: Iterable[Entry], paths: Paths, tree: Tree, sources: Sources) -> dict[str, Member]:
    """The members by their paths without links, each checked against what is there and against the others."""
    members: dict[str, Member] = {}
    for entry in entries:
        if isinstance(entry, Remove | Needs):
            continue
        member = (
            _edited(entry, paths, tree, sources) if isinstance(entry, Edit) else _member(entry, paths, tree)
        )
        if member is None:
            continue
        other = members.setdefault(member.path, member)
        if other is not member and not (isinstance(entry, Directory) and _same(other.entry, entry)):
            raise MetisError(
                f"{other.entry.path} and {entry.path} are both {member.path} in the golden", "leave one out"
            )
    for path in members:
        _check_parents(path, members)
    return members


def _lacking(entries: Iterable[Entry], members: Mapping[str, Member], paths: Paths) -> list[Needs]:
    """What is needed and not there, if all of it is optional."""
    lacking = []
    for entry in entries:
        if not isinstance(entry, Needs) or paths.of(entry.path) in members:
            continue
        if paths.status(paths.file(entry.path)) is not None:
            continue
        if not entry.optional:
            raise MetisError(
                f"the golden has no {entry.path}, without which the node would not be itself",
                f"use one with the package {entry.package}",
            )
        lacking.append(entry)
    return lacking


def _check_parents(path: str, members: Mapping[str, Member]) -> None:
    parent = posixpath.dirname(path)
    while parent != "/":
        above = members.get(parent)
        if above is not None and not isinstance(above.entry, Directory):
            raise MetisError(
                f"{path} in the golden lies beneath {above.entry.path}, which is to be a file or a link",
                "leave one out",
            )
        parent = posixpath.dirname(parent)


def _member(entry: File | Directory | Symlink, paths: Paths, tree: Tree) -> Member | None:
    """The member that an entry is; none for an immutable directory that is there: nobody can change it."""
    if isinstance(entry, Directory):
        path = paths.directory(entry.path)
        if path == "/":
            raise MetisError(f"{entry.path} in the golden is a link to its root", "leave it as it is")
        if entry.immutable and paths.status(path) is not None and tree.is_immutable(path):
            return None
        return Member(path, entry)
    path = paths.of(entry.path)
    status = paths.status(path)
    if status is not None and status.kind == "directory":
        raise MetisError(f"{path} in the golden is a directory", "remove it first, or choose another path")
    return Member(path, entry)


def _edited(entry: Edit, paths: Paths, tree: Tree, sources: Sources) -> Member | None:
    """The member that an edit makes; none where it leaves alone what is not there."""
    path = paths.of(entry.path)
    if entry.preferred and paths.status(paths.of(entry.preferred)) is not None:
        path = paths.of(entry.preferred)
    status = paths.status(path)
    if status is None and entry.optional:
        return None
    if status is not None and status.kind != "file":
        raise MetisError(f"{path} in the golden is a {status.kind}", "only a regular file can be edited")
    old = tree.read(path) if status else b""
    arguments = {name: sources.text(value) for name, value in entry.arguments}
    return Member(path, entry, edits.apply(entry.edit, old, arguments, path), status)


def _same(one: Entry, other: Directory) -> bool:
    return isinstance(one, Directory) and (one.mode, one.owner, one.group) == (
        other.mode,
        other.owner,
        other.group,
    )


def _read(path: str, members: Mapping[str, Member], paths: Paths, tree: Tree, sources: Sources) -> bytes:
    """What a file will hold when all members are in; nothing where there is none."""
    place = paths.file(path)
    member = members.get(paths.of(path)) or members.get(place)  # a member may replace a link of the golden
    if member is None:
        return tree.read(place) if paths.status(place) is not None else b""
    if isinstance(member.entry, File):
        with content(member.entry, sources) as source:
            return source.read()
    return member.edited
