"""Compares an image with what was to be put into it, by reading the image back through the Tree port."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from pipeline.edits import registry as edits
from pipeline.inject.sources import Sources
from pipeline.inject.tree import Status, Tree, Trees
from pipeline.model import Blob, Directory, Edit, Entry, File, Remove, SecretRef, Symlink, Text


def differences(entries: Iterable[Entry], trees: Trees, sources: Sources) -> list[str]:
    """What is not as the entries say, one line each."""
    return [
        f"{entry.side}:{entry.path}: {what}"
        for entry in entries
        for what in _wrong(entry, trees.side(entry.side), sources)
    ]


def _wrong(entry: Entry, tree: Tree | None, sources: Sources) -> Iterator[str]:
    assert tree is not None
    status = tree.status(entry.path)
    if status is None or isinstance(entry, Remove):
        if (status is None) != isinstance(entry, Remove):
            yield "missing" if status is None else "still there"
        return
    match entry:
        case Symlink():
            if tree.read_link(entry.path) != entry.target:
                yield f"leads to {tree.read_link(entry.path)}"
        case Edit():
            content = tree.read(entry.path)
            arguments = {name: sources.text(value) for name, value in entry.arguments}
            if edits.apply(entry.edit, content, arguments, entry.path) != content:
                yield "not edited"
        case Directory():
            yield from _wrong_status(entry, status, "directory", tree)
        case File():
            yield from _wrong_file(entry, status, tree, sources)


def _wrong_file(entry: File, status: Status, tree: Tree, sources: Sources) -> Iterator[str]:
    yield from _wrong_status(entry, status, "file", tree)
    if hashlib.sha256(tree.read(entry.path)).digest() != _expected(entry, sources):
        yield "other content"


def _expected(entry: File, sources: Sources) -> bytes:
    content = hashlib.sha256()
    for piece in entry.content:
        match piece:
            case Blob():
                with sources.open_blob(piece) as blob:
                    content.update(blob.read())
            case SecretRef():
                content.update(sources.reveal(piece))
            case Text(text):
                content.update(text.encode())
    return content.digest()


def _wrong_status(entry: File | Directory, status: Status, kind: str, tree: Tree) -> Iterator[str]:
    if status.kind != kind:
        yield f"a {status.kind}"
    if entry.side == "boot":
        return
    owner, group = (_number(tree, "/etc/passwd", entry.owner), _number(tree, "/etc/group", entry.group))
    if (status.mode, status.uid, status.gid) != (entry.mode, owner, group):
        yield f"mode {status.mode:04o}, owner {status.uid}:{status.gid}"


def _number(tree: Tree, table: str, name: str) -> int:
    rows = (line.split(":") for line in tree.read(table).decode().splitlines())
    return next(int(row[2]) for row in rows if row[0] == name)
