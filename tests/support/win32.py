"""A stand-in for the disks, volumes and files of Windows, taken through the C prototypes of kernel32.dll.

It models what Microsoft documents of CreateFile, ReadFile, WriteFile and DeviceIoControl: handles and what
they share, locks of volumes, whole sectors for unbuffered transfers, short transfers, and that nobody writes
to a disk below a mounted volume that is not locked. It was never compared with a real Windows.
"""

from __future__ import annotations

import ctypes
import struct
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

from pipeline.card import kernel32, physical_drive
from pipeline.card.kernel32 import PROTOTYPES, Kernel32

INVALID_HANDLE, INVALID_PARAMETER, NOT_CONNECTED, WRITE_PROTECT, OUT_OF_DISK = 6, 87, 1167, 19, 27
SECTOR = 512


@dataclass
class Volume:
    """A volume on (disk, start, length) extents; `is_used` while somebody has a file of it open."""

    name: str
    extents: tuple[tuple[int, int, int], ...]
    is_used: bool = False
    uses_left: int = 0
    is_mounted: bool = True
    locked_by: int | None = None
    answer: int = 0
    """The error with which it answers where it lies, if it does."""
    dismounts: int = 0


@dataclass
class Disk:
    """A disk, whose bytes are a file's; `number` and `size` are what it says of itself."""

    file: Path
    number: int
    size: int
    serial: bytes = b""
    kind: int = 7
    is_read_only: bool = False
    is_gone: bool = False
    updates: int = 0
    most: int = 1 << 30
    """Bytes of one transfer at most."""


@dataclass
class _Handle:
    path: str
    access: int
    share: int
    flags: int
    thing: Disk | Volume | Path
    file: BinaryIO | None = None
    place: int = 0


