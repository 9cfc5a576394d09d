"""A folder of the host as a tree: a file system that is mounted there, or any folder that stands for one.

Every path is opened beneath the folder (see `beneath`), and all work is done through descriptors.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import IO

from ..errors import MetisError
from . import syscalls
from .beneath import Beneath, directory_in
from .tree import READ_LIMIT, Status, no_room, status_of, too_long

_DEPTH = 200
"""Directories in each other that are removed; each one takes a descriptor, and no golden has so many."""
_ABSENT = (FileNotFoundError, NotADirectoryError)


class FolderTree:
    """The port `tree.Tree` on a folder; `name` is what messages call it.

    A `plain` one is on a file system without owners and modes, as FAT: that those cannot be set is no error
    there. Owners are only set by root.
    """

    def __init__(self, beneath: Beneath, name: str, *, plain: bool = False) -> None:
        self._beneath = beneath
        self._name = name
        self._plain = plain

    def status(self, path: str) -> Status | None:
        """See `tree.Tree`."""
        with self._errors(path):
            try:
                with self._beneath.opened(path, os.O_PATH | os.O_NOFOLLOW) as found:
                    about = os.fstat(found)
            except _ABSENT:
                return None
            return status_of(about.st_mode, about.st_uid, about.st_gid)

    def read(self, path: str) -> bytes:
        """See `tree.Tree`."""
        with self._errors(path), self._regular_file(path) as content:
            size = os.fstat(content.fileno()).st_size
            if size > READ_LIMIT:
                raise too_long(path, size)
            return content.read(READ_LIMIT)

    def sha256(self, path: str) -> str:
        """See `tree.Tree`."""
        with self._errors(path), self._regular_file(path) as content:
            return hashlib.file_digest(content, "sha256").hexdigest()

    def read_link(self, path: str) -> str:
        """See `tree.Tree`."""
        with self._errors(path), self._beneath.parent(path) as (parent, name):
            return os.readlink(name, dir_fd=parent)

    def list_names(self, path: str) -> Sequence[str]:
        """See `tree.Tree`."""
        with self._errors(path), self._beneath.opened(path, os.O_RDONLY | os.O_DIRECTORY) as found:
            return _names(found)

    def remove(self, path: str) -> None:
        """See `tree.Tree`."""
        with self._errors(path), suppress(*_ABSENT), self._beneath.parent(path) as (parent, name):
            _remove(parent, name)

    def extract(self, archive: Path) -> None:
        """See `tree.Tree`.

        What is there under the name of a file or link is removed first, so that nothing is ever written
        through a link; only a directory is kept.
        """
        folders: list[tarfile.TarInfo] = []
        with tarfile.open(archive, "r:") as members:
            for member in members:
                path = f"/{member.name}"
                with self._errors(path), self._beneath.parent(path) as (parent, name):
                    self._unpack(members, member, parent, name)
                if member.isdir():
                    folders.append(member)
        # Last, and from the bottom: what is put into a directory changes its time.
        for member in reversed(folders):
            path = f"/{member.name}"
            with (
                self._errors(path),
                self._beneath.parent(path) as (parent, name),
                directory_in(parent, name) as found,
            ):
                self._describe(found, member)

    def is_immutable(self, path: str) -> bool:
        """See `tree.Tree`."""
        with self._errors(path), self._beneath.opened(path, os.O_RDONLY | os.O_DIRECTORY) as found:
            return syscalls.is_immutable(found)

    def set_immutable(self, path: str) -> None:
        """See `tree.Tree`."""
        with self._errors(path), self._beneath.opened(path, os.O_RDONLY | os.O_DIRECTORY) as found:
            syscalls.set_immutable(found)

    def flush(self) -> None:
        """Wait until the medium has everything that was written; raises where any of it failed."""
        with self._errors("/"), self._beneath.opened("/", os.O_RDONLY | os.O_DIRECTORY) as found:
            syscalls.syncfs(found)

    # --------------------------------------------------------------------------------------- inside

    @contextmanager
    def _regular_file(self, path: str) -> Iterator[BufferedReader]:
        # NONBLOCK: a pipe in the image must not make us wait for somebody who writes into it.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
        with self._beneath.opened(path, flags) as found:
            if not stat.S_ISREG(os.fstat(found).st_mode):
                raise MetisError(f"{path} of {self._name} is not a regular file")
            with open(found, "rb", closefd=False) as content:
                yield content

    def _unpack(self, members: tarfile.TarFile, member: tarfile.TarInfo, parent: int, name: str) -> None:
        if member.isdir():
            with suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=parent)
            with directory_in(parent, name):  # raises where it is something else
                return
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=parent)
        if member.issym():
            os.symlink(member.linkname, name, dir_fd=parent)
            self._describe_link(parent, name, member)
        elif member.isreg():
            content = members.extractfile(member)
            assert content is not None
            self._write(parent, name, member, content)
        else:
            raise MetisError(f"/{member.name} is neither a file, a directory nor a link")

    def _write(self, parent: int, name: str, member: tarfile.TarInfo, content: IO[bytes]) -> None:
        # Nobody else may read it before it has its own mode and owner.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(name, flags, 0o600, dir_fd=parent), "wb") as file:
            shutil.copyfileobj(content, file, 1 << 20)
            file.flush()
            self._describe(file.fileno(), member)

    def _describe(self, found: int, member: tarfile.TarInfo) -> None:
        """Give a file or directory its owner, mode and time; the mode last, for chown(2) clears set-uid."""
        if os.geteuid() == 0:
            self._unless_plain(lambda: os.fchown(found, member.uid, member.gid))
        self._unless_plain(lambda: os.fchmod(found, member.mode))
        self._unless_plain(lambda: os.utime(found, (member.mtime, member.mtime)))

    def _describe_link(self, parent: int, name: str, member: tarfile.TarInfo) -> None:
        if os.geteuid() == 0:
            os.chown(name, member.uid, member.gid, dir_fd=parent, follow_symlinks=False)
        os.utime(name, (member.mtime, member.mtime), dir_fd=parent, follow_symlinks=False)

    def _unless_plain(self, change: Callable[[], None]) -> None:
        try:
            change()
        except PermissionError:
            if not self._plain:
                raise

    @contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        """Make errors of the file system one line."""
        try:
            yield
        except OSError as error:
            raise self._as_line(path, error) from None

    def _as_line(self, path: str, error: OSError) -> MetisError:
        if error.errno == errno.ENOSPC:
            return no_room(self._name)
        if error.errno == errno.EXDEV:
            return MetisError(f"{path} of {self._name} is on another file system", "unmount that one")
        return MetisError(f"{path} of {self._name}: {error.strerror}")


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def _remove(parent: int, name: str, depth: int = 0) -> None:
    """Remove a name with all beneath it, links as links; nothing mounted beneath is entered."""
    try:
        os.unlink(name, dir_fd=parent)
        return
    except FileNotFoundError:
        return
    except IsADirectoryError:
        pass
    if depth == _DEPTH:
        raise MetisError(f"more than {_DEPTH} directories in each other", "remove them by hand")
    with directory_in(parent, name) as found:
        for each in _names(found):
            _remove(found, each, depth + 1)
    os.rmdir(name, dir_fd=parent)
