"""Opening paths beneath a folder as in a chroot, so that nothing in a hostile image leads out of it.

The kernel does the work (openat2(2), RESOLVE_IN_ROOT): an absolute link starts at the folder, `..` ends
there, and there is no moment between a check and its use. What is done with the files is in `folder`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import MetisError
from . import syscalls

# openat2(2), linux/openat2.h
_NO_XDEV = 0x01
_NO_MAGICLINKS = 0x02
_NO_SYMLINKS = 0x04
_BENEATH = 0x08
_IN_ROOT = 0x10
_TRIES = 64
"""Of a path with `..` in it, which the kernel refuses while somebody renames directories."""


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class Beneath:
    """A folder as the root of all paths. It stays on one file system: a mount beneath is an error (EXDEV).

    `top` is a descriptor of the folder, which is closed with this.
    """

    def __init__(self, top: int) -> None:
        self._top = top

    @classmethod
    def folder(cls, folder: Path) -> Self:
        """Everything beneath a folder of the host, which is itself found as usual."""
        return cls(os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._top)

    def has(self, path: str) -> bool:
        """Whether something is at `path`, links followed."""
        try:
            with self.opened(path, os.O_PATH):
                return True
        except OSError:
            return False

    @contextmanager
    def opened(self, path: str, flags: int) -> Iterator[int]:
        """A descriptor of what is at `path` (open(2) has the flags) while the block runs. Raises OSError."""
        descriptor = _open(self._top, path, flags, _IN_ROOT)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def parent(self, path: str) -> Iterator[tuple[int, str]]:
        """A descriptor of the directory that `path` is in, for calls with dir_fd, and the last name of it.

        Raises OSError, and MetisError where the last name could lead somewhere else.
        """
        folder, name = posixpath.split(path)
        if name in {"", ".", ".."} or "\0" in name:
            raise MetisError(f"{path!r} does not name anything that could be changed")
        with self.opened(folder or "/", os.O_PATH | os.O_DIRECTORY) as descriptor:
            yield descriptor, name


@contextmanager
def directory_in(parent: int, name: str) -> Iterator[int]:
    """A descriptor of the directory `name` in `parent`; a link or a mount raises OSError."""
    descriptor = _open(parent, name, os.O_RDONLY | os.O_DIRECTORY, _BENEATH | _NO_SYMLINKS)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open(folder: int, path: str, flags: int, resolve: int) -> int:
    how = _How(flags | os.O_CLOEXEC, 0, resolve | _NO_XDEV | _NO_MAGICLINKS)
    for _ in range(_TRIES):
        try:
            return syscalls.call(syscalls.OPENAT2, folder, os.fsencode(path), how, ctypes.sizeof(how))
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise OSError(error.errno, error.strerror, path) from None
    raise MetisError(f"{path} is being changed by somebody else", "unmount it elsewhere, then run again")
