"""A plain file that stands for a card, opened for writing, alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG

from ..errors import MetisError, RefusedError, from_os
from ..machine import durable
from .cards import Card, changed
from .posix import open_to_write


@contextmanager
def held(card: Card) -> Iterator[int]:
    """A plain file of the card's size, which no other burn writes and nobody else reads from now on.

    Made where it is not there yet, and made as long where it is empty; a burn that fails takes that back.
    """
    if card.size <= 0:
        raise RefusedError(f"{card.path} has no size", "name a place for a file as large as a card")
    descriptor, is_new = _opened(card)
    try:
        if not durable.lock_now(descriptor):
            raise RefusedError(f"another burn writes to {card.path}", "wait for it, or name another")
        was_empty = os.fstat(descriptor).st_size == 0
        try:
            _settle_size(descriptor, card, is_empty=was_empty)
            with suppress(PermissionError):  # it is somebody else's, who let us write
                os.fchmod(descriptor, 0o600)
            yield descriptor
        except BaseException:
            with suppress(OSError):
                if is_new:
                    Path(card.path).unlink()
                elif was_empty:
                    os.ftruncate(descriptor, 0)
            raise
    finally:
        os.close(descriptor)


def _opened(card: Card) -> tuple[int, bool]:
    try:
        return os.open(card.path, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o600), True
    except FileExistsError:
        # Not waited for: a named pipe would never be opened at its other end. No link: it was followed when
        # the card was found, and leads elsewhere by now.
        return open_to_write(card, os.O_NONBLOCK | os.O_NOFOLLOW), False
    except OSError as error:
        raise from_os(error) from None


def _settle_size(descriptor: int, card: Card, *, is_empty: bool) -> None:
    status = os.fstat(descriptor)
    if not S_ISREG(status.st_mode):
        raise RefusedError(f"{card.path} is no plain file", "name a file, or the device of a card")
    if not _is_still_there(status, card):
        raise changed(card.path)
    if is_empty:
        try:
            os.ftruncate(descriptor, card.size)
        except OSError as error:
            raise MetisError(f"{card.path} cannot have {card.size} bytes: {error.strerror}") from None
    elif status.st_size != card.size:
        raise changed(card.path)


def _is_still_there(status: os.stat_result, card: Card) -> bool:
    """Whether the path still names the open file: a burn that failed removes what it made."""
    try:
        now = os.stat(card.path)  # noqa: PTH116 - beside fstat
    except OSError:
        return False
    return (now.st_dev, now.st_ino) == (status.st_dev, status.st_ino)
