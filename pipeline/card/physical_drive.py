r"""\\.\PhysicalDriveN and plain files, opened for writing with the functions of Windows.

Importing this needs no Windows.
"""

from __future__ import annotations

import ctypes
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

from ..errors import MetisError, RefusedError, from_os
from ..raw.ranges import BLOCK
from . import kernel32
from .cards import Card, changed
from .kernel32 import Kernel32, Win32Error
from .medium import buffer, in_full

LENGTH_INFO = 0x0007405C  # IOCTL_DISK_GET_LENGTH_INFO
UPDATE_PROPERTIES = 0x00070140  # IOCTL_DISK_UPDATE_PROPERTIES
QUERY_PROPERTY = 0x002D1400  # IOCTL_STORAGE_QUERY_PROPERTY
DEVICE_NUMBER = 0x002D1080  # IOCTL_STORAGE_GET_DEVICE_NUMBER
VOLUME_EXTENTS = 0x00560000  # IOCTL_VOLUME_GET_VOLUME_DISK_EXTENTS
LOCK_VOLUME, DISMOUNT_VOLUME = 0x00090018, 0x00090020  # FSCTL_…
# What of these structures is read, see winioctl.h.
_LENGTH = struct.Struct("<q")
_NUMBER = struct.Struct("<III")
_QUERY = struct.pack("<III", 0, 0, 0)  # StorageDeviceProperty, PropertyStandardQuery
_SERIAL_AT = struct.Struct("<24xI")
_EXTENT = struct.Struct("<I4xqq")
_DISK = 7  # FILE_DEVICE_DISK
_MOST_EXTENTS = 4096

_SECTOR = 512
_READ_WRITE = kernel32.GENERIC_READ | kernel32.GENERIC_WRITE
_UNBUFFERED = kernel32.NO_BUFFERING | kernel32.WRITE_THROUGH
_SHARED = kernel32.SHARE_READ | kernel32.SHARE_WRITE
_TRIES, _PAUSE = 10, 0.3
"""Who only looks at a new volume (a virus scanner, the explorer) has it open for a moment; in seconds."""
_NO_DISK = {kernel32.INVALID_FUNCTION, kernel32.NOT_SUPPORTED, kernel32.NOT_READY, kernel32.NO_MEDIA}
"""What a volume answers that lies on no disk, as that of a DVD, or on one without a medium."""
_GONE = {kernel32.FILE_NOT_FOUND, kernel32.PATH_NOT_FOUND}


