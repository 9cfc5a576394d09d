"""A part of a file, or of a disk, as a block device for only as long as somebody has it open.

The device is made with the mark that detaches it when nobody uses it any more (loop(4), LO_FLAGS_AUTOCLEAR):
there is no moment at which a kill could leave it behind.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import MetisError
from .tree import named

# linux/loop.h
_GET_FREE, _CONFIGURE = 0x4C82, 0x4C0A
_READ_ONLY, _AUTOCLEAR = 1, 4
_CONFIG = struct.Struct("=2I 5Q 4I 160x 2Q 8Q")
"""loop_config: the file, the block size, loop_info64 (with the flags as the last of its four), 8 spare."""
_TRIES = 64
"""A free device may be taken by somebody else before we have it."""
_DETACH_LIMIT = 30.0
"""Seconds that a file system has for its last writes."""
_CONTROL = "/dev/loop-control"


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop device: its path, and what it shows."""

    device: str
    backing: str
    offset: str

    def wait_until_gone(self) -> None:
        """Wait until nobody uses it any more: another thread's child may hold a descriptor for a blink.

        Once the file system on it has written its last, it is detached.
        """
        deadline = time.monotonic() + _DETACH_LIMIT
        while backing_of(Path(self.device).name) == (self.backing, self.offset):
            if time.monotonic() > deadline:
                hint = f"see who uses it, then `losetup -d {self.device}`"
                raise MetisError(f"{self.device} still holds {self.backing}", hint)
            time.sleep(0.01)


@contextmanager
def attached(file: Path, start: int, size: int, *, read_only: bool) -> Iterator[Loop]:
    """A loop device on `size` bytes of a file or disk, from byte `start`.

    It outlives the block for as long as what is mounted from it. Raises MetisError where none can be made.
    """
    try:
        backing = os.open(file, (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC)
        try:
            number, device = _configured(backing, start, size, read_only=read_only)
        finally:
            os.close(backing)
    except OSError as error:
        raise MetisError(
            f"cannot make a loop device of {named(file)}: {error.strerror}",
            "run as root outside a container, or use METIS_INJECTOR=guestfs",
        ) from None
    try:
        yield Loop(f"/dev/loop{number}", *backing_of(f"loop{number}"))
    finally:
        os.close(device)


def backing_of(name: str) -> tuple[str, str]:
    """The file behind a loop device, by its name, and the offset in it; empty where there is none."""
    about = Path("/sys/block", name, "loop")
    with suppress(OSError):
        return (about / "backing_file").read_text().rstrip("\n"), (about / "offset").read_text().strip()
    return "", ""


def _configured(backing: int, start: int, size: int, *, read_only: bool) -> tuple[int, int]:
    """The number and a descriptor of a new loop device, which the descriptor keeps."""
    flags = _AUTOCLEAR | (_READ_ONLY if read_only else 0)
    config = _CONFIG.pack(backing, 0, 0, 0, 0, start, size, 0, 0, 0, flags, 0, 0, *[0] * 8)
    try:
        control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        raise _missing() from None
    try:
        for _ in range(_TRIES):
            number = fcntl.ioctl(control, _GET_FREE)
            device = _opened(number, read_only=read_only)
            try:
                fcntl.ioctl(device, _CONFIGURE, config)
            except OSError as error:
                os.close(device)
                if error.errno != errno.EBUSY:
                    raise
            else:
                return number, device
    finally:
        os.close(control)
    raise MetisError("others take every free loop device", "run again")


def _opened(number: int, *, read_only: bool) -> int:
    try:
        return os.open(f"/dev/loop{number}", (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC)
    except FileNotFoundError:
        raise _missing() from None


def _missing() -> MetisError:
    return MetisError("there is no loop device on this machine", "use METIS_INJECTOR=guestfs")
