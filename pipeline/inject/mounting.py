"""Mounting a block device where nobody else can see it, and only for as long as a descriptor is open.

A mount that is made but never attached to a folder (fsmount(2)) is in no mount table: no other process
finds it, nothing has to be cleaned up after a kill, and the descriptor is all there is to close.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from contextlib import suppress

from ..errors import MetisError
from . import syscalls

# linux/mount.h
_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = 1
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
_RDONLY, _NOSUID, _NODEV, _NOEXEC = 1, 2, 4, 8


def mount(device: str, filesystem: str, options: Mapping[str, str | None], *, read_only: bool) -> int:
    """Mount a device and give a descriptor of the top; closing the last one beneath unmounts.

    Options without a value have None. Programs, devices and set-uid bits in it mean nothing to the host.
    Raises OSError for a file system that cannot be mounted, and MetisError where nothing could be.
    """
    context = _context(filesystem)
    try:
        _set(context, {"source": device, **options, **({"ro": None} if read_only else {})})
        syscalls.call(syscalls.FSCONFIG, context, _CREATE, None, None, 0)
        attributes = _NOSUID | _NODEV | _NOEXEC | (_RDONLY if read_only else 0)
        return syscalls.call(syscalls.FSMOUNT, context, _FSMOUNT_CLOEXEC, attributes)
    except OSError as error:
        raise OSError(error.errno, _reason(context) or os.strerror(error.errno or 0), device) from None
    finally:
        os.close(context)


def _context(filesystem: str) -> int:
    try:
        return syscalls.call(syscalls.FSOPEN, filesystem.encode(), _FSOPEN_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENODEV:
            raise MetisError(
                f"this kernel has no driver for {filesystem}",
                "use METIS_INJECTOR=guestfs, which brings its own",
            ) from None
        raise MetisError(
            f"cannot mount here ({error.strerror})",
            "run as root outside a container, or use METIS_INJECTOR=guestfs",
        ) from None


def _set(context: int, options: Mapping[str, str | None]) -> None:
    for name, value in options.items():
        if value is None:
            syscalls.call(syscalls.FSCONFIG, context, _SET_FLAG, name.encode(), None, 0)
        else:
            syscalls.call(syscalls.FSCONFIG, context, _SET_STRING, name.encode(), value.encode(), 0)


def _reason(context: int) -> str:
    """What the kernel's driver says about its refusal: lines of a letter, a space and the message."""
    with suppress(OSError):
        return os.read(context, 1024).decode(errors="replace").strip()[2:]
    return ""
