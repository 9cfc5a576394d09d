"""A path of a card opened with open(2), and in words why it cannot be."""

from __future__ import annotations

import errno
import os

from ..errors import MetisError, RefusedError, from_os, reason_of
from .cards import Card, changed
from .verdicts import GONE


def open_to_write(card: Card, flags: int) -> int:
    """A descriptor of what is at the path just now, with further flags; the caller closes it."""
    try:
        return os.open(card.path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise RefusedError(
                f"{card.path} is in use", "unmount it, and end the programs that have it open"
            ) from None
        if error.errno in {errno.EACCES, errno.EPERM}:
            raise MetisError(
                f"{card.path} cannot be opened for writing: {reason_of(error)}", "use sudo"
            ) from None
        if error.errno == errno.ELOOP:
            raise changed(card.path) from None
        if error.errno in GONE:
            raise RefusedError(f"{card.path} is gone", "insert the card and look again") from None
        raise from_os(error) from None
