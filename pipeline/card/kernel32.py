"""The few functions of Windows' kernel32.dll that a burn needs, with errors as exceptions.

Importing this needs no Windows. The functions themselves are given in, so that others can stand in for them:
whoever does takes them by PROTOTYPES, as C code does.
"""

from __future__ import annotations

import ctypes
import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import MetisError

GENERIC_READ, GENERIC_WRITE = 0x80000000, 0x40000000
SHARE_READ, SHARE_WRITE = 1, 2
CREATE_NEW, OPEN_EXISTING, OPEN_ALWAYS = 1, 3, 4
NO_BUFFERING, WRITE_THROUGH = 0x20000000, 0x80000000
INVALID_HANDLE = ctypes.c_void_p(-1).value
MORE_DATA, NO_MORE_FILES = 234, 18
FILE_EXISTS, ALREADY_EXISTS, ACCESS_DENIED, SHARING_VIOLATION, LOCK_VIOLATION = 80, 183, 5, 32, 33
INVALID_FUNCTION, NOT_SUPPORTED, NOT_READY, NO_MEDIA = 1, 50, 21, 1112
FILE_NOT_FOUND, PATH_NOT_FOUND = 2, 3

_HANDLE, _DWORD, _BOOL = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int  # c_ulong is longer elsewhere
_LONGEST_NAME = 260


class Overlapped(ctypes.Structure):
    """OVERLAPPED of minwinbase.h: for a handle without FILE_FLAG_OVERLAPPED it only says the place."""

    _fields_ = (
        ("internal", ctypes.c_size_t),
        ("internal_high", ctypes.c_size_t),
        ("offset", _DWORD),
        ("offset_high", _DWORD),
        ("event", _HANDLE),
    )


_COUNT, _PLACE = ctypes.POINTER(_DWORD), ctypes.POINTER(Overlapped)
_TRANSFER = (_BOOL, _HANDLE, ctypes.c_void_p, _DWORD, _COUNT, _PLACE)
PROTOTYPES: dict[str, tuple[Any, ...]] = {
    "CreateFileW": (_HANDLE, ctypes.c_wchar_p, _DWORD, _DWORD, ctypes.c_void_p, _DWORD, _DWORD, _HANDLE),
    "CloseHandle": (_BOOL, _HANDLE),
    "ReadFile": _TRANSFER,
    "WriteFile": _TRANSFER,
    "FlushFileBuffers": (_BOOL, _HANDLE),
    "DeviceIoControl": (
        *(_BOOL, _HANDLE, _DWORD, ctypes.c_void_p, _DWORD, ctypes.c_void_p, _DWORD, _COUNT, _PLACE),
    ),
    "GetFileSizeEx": (_BOOL, _HANDLE, ctypes.POINTER(ctypes.c_int64)),
    "SetFilePointerEx": (_BOOL, _HANDLE, ctypes.c_int64, ctypes.POINTER(ctypes.c_int64), _DWORD),
    "SetEndOfFile": (_BOOL, _HANDLE),
    "FindFirstVolumeW": (_HANDLE, ctypes.c_void_p, _DWORD),
    "FindNextVolumeW": (_BOOL, _HANDLE, ctypes.c_void_p, _DWORD),
    "FindVolumeClose": (_BOOL, _HANDLE),
}
"""What each function gives, and what it takes."""

_MEANINGS = {
    FILE_NOT_FOUND: (errno.ENOENT, "there is no such thing"),
    PATH_NOT_FOUND: (errno.ENOENT, "there is no such folder"),
    ACCESS_DENIED: (errno.EACCES, "access is denied"),
    19: (errno.EROFS, "it is write-protected"),
    NOT_READY: (errno.ENODEV, "there is no card in it"),
    23: (errno.EIO, "the medium has an error there"),
    27: (errno.EIO, "it has no such sector"),
    31: (errno.EIO, "the device does not work"),
    SHARING_VIOLATION: (errno.EBUSY, "another program has it open"),
    LOCK_VIOLATION: (errno.EBUSY, "another program has locked it"),
    55: (errno.ENODEV, "the device is gone"),
    87: (errno.EINVAL, "it is not for whole sectors"),
    112: (errno.ENOSPC, "no space left there"),
    433: (errno.ENODEV, "the device is gone"),
    1006: (errno.ENODEV, "the card was changed"),
    1110: (errno.ENODEV, "the card was changed"),
    NO_MEDIA: (errno.ENODEV, "there is no card in it"),
    1117: (errno.EIO, "the device has an error there"),
    1167: (errno.ENODEV, "the device is gone"),
}
"""System error codes (winerror.h), as errno and in words; Windows' own words are in its user's language."""


