"""The child that has an ext file system of an image open: it is asked in lines of JSON, and answers in them.

What a stranger made is read here and nowhere else, so that whatever it does to the library ends with this
process. It can make no file longer than the image is, is told no credentials, and has no other files to write
to. `python -m pipeline.inject.ext_child FILE OFFSET ro|rw WITH_EXTENTS`; `ext_tree` asks.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import resource
import stat
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from ..machine.hardening import leave_no_cores
from .ext_files import About, ExtFiles, NotExact
from .libext2fs import FULL, Ext2Error

_CHUNK = 1 << 20
_MEMORY = 4 << 30
_ERRNOS = 1 << 12
"""Numbers below are of errno: the image's own file could not be read or written."""


class Refusal(Exception):  # noqa: N818 - an answer
    """What is answered instead: a kind that `ext_tree` knows, the path, and words."""


class Session:
    """One file system with what was done to it, so that it can be looked whether it is there."""

    def __init__(self, image: str, offset: int, *, writable: bool, extents: bool) -> None:
        self._open = lambda writable: ExtFiles(image, offset, writable=writable, extents=extents)
        self._files = self._open(writable)
        self._put: dict[str, list[Any]] = {}
        self._removed: set[str] = set()

    def status(self, path: str) -> list[int] | None:
        """Mode, user and group of what is there."""
        number = self._files.find(path)
        if number is None:
            return None
        inode = self._files.inode(number)
        return [inode.mode, inode.uid | inode.uid_high << 16, inode.gid | inode.gid_high << 16]

    def read(self, path: str, limit: int) -> str:
        """The content of a file."""
        number = self._regular(path)
        size = self._files.size(number)
        if size > limit:
            raise Refusal("long", path, size)
        return base64.b64encode(b"".join(self._files.content(number))).decode()

    def sha256(self, path: str) -> str:
        """The hash of a file."""
        return _digest(self._files.content(self._regular(path)))

    def link(self, path: str) -> str:
        """What a link holds."""
        return os.fsdecode(self._files.target(self._there(path, stat.S_ISLNK, "is not a symbolic link")))

    def names(self, path: str) -> list[str]:
        """The names in a directory."""
        return [os.fsdecode(name) for name in self._files.names(self._folder(path))]

    def is_immutable(self, path: str) -> bool:
        """Whether a directory has the attribute `i`."""
        return self._files.is_immutable(self._folder(path))

    def remove(self, path: str) -> None:
        """Remove a path with all beneath it."""
        self._files.remove(path, int(time.time()))
        for other in [other for other in self._put if other == path or other.startswith(f"{path}/")]:
            del self._put[other]
        self._removed.add(path)

    def extract(self, archive: str) -> None:
        """Unpack a tar archive."""
        folders: list[tuple[str, About]] = []
        with tarfile.open(archive, "r:") as members:
            for member in members:
                path = f"/{member.name}"
                with _said_of(path):
                    about = About(member.mode & 0o7777, member.uid, member.gid, int(member.mtime))
                    self._put[path] = self._unpacked(members, member, path, about)
                if member.isdir():
                    folders.append((path, about))
                self._removed.discard(path)
        for path, about in reversed(folders):
            self._files.set_time(path, about.when)

    def set_immutable(self, path: str) -> None:
        """Give a directory the attribute `i`."""
        self._files.set_immutable(self._folder(path))

    def finish(self) -> None:
        """Write everything out, read it from the file again, and refuse what is otherwise than was asked."""
        self._files.close()
        self._files = self._open(False)
        for path, wanted in self._put.items():
            with _said_of(path):
                if self._found(path) != wanted:
                    raise NotExact("it reads back otherwise")
        for path in self._removed:
            if self._files.find(path) is not None:
                raise Refusal("unsuited", path, "it is still there")

    # --------------------------------------------------------------------------------------- inside

    def _unpacked(
        self, members: tarfile.TarFile, member: tarfile.TarInfo, path: str, about: About
    ) -> list[Any]:
        """Unpack a member, and give what `_found` must find."""
        if member.isdir():
            self._files.add_directory(path, about)
            return [stat.S_IFDIR | about.mode, about.uid, about.gid, ""]
        if member.issym():
            about = replace(about, mode=0o777)  # as all links have it
            self._files.add_link(path, os.fsencode(member.linkname), about)
            return [stat.S_IFLNK | about.mode, about.uid, about.gid, member.linkname]
        if not member.isreg():
            raise NotExact("it is neither a file, a directory nor a link")
        content = members.extractfile(member)
        assert content is not None
        seen = hashlib.sha256()
        self._files.add_file(path, _watched(content, seen.update), about)
        return [stat.S_IFREG | about.mode, about.uid, about.gid, seen.hexdigest()]

    def _found(self, path: str) -> list[Any]:
        status = self.status(path)
        if status is None:
            return []
        if stat.S_ISDIR(status[0]):
            return [*status, ""]
        return [*status, self.link(path) if stat.S_ISLNK(status[0]) else self.sha256(path)]

    def _there(self, path: str, fits: Callable[[int], bool], otherwise: str) -> int:
        number = self._files.find(path)
        if number is None:
            raise Refusal("plain", path, "No such file or directory")
        if not fits(self._files.inode(number).mode):
            raise Refusal("plain", path, otherwise)
        return number

    def _regular(self, path: str) -> int:
        return self._there(path, stat.S_ISREG, "is not a regular file")

    def _folder(self, path: str) -> int:
        return self._there(path, stat.S_ISDIR, "Not a directory")


class _said_of:  # noqa: N801 - reads as a function
    """Says of which path an error in the block is."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        match error:
            case OSError():
                kind = "plain" if error.errno else "unsuited"  # it has no number where no library is found
                raise Refusal(kind, self._path, error.strerror or str(error)) from None
            case NotExact():
                raise Refusal("unsuited", self._path, str(error)) from None
            case Ext2Error() if error.code in FULL:
                raise Refusal("full", self._path, str(error)) from None
            case Ext2Error():
                kind = "plain" if error.code < _ERRNOS else "unsuited"
                raise Refusal(kind, self._path, str(error)) from None


def _watched(content: IO[bytes], seen: Callable[[bytes], None]) -> Iterator[bytes]:
    while chunk := content.read(_CHUNK):
        seen(chunk)
        yield chunk


def _digest(chunks: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


REQUESTS = frozenset("status read sha256 link names is_immutable remove extract set_immutable finish".split())


def main(image: str, offset: str, mode: str, extents: str) -> None:
    """Answer until nobody asks any more: `["name", argument…]` with `[value]`, or with a Refusal's parts."""
    leave_no_cores()
    size = Path(image).stat().st_size
    for what, limit in ((resource.RLIMIT_FSIZE, size), (resource.RLIMIT_AS, _MEMORY)):
        if size:  # a device has no size here, and ends by itself
            resource.setrlimit(what, (limit, limit))
    session: Session | None = None
    for line in sys.stdin.buffer:
        try:
            with _said_of("/"):
                if session is None:
                    session = Session(image, int(offset), writable=mode == "rw", extents=extents == "yes")
                answer: Sequence[Any] = [_answered(session, json.loads(line))]
        except Refusal as refusal:
            answer = refusal.args
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


def _answered(session: Session, request: Sequence[Any]) -> Any:
    name, *arguments = request
    if name not in REQUESTS:
        raise ValueError(name)
    with _said_of(str(arguments[0]) if arguments else "/"):
        return getattr(session, name)(*arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
