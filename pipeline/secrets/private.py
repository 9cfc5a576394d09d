"""Reading files that nobody but us may have read or written."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from ..errors import RefusedError, SourceError, reason_of
from ..machine import sudo

OTHERS = 0o077
OTHERS_WRITE = 0o022
MAX_BYTES = 1 << 20
ELSEWHERE = "name another folder with METIS_SECRETS"


@dataclass(frozen=True, slots=True)
class Found:
    """What is in a file, and how the file looked before it was read."""

    content: bytes
    status: os.stat_result


def read(file: Path, *, folder_is_private: bool = True, hint: str = ELSEWHERE) -> Found | None:
    """A private file in a private folder, or in one that others may only look into; None where there is none.

    Raises RefusedError where others may read or write it, or where it is no file but a link or a device;
    SourceError, with the hint, where it cannot be read.
    """
    others, mode = (OTHERS, 0o700) if folder_is_private else (OTHERS_WRITE, 0o755)
    try:
        _refuse(file.parent, os.stat(file.parent), others, mode)  # noqa: PTH116 - for every node of every run
        # O_NONBLOCK: a pipe would be waited for.
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise RefusedError(f"{file} is a link", "put the file itself there") from None
        raise SourceError(f"{file} cannot be read: {reason_of(error)}", hint) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise RefusedError(f"{file} is not a regular file", "put a file there")
        _refuse(file, status, OTHERS, 0o600)
        if status.st_size > MAX_BYTES:
            raise RefusedError(f"{file} is larger than {MAX_BYTES >> 20} MiB", "secrets are kilobytes")
        # One read brings all of a regular file; what is written meanwhile is of the next version.
        return Found(os.read(descriptor, status.st_size), status)
    finally:
        os.close(descriptor)


def _refuse(path: Path, status: os.stat_result, others: int, mode: int) -> None:
    if status.st_mode & others:
        raise RefusedError(f"{path} is open to others than its owner", f"run `chmod {mode:04o} {path}`")
    if status.st_uid not in {0, os.geteuid()} and not _is_of_caller(status):
        raise RefusedError(f"{path} belongs to another user", f"make it yours: `chown {os.geteuid()} {path}`")


def _is_of_caller(status: os.stat_result) -> bool:
    """Whether it belongs to who said sudo: what is theirs stays so, and they may be root as it is."""
    who = sudo.caller()
    return who is not None and status.st_uid == who.uid
