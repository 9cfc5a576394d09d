"""The tar stream that brings a side's members into a tree."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..manifest import secret_refs
from ..model import Blob, Directory, Edit, File, Reserved, SecretRef, Symlink, Text
from .owners import Owners
from .sources import Sources
from .tree import Status


@dataclass(frozen=True, slots=True)
class Member:
    """One member: where it goes, what it is, and an edited file's bytes and old state."""

    path: str
    entry: File | Directory | Symlink | Edit
    edited: bytes = b""
    old: Status | None = None


def nameless_file(folder: Path) -> BinaryIO:
    """A file that nobody else can open and that is gone with its descriptor (open(2), O_TMPFILE)."""
    return os.fdopen(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600), "wb+")


def write(
    stream: BinaryIO, members: Mapping[str, Member], owners: Owners, sources: Sources, *, plain: bool
) -> None:
    """Write the members; `plain` ones go to a file system without owners and modes.

    All get the time of now in whole seconds: a node whose clock is behind sets it by them.
    """
    now = int(time.time())
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(members):
            _add(archive, members[path], owners, sources, now, plain=plain)
    stream.flush()


def content(entry: File, sources: Sources) -> BinaryIO:
    """A file's content from its start: a lone blob as it lies there, else the pieces in memory."""
    match entry.content:
        case (Blob() as blob,):
            return sources.open_blob(blob)
        case pieces:
            joined = io.BytesIO()
            for piece in pieces:
                match piece:
                    case Text(text):
                        joined.write(text.encode())
                    case SecretRef():
                        joined.write(sources.reveal(piece))
                    case Blob():
                        with sources.open_blob(piece) as source:
                            shutil.copyfileobj(source, joined)
                    case Reserved():
                        joined.write(piece.blank)
            joined.seek(0)
            return joined


def _add(
    archive: tarfile.TarFile, member: Member, owners: Owners, sources: Sources, mtime: int, *, plain: bool
) -> None:
    header = tarfile.TarInfo(member.path.lstrip("/"))
    header.mtime = mtime
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
            old = member.old or Status("file", 0o600 if secret_refs(entry) else 0o644, 0, 0)
            header.mode, header.uid, header.gid = old.mode, old.uid, old.gid
            header.size = len(member.edited)
            archive.addfile(header, io.BytesIO(member.edited))
        case File():
            _set_owner(header, entry, owners, plain=plain)
            with content(entry, sources) as source:
                header.size = source.seek(0, io.SEEK_END)
                source.seek(0)
                archive.addfile(header, source)


def _set_owner(header: tarfile.TarInfo, entry: File | Directory, owners: Owners, *, plain: bool) -> None:
    header.mode = 0o755 if plain else entry.mode
    if not plain:
        header.uid, header.gid = owners.uid(entry.owner), owners.gid(entry.group)
