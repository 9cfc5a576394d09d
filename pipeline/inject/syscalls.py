"""System calls that Python 3.11 has no function for, by number.

The numbers above 423 are the same on every architecture but alpha. What the calls are for is in `beneath`
and `mounting`.
"""

from __future__ import annotations

import ctypes
import errno
import os

from ..errors import MetisError

FSOPEN, FSCONFIG, FSMOUNT = 430, 431, 432
OPENAT2 = 437

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


def _argument(value: int | bytes | ctypes.Structure | None) -> object:
    if isinstance(value, int):
        return ctypes.c_long(value)
    if isinstance(value, ctypes.Structure):
        return ctypes.byref(value)
    return ctypes.c_char_p(value)