class WindowsOpener:
    """Opens cards for writing, alone; `look_again` says what is at a path once it is open.

    `locks` is a folder for what keeps two burns from one card.
    """

    def __init__(
        self,
        kernel: Kernel32,
        look_again: Callable[[str], Card],
        locks: Path,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._kernel = kernel
        self._look_again = look_again
        self._locks = locks
        self._pause = pause

    @contextmanager
    def open(self, card: Card) -> Iterator[WindowsMedium]:
        """The card while the block runs; see `medium.Opener`.

        The volumes of a disk are locked and dismounted meanwhile: Windows lets nobody write below a mounted
        one. A file that was made for it is removed where the block fails.
        """
        with self._file(card) if card.kind == "file" else self._disk(card) as medium:
            yield medium

    @contextmanager
    def _disk(self, card: Card) -> Iterator[WindowsMedium]:
        with ExitStack() as stack:
            # A card whose first MiB was cleared has no volume that could be locked.
            stack.enter_context(self._only_burn(card))
            # Its volumes have it open, so that it cannot be had unshared: their locks keep others out.
            handle = stack.enter_context(self._opened(card, _SHARED, kernel32.OPEN_EXISTING, _UNBUFFERED))
            self._check(handle, card)
            volumes = [
                stack.enter_context(self._opened_volume(name)) for name in self._volumes_of(int(card.number))
            ]
            # All are locked before the first is dismounted: who is refused finds everything as it was.
            for name, volume in volumes:
                self._lock(name, volume, card)
            for _, volume in volumes:
                self._kernel.control(volume, DISMOUNT_VOLUME)
            try:
                yield WindowsMedium(self._kernel, handle, card.size)
            finally:
                with suppress(OSError):  # that Windows sees the new partitions is a courtesy
                    self._kernel.control(handle, UPDATE_PROPERTIES)

    @contextmanager
    def _only_burn(self, card: Card) -> Iterator[None]:
        lock = str(self._locks / f"metis-drive-{card.number}.lock")
        with self._handle(partial(_not_opened, card), lock, 0, kernel32.OPEN_ALWAYS, 0):
            yield

    def _check(self, handle: int, card: Card) -> None:
        """Raise RefusedError where what is open is not the card that was found."""
        try:
            kind, number, _ = _NUMBER.unpack(self._kernel.control(handle, DEVICE_NUMBER, room=_NUMBER.size))
            (size,) = _LENGTH.unpack(self._kernel.control(handle, LENGTH_INFO, room=_LENGTH.size))
            serial = _serial(self._kernel.control(handle, QUERY_PROPERTY, _QUERY, 1 << 12))
        except (OSError, struct.error) as error:
            raise RefusedError(f"{card.path} does not say which card it is: {error}", "look again") from None
        found = self._look_again(card.path)
        same = (found.number, found.identity) == (card.number, card.identity)
        if not same or (kind, str(number), size) != (_DISK, card.number, card.size):
            raise changed(card.path)
        # Each tells the serial number in its own way: in part, or with other spaces and points.
        told, known = _plain(serial), _plain(card.serial)
        if told and known and not (told in known or known in told):
            raise changed(card.path)

    def _volumes_of(self, disk: int) -> list[str]:
        """The names of the volumes on a disk. Raises RefusedError where that cannot be told."""
        found = []
        try:
            for name in self._kernel.volumes():
                disks = self._disks_of(name)
                if disks == {disk}:
                    found.append(name)
                elif disk in disks:
                    raise RefusedError(f"{name} lies on several disks", "take that volume apart first")
        except OSError as error:
            raise RefusedError(f"it cannot be told which volumes are on disk {disk}: {error}") from None
        return found

    def _disks_of(self, volume: str) -> set[int]:
        # Without any access: the question needs none, and nobody is disturbed.
        with self._kernel.opened(volume, 0, _SHARED, kernel32.OPEN_EXISTING, 0) as handle:
            room = 8 + _EXTENT.size
            while True:
                try:
                    answer = self._kernel.control(handle, VOLUME_EXTENTS, room=room)
                    break
                except Win32Error as error:
                    if error.code in _NO_DISK:
                        return set()
                    if error.code != kernel32.MORE_DATA or room > _MOST_EXTENTS * _EXTENT.size:
                        raise
                    room *= 4
        count = int.from_bytes(answer[:4], "little")
        extents = answer[8 : 8 + count * _EXTENT.size]
        if len(extents) != count * _EXTENT.size:
            raise OSError(f"{volume} does not say where it lies")
        return {number for number, _, _ in _EXTENT.iter_unpack(extents)}

    @contextmanager
    def _opened_volume(self, name: str) -> Iterator[tuple[str, int]]:
        def refused(error: Win32Error) -> MetisError:
            return RefusedError(f"the volume {name} cannot be opened: {error.strerror}")

        with self._handle(refused, name, _SHARED, kernel32.OPEN_EXISTING, 0) as handle:
            yield name, handle

    def _lock(self, name: str, volume: int, card: Card) -> None:
        for left in reversed(range(_TRIES)):
            try:
                self._kernel.control(volume, LOCK_VOLUME)
            except Win32Error as error:
                if left == 0:
                    letters = ", ".join(mount.point for mount in card.mounts) or "it has no letter"
                    raise RefusedError(
                        f"{card.path} is in use: {name} on it ({letters}) cannot be locked: {error.strerror}",
                        "close the windows and programs that show files of it",
                    ) from None
                self._pause(_PAUSE)
            else:
                return

    @contextmanager
    def _file(self, card: Card) -> Iterator[WindowsMedium]:
        if card.size <= 0:
            raise RefusedError(f"{card.path} has no size", "name a place for a file as large as a card")
        is_new = not Path(card.path).exists()
        # Who shares nothing but reading is the only one who writes.
        disposition = kernel32.CREATE_NEW if is_new else kernel32.OPEN_EXISTING
        flags = _UNBUFFERED if card.size % BLOCK == 0 else kernel32.WRITE_THROUGH
        made = False
        try:
            with self._opened(card, kernel32.SHARE_READ, disposition, flags) as handle:
                made = is_new
                if is_new:
                    self._kernel.resize_file(handle, card.size)
                elif self._kernel.size_of_file(handle) != card.size:
                    raise changed(card.path)
                yield WindowsMedium(self._kernel, handle, card.size)
        except BaseException:
            if made:
                with suppress(OSError):
                    Path(card.path).unlink()
            raise

    @contextmanager
    def _opened(self, card: Card, share: int, disposition: int, flags: int) -> Iterator[int]:
        with self._handle(partial(_not_opened, card), card.path, share, disposition, flags) as handle:
            yield handle

    @contextmanager
    def _handle(
        self, failed: Callable[[Win32Error], MetisError], path: str, share: int, disposition: int, flags: int
    ) -> Iterator[int]:
        """A handle to read and write; `failed` puts into words why there is none."""
        with ExitStack() as stack:
            try:
                handle = stack.enter_context(
                    self._kernel.opened(path, _READ_WRITE, share, disposition, flags)
                )
            except Win32Error as error:
                raise failed(error) from None
            yield handle


class WindowsMedium:
    """An open card; see `medium.Medium`. Nothing goes through a cache of Windows, or of the card."""

    def __init__(self, kernel: Kernel32, handle: int, size: int) -> None:
        self.size = size
        self.alignment = BLOCK if size % BLOCK == 0 else _SECTOR
        self._kernel = kernel
        self._handle = handle

    def read(self, offset: int, into: memoryview) -> None:
        """Fill `into`. Raises OSError, also where the card ends before."""
        self._transfer(self._kernel.read, offset, into)

    def write(self, offset: int, data: memoryview) -> None:
        """Write all of `data`. Raises OSError, also where the card takes no more of it."""
        self._transfer(self._kernel.write, offset, data)

    def sync(self) -> None:
        """Wait for the medium."""
        self._kernel.flush(self._handle)

    def _transfer(self, move: Callable[[int, int, int, int], int], offset: int, data: memoryview) -> None:
        with _on_page(data) as address:
            in_full(
                lambda done: move(self._handle, address + done, len(data) - done, offset + done),
                offset,
                len(data),
            )


@contextmanager
def _on_page(data: memoryview) -> Iterator[int]:
    """The address of memory that begins on a page: that of `data`, or of a copy that it is filled from."""
    if not data.readonly and (address := _address(data)) % BLOCK == 0:
        yield address
        return
    copy = buffer(max(len(data), 1))[: len(data)]
    copy[:] = data
    yield _address(copy)
    if not data.readonly:
        data[:] = copy


def _address(data: memoryview) -> int:
    return ctypes.addressof((ctypes.c_char * len(data)).from_buffer(data)) if data else 0


def _serial(descriptor: bytes) -> str:
    """The serial number in a STORAGE_DEVICE_DESCRIPTOR, which has its place in it, or 0."""
    (start,) = _SERIAL_AT.unpack_from(descriptor)
    return descriptor[start:].partition(b"\0")[0].decode("ascii", "replace") if start else ""


def _plain(serial: str) -> str:
    return "".join(filter(str.isalnum, serial)).casefold()


def _not_opened(card: Card, error: Win32Error) -> MetisError:
    if error.code == kernel32.ACCESS_DENIED and card.kind == "disk":
        return MetisError(
            f"{card.path} cannot be opened: {error.strerror}", "use a terminal of the administrator"
        )
    if error.code in {kernel32.SHARING_VIOLATION, kernel32.LOCK_VIOLATION}:
        return RefusedError(f"{card.path} is in use: {error.strerror}", "end what has it open")
    if error.code in _GONE and card.kind == "disk":
        return RefusedError(f"{card.path} is gone", "insert the card and look again")
    if error.code in {kernel32.FILE_EXISTS, kernel32.ALREADY_EXISTS}:
        return changed(card.path)
    return from_os(error)
