"""Files that are whole or not there, in private folders that one process at a time writes to."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .ending import put_off
from .errors import SentinelError, reason_of

PART = ".metis-sentinel.part"
"""What is not finished is called so in each folder: one at a time writes, so the next one finds it."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder alone, made so that only we can enter it (flock(2): the kernel ends it when we die).

    What the file system refuses in the block is one line: SentinelError.
    """
    try:
        _make_private(folder)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        hint = "free some space there" if full else "it must be a folder that we may write to"
        raise SentinelError(f"cannot keep snapshots in {folder}: {reason_of(error)}", hint) from None


def write(folder: Path, name: str, data: bytes) -> None:
    """Write a whole file of mode 0600 to a folder that is held: beside, synced, renamed (rename(2)).

    After an error or a kill the old file is there, or none. What a kill left is removed by the next one.
    """
    part = folder / PART
    with put_off():
        try:
            part.unlink(missing_ok=True)
            new = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(part, new, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(folder / name)
            sync(folder)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def sync(folder: Path) -> None:
    """Bring to the medium which names a folder has."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_private(folder: Path) -> None:
    # mkdir(parents=True) would give the parents the mode of the umask.
    for each in reversed((folder, *folder.parents)):
        if not each.exists():
            each.mkdir(mode=0o700, exist_ok=True)
