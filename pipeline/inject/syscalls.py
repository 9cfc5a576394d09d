"""System calls that Python 3.11 has no function for, by number.

The numbers above 423 are the same on every architecture but alpha. What the calls are for is in `beneath`
and `mounting`.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

from ..errors import MetisError

FSOPEN, FSCONFIG, FSMOUNT = 430, 431, 432
OPENAT2 = 437
_GET_ATTRIBUTES, _SET_ATTRIBUTES = 0x8008_6601, 0x4008_6602  # of 64-bit systems
_IMMUTABLE = 0x10

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def call(number: int, *arguments: int | bytes | ctypes.Structure | None) -> int:
    """Make a system call (syscall(2)) and give what it returns; a structure is handed over by its address.

    Raises OSError, and MetisError where the kernel does not have the call.
    """
    while True:
        result = _libc.syscall(ctypes.c_long(number), *map(_argument, arguments))
        if result >= 0:
            return int(result)
        code = ctypes.get_errno()
        if code == errno.ENOSYS:
            raise MetisError(
                f"this kernel ({os.uname().release}) does not have the system call {number}",
                "Linux 5.8 or newer is needed",
            )
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))


def syncfs(descriptor: int) -> None:
    """Write a whole file system out (syncfs(2)); raises OSError where that failed since the last time."""
    if _libc.syncfs(descriptor) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def is_immutable(descriptor: int) -> bool:
    """Whether a file or directory has the attribute `i` (ioctl_iflags(2)); False where there are none."""
    try:
        return bool(_attributes(descriptor) & _IMMUTABLE)
    except OSError:
        return False


def set_immutable(descriptor: int) -> None:
    """Give a file or directory the attribute `i` (ioctl_iflags(2)); raises OSError where there are none."""
    fcntl.ioctl(descriptor, _SET_ATTRIBUTES, struct.pack("i", _attributes(descriptor) | _IMMUTABLE))


def _attributes(descriptor: int) -> int:
    found = fcntl.ioctl(descriptor, _GET_ATTRIBUTES, struct.pack("i", 0))
    return int(struct.unpack("i", found)[0])


def _argument(value: int | bytes | ctypes.Structure | None) -> object:
    if isinstance(value, int):
        return ctypes.c_long(value)
    if isinstance(value, ctypes.Structure):
        return ctypes.byref(value)
    return ctypes.c_char_p(value)
