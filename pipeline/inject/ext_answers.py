"""What the child answers about an ext file system of an image, and does to it; see `ext_child`."""

from __future__ import annotations

import base64
import hashlib
import os
import stat
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import IO

from .ext_files import About, ExtFiles
from .ext_reading import ExtReader, NotExact
from .libext2fs import FULL, Ext2Error

Found = list[str | int]
"""What is at a path: mode, user, group, and the hash of a file or what a link holds."""

_CHUNK = 1 << 20
_ERRNOS = 1 << 12
"""Numbers below are of errno: the image's own file could not be read or written."""


class Refusal(Exception):  # noqa: N818 - an answer
    """What is answered instead: a kind that `ext_tree` knows, the path, and words."""


class Looks:
    """Answers about what is there."""

    requests = frozenset("status read sha256 link names is_immutable".split())

    def __init__(self, files: ExtReader) -> None:
        self._files = files

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

    def found(self, path: str) -> Found:
        """What is at a path; nothing where nothing is."""
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


class Changes(Looks):
    """Does what is asked for, and keeps in mind what must be there afterwards."""

    requests = Looks.requests | frozenset("remove extract set_immutable finish".split())

    def __init__(self, files: ExtFiles, read_again: Callable[[], ExtReader]) -> None:
        super().__init__(files)
        self._changed = files
        self._read_again = read_again
        self._put: dict[str, Found] = {}
        self._removed: set[str] = set()
        self._immutable: set[str] = set()

    def remove(self, path: str) -> None:
        """Remove a path with all beneath it."""
        self._changed.remove(path, int(time.time()))
        for other in [other for other in self._put if other == path or other.startswith(f"{path}/")]:
            del self._put[other]
        self._removed.add(path)

    def extract(self, archive: str) -> None:
        """Unpack a tar archive."""
        folders: list[tuple[str, About]] = []
        with tarfile.open(archive, "r:") as members:
            for member in members:
                path = f"/{member.name}"
                with said_of(path):
                    about = About(member.mode & 0o7777, member.uid, member.gid, int(member.mtime))
                    self._put[path] = self._unpacked(members, member, path, about)
                if member.isdir():
                    folders.append((path, about))
                self._removed.discard(path)
        for path, about in reversed(folders):
            self._changed.set_time(path, about.when)

    def set_immutable(self, path: str) -> None:
        """Give a directory the attribute `i`."""
        self._changed.set_immutable(self._folder(path))
        self._immutable.add(path)

    def finish(self) -> None:
        """Write everything out, read it from the file again, and refuse what is otherwise than was asked."""
        self._files.close()
        self._files = self._read_again()
        for path, wanted in self._put.items():
            with said_of(path):
                if self.found(path) != wanted:
                    raise NotExact("it reads back otherwise")
        for path in self._immutable:
            if not self.is_immutable(path):
                raise Refusal("unsuited", path, "it can be changed")
        for path in self._removed:
            if self._files.find(path) is not None:
                raise Refusal("unsuited", path, "it is still there")

    def _unpacked(self, members: tarfile.TarFile, member: tarfile.TarInfo, path: str, about: About) -> Found:
        """Unpack a member, and give what `_found` must find."""
        if member.isdir():
            self._changed.add_directory(path, about)
            return [stat.S_IFDIR | about.mode, about.uid, about.gid, ""]
        if member.issym():
            about = replace(about, mode=0o777)  # as all links have it
            self._changed.add_link(path, os.fsencode(member.linkname), about)
            return [stat.S_IFLNK | about.mode, about.uid, about.gid, member.linkname]
        if not member.isreg():
            raise NotExact("it is neither a file, a directory nor a link")
        content = members.extractfile(member)
        assert content is not None
        seen = hashlib.sha256()
        self._changed.add_file(path, _watched(content, seen.update), about)
        return [stat.S_IFREG | about.mode, about.uid, about.gid, seen.hexdigest()]


class said_of:  # noqa: N801 - reads as a function
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
