"""An image or a card kept for one who reads or changes what is in its file systems."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import MetisError, RefusedError
from ..machine import durable


@contextmanager
def held(image: Path, *, read_only: bool) -> Iterator[int]:
    """Keep an image or a card while the block runs, and give a descriptor of it.

    Who reads a card gets what the medium has, not memory. Where it is written, nobody else does: a card has
    no partition mounted and none can be (open(2), O_EXCL on block devices), and an image has a lock
    (flock(2)), as burns to it ask for one.
    """
    is_card = image.is_block_device()
    flags = os.O_RDONLY if read_only else os.O_RDWR | (os.O_EXCL if is_card else 0)
    try:
        descriptor = os.open(image, flags | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise RefusedError(f"{image} is in use", "unmount all that is on it, then run again") from None
        raise MetisError(f"cannot open {image}: {error.strerror}") from None
    try:
        if is_card:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        elif not read_only and not durable.lock_now(descriptor):
            raise RefusedError(f"{image} is in use", "wait until nobody else writes it")
        yield descriptor
        if is_card and not read_only:
            _sync(image, descriptor)
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # another thread's child may hold the descriptor for a blink
        os.close(descriptor)


def _sync(card: Path, device: int) -> None:
    try:
        os.fsync(device)
    except OSError as error:
        raise MetisError(f"{card} did not take what was written: {error.strerror}", "try another") from None
