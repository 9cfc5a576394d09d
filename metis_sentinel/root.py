"""Reading beneath a root: the only place that opens anything.

A root is `/`, or where the host's is mounted in a container. Each part of a path is opened by itself
(openat(2)), a link is followed within the root, as in a chroot, and `..` ends there. Only regular files are
opened for reading. What is private (`private`) is not opened at all, whatever path leads to it: each folder
on the way and the file are compared with it by device and inode, which stat(2) tells without opening.

`way` has the steps of a path; nothing else in the package opens files.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from stat import S_ISDIR, S_ISLNK, S_ISREG, S_ISSOCK

from . import private
from .way import Identity, Place, Way, identity, taken

LINKS = 40
"""As many links as the kernel follows on one way (path_resolution(7))."""
_HOMES = 1000
_CHUNK = 1 << 16
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class PrivateError(PermissionError):
    """What was asked for is private, or leads there: it was not opened."""

    def __init__(self, path: str, why: str = "is private") -> None:
        super().__init__(errno.EACCES, why, path)


class Root:
    """Everything beneath a folder. Paths are absolute, and begin there. All methods raise OSError.

    `identities` are of what is private elsewhere: none of it is opened here either.
    """

    def __init__(self, path: str, identities: Collection[Identity] = ()) -> None:
        self._top = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.identities = set(identities)
        self._folders: set[str] = set()
        for each in self._private():
            with suppress(OSError):
                self.hide(each)

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._top)

    def hide(self, path: str) -> None:
        """Never open what is there now, nor what is in it, by whatever path."""
        with self._found(path, through=True) as place:
            self.identities.add(identity(place.about))
            if S_ISDIR(place.about.st_mode):
                self._folders.add(place.path)
                for inside in private.INSIDE:
                    with suppress(OSError):
                        about = os.stat(f"{place.name}/{inside}", dir_fd=place.folder, follow_symlinks=False)
                        self.identities.add(identity(about))

    def is_private(self, path: str) -> bool:
        """Whether a path without links is of what is private, or of what was hidden."""
        return private.is_private(path) or any(private.is_beneath(path, each) for each in self._folders)

    def lstat(self, path: str) -> tuple[os.stat_result, bool]:
        """What lstat(2) says, and whether it is private. The folder that it is in must not be."""
        with self._found(path, follow=False) as place:
            return place.about, self._is_private(place)

    def has(self, path: str) -> bool:
        """Whether something is at a path, be it a link that leads nowhere."""
        try:
            self.lstat(path)
        except OSError:
            return False
        return True

    def link(self, path: str) -> str:
        """What a symbolic link says."""
        with self._found(path, follow=False) as place:
            return os.readlink(place.name, dir_fd=place.folder)

    @contextmanager
    def opened(self, path: str, *, strict: bool = False) -> Iterator[int]:
        """A descriptor of a regular file while the block runs.

        With `strict` the last name must be no link, and the file's only name: a second one may be a secret's.
        """
        with self._found(path, follow=not strict) as place:
            if not S_ISREG(place.about.st_mode):
                raise OSError(errno.EINVAL, "is no regular file", path)
            self._refuse_private(place)
            if strict and place.about.st_nlink > 1:
                raise PrivateError(path, "has another name, which may be a secret's")
            descriptor = _open(place)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def read(self, path: str, limit: int) -> bytes:
        """All of a file, which may have `limit` bytes."""
        with self.opened(path) as descriptor:
            data = bytearray()
            while chunk := os.read(descriptor, min(_CHUNK, limit + 1 - len(data))):
                data += chunk
                if len(data) > limit:
                    raise OSError(errno.EFBIG, f"has more than {limit} bytes", path)
        return bytes(data)

    def listed(self, path: str, most: int) -> list[tuple[str, os.stat_result]]:
        """The first `most` names in a folder, with what lstat(2) says of them."""
        found: list[tuple[str, os.stat_result]] = []
        with self._found(path) as place:
            if not S_ISDIR(place.about.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
            self._refuse_private(place)
            descriptor = _open(place)
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    if len(found) == most:
                        break
                    with suppress(FileNotFoundError):
                        found.append((entry.name, entry.stat(follow_symlinks=False)))
        finally:
            os.close(descriptor)
        return found

    @contextmanager
    def address(self, path: str) -> Iterator[str]:
        """Where connect(2) finds the socket at a path, while the block runs."""
        with self._found(path) as place:
            if not S_ISSOCK(place.about.st_mode):
                raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK), path)
            self._refuse_private(place)
            yield f"/proc/self/fd/{place.folder}/{place.name}"

    def _private(self) -> Iterator[str]:
        yield from private.FILES
        yield from private.FOLDERS
        with suppress(OSError):
            yield from (
                f"{private.HOMES}/{name}/{private.SSH}" for name, _ in self.listed(private.HOMES, _HOMES)
            )
        with suppress(OSError):
            paths = (f"{private.HOST_KEYS}/{name}" for name, _ in self.listed(private.HOST_KEYS, _HOMES))
            yield from filter(private.is_private, paths)

    @contextmanager
    def _found(self, path: str, *, follow: bool = True, through: bool = False) -> Iterator[Place]:
        """What is at a path, not opened.

        `follow` is for a link at its end; with `through` a link may be where something private should be.
        """
        way, links = Way(self._top, path), 0
        try:
            while (place := way.next()) is not None:
                is_link = S_ISLNK(place.about.st_mode)
                if way.is_at_end and not (is_link and follow):
                    yield place
                    return
                if not (is_link and through):
                    self._refuse_private(place)
                if not is_link:
                    way.enter(place)
                    continue
                links += 1
                if links > LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                way.follow(place)
            yield way.here()
        except OSError as error:  # of a part of the path: what was asked for says more
            error.filename = path
            raise
        finally:
            way.close()

    def _is_private(self, place: Place) -> bool:
        return identity(place.about) in self.identities or self.is_private(place.path)

    def _refuse_private(self, place: Place) -> None:
        if self._is_private(place):
            raise PrivateError(place.path)


def _open(place: Place) -> int:
    """Open for reading what was looked at: by its handle, as its name may be another's by now."""
    handle = taken(place)
    try:
        return os.open(f"/proc/self/fd/{handle}", _READ)
    finally:
        os.close(handle)
