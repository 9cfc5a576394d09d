"""Files of snapshots opened, whatever lies where they should: nothing is waited for, and no link leads out.

Links within a place are followed, as Kubernetes mounts a ConfigMap by way of them. Every error is a
MetisError that says what is wrong with the file, and not where it is.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import MetisError, reason_of
from ..wording import shown

# O_NONBLOCK: a pipe would be waited for.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_WITHIN = _FLAGS | os.O_NOFOLLOW
BEGINNING = 4096
"""Bytes that tell what a file is."""
_MEANING = {errno.ENOENT: "went away meanwhile", errno.ENOTDIR: "is no folder"}


@dataclass(frozen=True, slots=True)
class Limit:
    """How many bytes a file may have, and what to do with one that has more."""

    size: int
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Folder:
    """An open folder: a place where snapshots are, or one in it, whose name is then `inside`."""

    place: Path
    descriptor: int
    inside: str = ""

    def label(self, name: str = "") -> str:
        """How messages call it, or something in it."""
        path = "/".join(filter(None, (self.inside, name)))
        return f"{self.place}: {shown(path)}" if path else f"{self.place}"

    @contextmanager
    def folder(self, name: str) -> Iterator[Folder]:
        """A folder in this place, while the block runs."""
        descriptor = _opened(name, _WITHIN | os.O_DIRECTORY, self.descriptor)
        try:
            yield Folder(self.place, descriptor, name)
        finally:
            os.close(descriptor)

    def read(self, name: str, largest: Callable[[bytes], Limit]) -> bytes:
        """What is in a file; `largest` says by its beginning how much that may be."""
        try:
            descriptor = os.open(name, _WITHIN, dir_fd=self.descriptor)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise _error(error) from None
            descriptor = _linked(self.place, posixpath.join(self.inside, name))
        try:
            return read(descriptor, largest)
        finally:
            os.close(descriptor)


@contextmanager
def place(path: Path) -> Iterator[int]:
    """What somebody named, open while the block runs; it may be a link."""
    try:
        descriptor = os.open(path, _FLAGS)
    except FileNotFoundError:
        raise MetisError("is not there", "name files or folders with snapshots") from None
    except OSError as error:
        raise _error(error) from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def is_folder(descriptor: int) -> bool:
    """Whether what is open is a folder."""
    return stat.S_ISDIR(os.fstat(descriptor).st_mode)


def read(descriptor: int, largest: Callable[[bytes], Limit]) -> bytes:
    """What is in an open file, as `Folder.read` has it."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise MetisError("is a folder" if stat.S_ISDIR(status.st_mode) else "is no regular file")
    try:
        limit = largest(os.pread(descriptor, BEGINNING, 0))
        if status.st_size > limit.size:
            raise MetisError(f"is larger than {limit.size >> 20} MiB", limit.hint)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(status.st_size)
    except OSError as error:
        raise _error(error) from None
    if not data:
        raise MetisError("is empty")
    return data


def _linked(place: Path, path: str) -> int:
    """What a link within a place leads to, step by step where no step is a link: none may come in between."""
    top = os.path.realpath(place)
    try:
        real = os.path.realpath(f"{top}/{path}", strict=True)
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise MetisError("is a link to nothing") from None
        raise _error(error) from None
    if not real.startswith(top.rstrip("/") + "/"):
        raise MetisError("is a link that leads out of the folder, and is not followed")
    descriptor = _opened(top, _FLAGS)
    for step in real[len(top) :].strip("/").split("/"):
        before = descriptor
        try:
            descriptor = _opened(step, _WITHIN, before)
        finally:
            os.close(before)
    return descriptor


def _opened(name: str | Path, flags: int, folder: int | None = None) -> int:
    try:
        return os.open(name, flags, dir_fd=folder)
    except OSError as error:
        raise _error(error) from None


def _error(error: OSError) -> MetisError:
    return MetisError(_MEANING.get(error.errno or 0) or f"cannot be read: {reason_of(error)}")