@dataclass
class Win32:
    """A machine with these disks and volumes; who is not `elevated` opens no disk. `locks` is a folder of it.

    `fails` gives, for the name of a function and how often it was called, the error with which it fails.
    """

    locks: Path
    disks: dict[int, Disk] = field(default_factory=dict)
    volumes: list[Volume] = field(default_factory=list)
    elevated: bool = True
    fails: Callable[[str, int], int] = lambda _name, _count: 0
    calls: Counter[str] = field(default_factory=Counter)
    handles: dict[int, _Handle] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._error = threading.local()
        self._lock = threading.RLock()
        self._searches: dict[int, list[str]] = {}
        self._last = 0

    def add(self, file: Path, number: int = 2, **more: Any) -> Disk:
        """Put a disk in."""
        self.disks[number] = Disk(file, number, file.stat().st_size, **more)
        return self.disks[number]

    def kernel(self) -> Kernel32:
        """Its functions."""
        own: dict[str, Callable[..., int]] = {
            "CreateFileW": self._create,
            "CloseHandle": self._close,
            "ReadFile": self._read,
            "WriteFile": self._write,
            "FlushFileBuffers": self._flush,
            "DeviceIoControl": self._control,
            "GetFileSizeEx": self._size,
            "SetFilePointerEx": self._seek,
            "SetEndOfFile": self._truncate,
            "FindFirstVolumeW": self._find_first,
            "FindNextVolumeW": self._find_next,
            "FindVolumeClose": self._find_close,
        }
        assert own.keys() == PROTOTYPES.keys()
        functions = {
            name: ctypes.CFUNCTYPE(*PROTOTYPES[name])(self._counted(name, call)) for name, call in own.items()
        }
        return Kernel32(SimpleNamespace(**functions), lambda: int(self._error.code))

    def _counted(self, name: str, call: Callable[..., int]) -> Callable[..., int]:
        def counted(*arguments: Any) -> int:
            with self._lock:
                self.calls[name] += 1
                code = self.fails(name, self.calls[name])
                if code:
                    return self._failed(code, none=name in {"CreateFileW", "FindFirstVolumeW"})
                return call(*arguments)

        return counted

    def _failed(self, code: int, *, none: bool = False) -> int:
        self._error.code = code
        assert kernel32.INVALID_HANDLE is not None
        return kernel32.INVALID_HANDLE if none else 0

    # ------------------------------------------------------------------------------------- handles

    def _create(
        self, path: str, access: int, share: int, security: int, disposition: int, flags: int, template: int
    ) -> int:
        thing = self._thing(path)
        code = 0
        if isinstance(thing, Path):
            code = self._create_file(thing, access, disposition)
        elif disposition != kernel32.OPEN_EXISTING:
            code = INVALID_PARAMETER
        elif thing is None or (isinstance(thing, Disk) and thing.is_gone):
            code = kernel32.FILE_NOT_FOUND
        elif access and (not self.elevated or (isinstance(thing, Volume) and thing.locked_by is not None)):
            code = kernel32.ACCESS_DENIED
        if not code and any(
            self._collide(access, share, each) for each in self.handles.values() if each.path == path
        ):
            code = kernel32.SHARING_VIOLATION
        if code:
            return self._failed(code, none=True)
        assert thing is not None
        self._last += 4
        file = None if isinstance(thing, Volume) else _opened(thing)
        self.handles[self._last] = _Handle(path, access, share, flags, thing, file)
        return self._last

    def _create_file(self, path: Path, access: int, disposition: int) -> int:
        if disposition == kernel32.CREATE_NEW:
            if path.exists():
                return kernel32.FILE_EXISTS
            if not path.parent.is_dir():
                return kernel32.PATH_NOT_FOUND
            path.touch()
        if disposition == kernel32.OPEN_ALWAYS:
            path.touch()
        return 0 if path.exists() else kernel32.FILE_NOT_FOUND

    def _collide(self, access: int, share: int, other: _Handle) -> bool:
        wanted = {kernel32.GENERIC_READ: kernel32.SHARE_READ, kernel32.GENERIC_WRITE: kernel32.SHARE_WRITE}
        return any(
            (access & right and not other.share & bit) or (other.access & right and not share & bit)
            for right, bit in wanted.items()
        )

    def _thing(self, path: str) -> Disk | Volume | Path | None:
        if path.startswith("\\\\.\\PhysicalDrive"):
            return self.disks.get(int(path[17:]))
        if path.startswith("\\\\?\\"):
            return next((each for each in self.volumes if each.name == path), None)
        return Path(path)

    def _close(self, handle: int) -> int:
        closed = self.handles.pop(handle, None)
        if closed is None:
            return self._failed(INVALID_HANDLE)
        if isinstance(closed.thing, Volume) and closed.thing.locked_by == handle:
            closed.thing.locked_by = None
            closed.thing.is_mounted = True  # at the next look, which is at once
        if closed.file:
            closed.file.close()
        return 1

    # ----------------------------------------------------------------------------------- transfers

    def _read(self, handle: int, address: int, length: int, count: Any, place: Any) -> int:
        opened, offset = self.handles.get(handle), _offset(place)
        if opened is None or opened.file is None or not opened.access & kernel32.GENERIC_READ:
            return self._failed(INVALID_HANDLE)
        code, length = self._fits(opened, address, length, offset)
        if code:
            return self._failed(code)
        opened.file.seek(offset)
        data = opened.file.read(length)
        ctypes.memmove(address, data, len(data))
        count[0] = len(data)
        return 1

    def _write(self, handle: int, address: int, length: int, count: Any, place: Any) -> int:
        opened, offset = self.handles.get(handle), _offset(place)
        if opened is None or opened.file is None or not opened.access & kernel32.GENERIC_WRITE:
            return self._failed(INVALID_HANDLE)
        code, length = self._fits(opened, address, length, offset)
        if isinstance(opened.thing, Disk) and not code:
            code = self._may_write(opened.thing, offset, offset + length)
        if code:
            return self._failed(code)
        opened.file.seek(offset)
        count[0] = opened.file.write(ctypes.string_at(address, length))
        return 1

    def _fits(self, opened: _Handle, address: int, length: int, offset: int) -> tuple[int, int]:
        """The error of a transfer, and how many bytes it would have."""
        if opened.flags & kernel32.NO_BUFFERING and any(each % SECTOR for each in (address, length, offset)):
            return INVALID_PARAMETER, 0
        if not isinstance(opened.thing, Disk):
            return 0, length
        if opened.thing.is_gone:
            return NOT_CONNECTED, 0
        if offset + length > opened.thing.size:
            return OUT_OF_DISK, 0
        return 0, min(length, opened.thing.most)

    def _may_write(self, disk: Disk, start: int, end: int) -> int:
        if disk.is_read_only:
            return WRITE_PROTECT
        for volume in self.volumes:
            below = any(
                number == disk.number and start < first + length and first < end
                for number, first, length in volume.extents
            )
            if below and volume.is_mounted and volume.locked_by is None:
                return kernel32.ACCESS_DENIED
        return 0

    def _flush(self, handle: int) -> int:
        opened = self.handles.get(handle)
        if opened is None or opened.file is None:
            return self._failed(INVALID_HANDLE)
        if isinstance(opened.thing, Disk) and opened.thing.is_gone:
            return self._failed(NOT_CONNECTED)
        opened.file.flush()
        return 1

    # --------------------------------------------------------------------------------- plain files

    def _size(self, handle: int, size: Any) -> int:
        thing = self.handles[handle].thing
        if not isinstance(thing, Path):
            return self._failed(INVALID_PARAMETER)
        size[0] = thing.stat().st_size
        return 1

    def _seek(self, handle: int, distance: int, _new: Any, method: int) -> int:
        assert method == 0
        self.handles[handle].place = distance
        return 1

    def _truncate(self, handle: int) -> int:
        opened = self.handles[handle]
        if not isinstance(opened.thing, Path) or opened.file is None:
            return self._failed(INVALID_PARAMETER)
        opened.file.truncate(opened.place)
        return 1

    # ----------------------------------------------------------------------------- what is asked

    def _control(
        self, handle: int, code: int, given: int, length: int, answer: int, room: int, count: Any, _place: Any
    ) -> int:
        opened = self.handles.get(handle)
        if opened is None:
            return self._failed(INVALID_HANDLE)
        if isinstance(opened.thing, Volume):
            error, data = self._control_volume(handle, opened.thing, code)
        elif isinstance(opened.thing, Disk):
            error, data = self._control_disk(
                opened.thing, code, ctypes.string_at(given, length) if given else b""
            )
        else:
            error, data = kernel32.INVALID_FUNCTION, b""
        if not error and len(data) > room:
            error, data = kernel32.MORE_DATA, data[:room]
        count[0] = len(data)
        if data:
            ctypes.memmove(answer, data, len(data))
        return self._failed(error) if error else 1

    def _control_disk(self, disk: Disk, code: int, given: bytes) -> tuple[int, bytes]:
        if disk.is_gone:
            return NOT_CONNECTED, b""
        if code == physical_drive.DEVICE_NUMBER:
            return 0, struct.pack("<III", disk.kind, disk.number, 0)
        if code == physical_drive.LENGTH_INFO:
            return 0, struct.pack("<q", disk.size)
        if code == physical_drive.UPDATE_PROPERTIES:
            disk.updates += 1
            return 0, b""
        if code == physical_drive.QUERY_PROPERTY and len(given) >= 12:
            serial = 40 if disk.serial else 0
            header = struct.pack("<IIBBBBIIIIII", 40, 40, 0, 0, 1, 0, 0, 0, 0, serial, 7, 0)
            return 0, header + (disk.serial + b"\0" if disk.serial else b"")
        return kernel32.INVALID_FUNCTION, b""

    def _control_volume(self, handle: int, volume: Volume, code: int) -> tuple[int, bytes]:
        if code == physical_drive.VOLUME_EXTENTS:
            if volume.answer:
                return volume.answer, b""
            extents = b"".join(struct.pack("<I4xqq", *each) for each in volume.extents)
            return 0, struct.pack("<I4x", len(volume.extents)) + extents
        if code == physical_drive.LOCK_VOLUME:
            volume.uses_left -= 1
            is_free = not volume.is_used and volume.uses_left < 0 and volume.locked_by in {None, handle}
            if not is_free or not self.handles[handle].access:
                return kernel32.ACCESS_DENIED, b""
            volume.locked_by = handle
            return 0, b""
        if code == physical_drive.DISMOUNT_VOLUME:
            volume.is_mounted = False
            volume.dismounts += 1
            return 0, b""
        return kernel32.INVALID_FUNCTION, b""

    def _find_first(self, name: int, room: int) -> int:
        if not self.volumes:
            return self._failed(kernel32.NO_MORE_FILES, none=True)
        self._last += 4
        self._searches[self._last] = [f"{each.name}\\" for each in self.volumes]
        self._find_next(self._last, name, room)
        return self._last

    def _find_next(self, search: int, name: int, room: int) -> int:
        if not self._searches[search]:
            return self._failed(kernel32.NO_MORE_FILES)
        text = ctypes.create_unicode_buffer(self._searches[search].pop(0))
        assert len(text) <= room
        ctypes.memmove(name, text, ctypes.sizeof(text))
        return 1

    def _find_close(self, search: int) -> int:
        del self._searches[search]
        return 1


def _opened(thing: Disk | Path) -> BinaryIO:
    return (thing.file if isinstance(thing, Disk) else thing).open("r+b", buffering=0)


def _offset(place: Any) -> int:
    return int(place[0].offset) | int(place[0].offset_high) << 32
