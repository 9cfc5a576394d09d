"""The way along a path: one folder after the other is opened, each only to find the next name in it.

Where a link leads, and what must not be entered, is decided in `root`.
"""

from __future__ import annotations

import errno
import os
from stat import S_ISDIR

_HANDLE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
Identity = tuple[int, int]
"""What tells a file from all others: its file system's device, and its number there."""


class Place:
    """What is at a path: the folder it is in (open while it is looked at), its name there and lstat(2) of it.

    `path` is without links and `..`.
    """

    __slots__ = ("about", "folder", "name", "path")

    def __init__(self, folder: int, name: str, path: str, about: os.stat_result) -> None:
        self.folder = folder
        self.name = name
        self.path = path
        self.about = about


class Way:
    """A path that is walked from a folder, which is the root of links and the end of `..`. Raises OSError."""

    def __init__(self, top: int, path: str) -> None:
        self._folders = [top]
        self._names: list[str] = []
        self._left = _parts(path)

    def close(self) -> None:
        """Let go of all folders but the root."""
        while len(self._folders) > 1:
            os.close(self._folders.pop())

    @property
    def is_at_end(self) -> bool:
        """Whether the path has no more parts."""
        return not self._left

    def next(self) -> Place | None:
        """What the next part of the path names, not opened; None where the path has led to an open folder."""
        while self._left and self._left[-1] == "..":
            self._left.pop()
            if self._names:
                self._names.pop()
                os.close(self._folders.pop())
        if not self._left:
            return None
        name = self._left.pop()
        about = os.stat(name, dir_fd=self._folders[-1], follow_symlinks=False)
        return Place(self._folders[-1], name, f"/{'/'.join((*self._names, name))}", about)

    def here(self) -> Place:
        """The folder that the way has come to."""
        return Place(self._folders[-1], ".", f"/{'/'.join(self._names)}", os.fstat(self._folders[-1]))

    def enter(self, place: Place) -> None:
        """Go on in a folder."""
        if not S_ISDIR(place.about.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), place.path)
        self._folders.append(taken(place))
        self._names.append(place.name)

    def follow(self, place: Place) -> None:
        """Go on where a link says."""
        target = os.readlink(place.name, dir_fd=place.folder)
        if target.startswith("/"):
            self.close()
            self._names.clear()
        self._left += _parts(target)


def _parts(path: str) -> list[str]:
    """The names in a path, the first one last."""
    return [part for part in reversed(path.split("/")) if part not in {"", "."}]


def identity(about: os.stat_result) -> Identity:
    """Which file it is."""
    return about.st_dev, about.st_ino


def taken(place: Place) -> int:
    """A handle of what was looked at (open(2), O_PATH); raises OSError where it is another by now."""
    handle = os.open(place.name, _HANDLE, dir_fd=place.folder)
    about = os.fstat(handle)
    if identity(about) == identity(place.about) and about.st_mode == place.about.st_mode:
        return handle
    os.close(handle)
    raise OSError(errno.ESTALE, "was replaced while it was looked at", place.path)