class Win32Error(OSError):
    """An error with the number that GetLastError(3) gave, as `code`."""

    def __init__(self, code: int, path: str | None = None) -> None:
        number, words = _MEANINGS.get(code, (errno.EIO, "it failed"))
        super().__init__(number, f"{words} (Windows error {code})", path)
        self.code = code


class Kernel32:
    """Handles and what is done with them. Every method raises Win32Error where the function fails.

    `functions` has those of PROTOTYPES as attributes, and `last_error` gives the calling thread's error.
    """

    def __init__(self, functions: Any, last_error: Callable[[], int]) -> None:  # noqa: ANN401 - a DLL has no type
        self._functions = functions
        self._last_error = last_error

    @contextmanager
    def opened(self, path: str, access: int, share: int, disposition: int, flags: int) -> Iterator[int]:
        """A handle for as long as the block runs (CreateFileW)."""
        handle = self._functions.CreateFileW(path, access, share, None, disposition, flags, None)
        if handle is None or handle == INVALID_HANDLE:
            raise Win32Error(self._last_error(), path)
        try:
            yield handle
        finally:
            self._functions.CloseHandle(handle)

    def read(self, handle: int, address: int, length: int, offset: int) -> int:
        """Read up to `length` bytes to memory; say how many (ReadFile)."""
        return self._transfer(self._functions.ReadFile, handle, address, length, offset)

    def write(self, handle: int, address: int, length: int, offset: int) -> int:
        """Write up to `length` bytes from memory; say how many (WriteFile)."""
        return self._transfer(self._functions.WriteFile, handle, address, length, offset)

    def flush(self, handle: int) -> None:
        """Wait until the device has everything (FlushFileBuffers)."""
        self._check(self._functions.FlushFileBuffers(handle))

    def control(self, handle: int, code: int, given: bytes = b"", room: int = 0) -> bytes:
        """Ask a device or a volume something; give its answer of up to `room` bytes (DeviceIoControl)."""
        answer = ctypes.create_string_buffer(max(room, 1))
        count = _DWORD()
        self._check(
            self._functions.DeviceIoControl(
                *(handle, code, given or None, len(given), answer if room else None, room),
                *(ctypes.byref(count), None),
            )
        )
        return answer.raw[: min(count.value, room)]

    def size_of_file(self, handle: int) -> int:
        """The size of a plain file in bytes (GetFileSizeEx)."""
        size = ctypes.c_int64()
        self._check(self._functions.GetFileSizeEx(handle, ctypes.byref(size)))
        return size.value

    def resize_file(self, handle: int, size: int) -> None:
        """Make a plain file as long as that (SetEndOfFile)."""
        self._check(self._functions.SetFilePointerEx(handle, size, None, 0))
        self._check(self._functions.SetEndOfFile(handle))

    def volumes(self) -> Iterator[str]:
        r"""The names of all volumes, without the backslash at their end: \\?\Volume{…} (FindFirstVolumeW)."""
        name = ctypes.create_unicode_buffer(_LONGEST_NAME)
        search = self._functions.FindFirstVolumeW(name, _LONGEST_NAME)
        if search is None or search == INVALID_HANDLE:
            if (code := self._last_error()) == NO_MORE_FILES:
                return
            raise Win32Error(code)
        try:
            yield name.value.rstrip("\\")
            while self._functions.FindNextVolumeW(search, name, _LONGEST_NAME):
                yield name.value.rstrip("\\")
            if (code := self._last_error()) != NO_MORE_FILES:
                raise Win32Error(code)
        finally:
            self._functions.FindVolumeClose(search)

    def _transfer(
        self, function: Callable[..., int], handle: int, address: int, length: int, offset: int
    ) -> int:
        place = Overlapped(offset=offset & 0xFFFFFFFF, offset_high=offset >> 32)
        count = _DWORD()
        self._check(function(handle, address, length, ctypes.byref(count), ctypes.byref(place)))
        return count.value

    def _check(self, succeeded: int) -> None:
        if not succeeded:
            raise Win32Error(self._last_error())


def kernel32() -> Kernel32:
    """The functions of the Windows that we run on."""
    opened, last_error = (getattr(ctypes, name, None) for name in ("WinDLL", "get_last_error"))
    if opened is None or last_error is None:
        raise MetisError("this is no Windows", "name a device of this machine")
    library = opened("kernel32", use_last_error=True)
    for name, (gives, *takes) in PROTOTYPES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = gives, takes
    return Kernel32(library, last_error)
