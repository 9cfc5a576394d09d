"""Cards on Linux, opened for writing: block devices, and plain files that stand for one.

Transfers are direct where that works (open(2), O_DIRECT): the page cache is of no use to what is written
once, and what is read back must come from the medium.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISBLK, S_ISREG

from ..errors import MetisError, RefusedError, from_os
from ..machine import durable
from ..raw.ranges import BLOCK
from .cards import Card, changed

LookAgain = Callable[[str], Card]
"""Finds what is at a path now."""

_SECTOR = 512
_BLKRRPART, _BLKFLSBUF = 0x125F, 0x1261  # linux/fs.h


class PosixOpener:
    """Opens cards for writing, alone; `look_again` says what is at a path once it is open."""

    def __init__(self, look_again: LookAgain) -> None:
        self._look_again = look_again

    @contextmanager
    def open(self, card: Card) -> Iterator[PosixMedium]:
        """The card while the block runs; see `medium.Opener`.

        A file that was made for it is removed where the block fails.
        """
        if card.kind == "file":
            with _file(card) as descriptor, _medium(descriptor, card.size, 1) as medium:
                yield medium
        else:
            with self._device(card) as descriptor, _medium(descriptor, card.size, _SECTOR) as medium:
                try:
                    yield medium
                finally:
                    with suppress(OSError):  # that the kernel sees the new partitions is a courtesy
                        fcntl.ioctl(descriptor, _BLKRRPART)

    @contextmanager
    def _device(self, card: Card) -> Iterator[int]:
        descriptor = _open(card, os.O_EXCL)  # for a device: nobody has it mounted or claimed (open(2))
        try:
            self._check(descriptor, card)
            yield descriptor
        finally:
            os.close(descriptor)

    def _check(self, descriptor: int, card: Card) -> None:
        """Raise RefusedError where what is open is not the card that was found."""
        status = os.fstat(descriptor)
        if not S_ISBLK(status.st_mode):
            raise RefusedError(f"{card.path} is no disk", "name the device of a card")
        number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        found = self._look_again(card.path)
        if number != card.number or found.number != card.number or found.identity != card.identity:
            raise changed(card.path)
        if os.lseek(descriptor, 0, os.SEEK_END) != card.size:
            raise changed(card.path)


class PosixMedium:
    """An open card; see `medium.Medium`. What cannot be transferred directly goes through the page cache.

    After `sync` nothing is left there of what was written, so that a read comes from the medium either way.
    """

    def __init__(self, plain: int, direct: int | None, size: int, alignment: int) -> None:
        self.size = size
        self.alignment = alignment
        self._plain = plain
        self._direct = direct
        self._is_direct = False

    def read(self, offset: int, into: memoryview) -> None:
        """Fill `into`. Raises OSError, also where the card ends before."""
        self._transfer(offset, into, lambda descriptor, part, place: os.preadv(descriptor, [part], place))

    def write(self, offset: int, data: memoryview) -> None:
        """Write all of `data`. Raises OSError, also where the card takes no more of it."""
        self._transfer(offset, data, os.pwrite)

    def sync(self) -> None:
        """Wait for the medium (fsync(2)), and forget what memory holds of it."""
        os.fsync(self._plain)
        os.posix_fadvise(self._plain, 0, 0, os.POSIX_FADV_DONTNEED)
        if not self._is_direct:
            with suppress(OSError):  # files know no such thing, and only root may
                fcntl.ioctl(self._plain, _BLKFLSBUF)

    def _transfer(self, offset: int, data: memoryview, move: Callable[[int, memoryview, int], int]) -> None:
        while data:
            count = self._some(offset, data, move)
            if count <= 0:
                raise OSError(errno.EIO, f"nothing more can be transferred at byte {offset}")
            offset, data = offset + count, data[count:]

    def _some(self, offset: int, data: memoryview, move: Callable[[int, memoryview, int], int]) -> int:
        """Transfer a beginning of `data`; after a short transfer the rest may not be on whole blocks.

        Some file systems open a file for direct transfers and then know none (EINVAL). Where one has worked,
        an error is the card's own, and the page cache would only hide it.
        """
        whole = len(data) - len(data) % BLOCK
        if self._direct is not None and whole and offset % BLOCK == 0 and _is_on_block(data):
            try:
                count = move(self._direct, data[:whole], offset)
            except OSError as error:
                if error.errno != errno.EINVAL or self._is_direct:
                    raise
            else:
                self._is_direct = True
                return count
        return move(self._plain, data, offset)


def _is_on_block(data: memoryview) -> bool:
    """Whether direct transfers take this memory; what is only read from is never of ours."""
    return not data.readonly and ctypes.addressof(ctypes.c_char.from_buffer(data)) % BLOCK == 0


def _open(card: Card, flags: int) -> int:
    try:
        return os.open(card.path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise RefusedError(
                f"{card.path} is in use", "unmount it, and end the programs that have it open"
            ) from None
        if error.errno in {errno.EACCES, errno.EPERM}:
            raise MetisError(
                f"{card.path} cannot be opened for writing: {(error.strerror or '').lower()}", "use sudo"
            ) from None
        if error.errno == errno.ELOOP:
            raise changed(card.path) from None
        if error.errno in {errno.ENODEV, errno.ENXIO, errno.ENOMEDIUM}:
            raise RefusedError(f"{card.path} is gone", "insert the card and look again") from None
        raise from_os(error) from None


@contextmanager
def _medium(descriptor: int, size: int, alignment: int) -> Iterator[PosixMedium]:
    """The medium behind a descriptor, with a second one for direct transfers where there can be one.

    Opened through the first, it is the same device or file whatever its path has become (proc(5)).
    """
    direct = None
    with suppress(OSError):
        direct = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC | os.O_DIRECT)
    try:
        yield PosixMedium(descriptor, direct, size, alignment)
    finally:
        if direct is not None:
            os.close(direct)


@contextmanager
def _file(card: Card) -> Iterator[int]:
    """A plain file of the card's size, which no other burn writes and nobody else reads from now on.

    Made where it is not there yet, and made as long where it is empty; a burn that fails takes that back.
    """
    if card.size <= 0:
        raise RefusedError(f"{card.path} has no size", "name a place for a file as large as a card")
    descriptor, is_new = _open_file(card)
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


def _open_file(card: Card) -> tuple[int, bool]:
    try:
        return os.open(card.path, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o600), True
    except FileExistsError:
        # Not waited for: a named pipe would never be opened at its other end. No link: it was followed when
        # the card was found, and leads elsewhere by now.
        return _open(card, os.O_NONBLOCK | os.O_NOFOLLOW), False
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
