"""What the `os` of Windows does otherwise than that of POSIX, and what only Windows has, for `no_posix`.

Each is after Python's and Microsoft's documentation; nothing here was compared with a real Windows.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

NO_WINDOW = 0x08000000
_BEHIND = 1 << 20
_TRIES, _PAUSE = 10, 0.02
"""As _locking with LK_LOCK, but for its second between two tries."""


def locking(descriptor: int, mode: int, count: int) -> None:
    """A stand-in for msvcrt.locking: who has bytes keeps others from reading them, so none that are used."""
    assert count == 1
    assert os.lseek(descriptor, 0, os.SEEK_CUR) >= _BEHIND
    for left in reversed(range(_TRIES if mode == msvcrt.LK_LOCK else 1)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if left == 0:
                code = errno.EDEADLK if mode == msvcrt.LK_LOCK else errno.EACCES
                raise OSError(code, os.strerror(code)) from None
            time.sleep(_PAUSE)
        else:
            return


msvcrt: Any = ModuleType("msvcrt")
msvcrt.locking, msvcrt.LK_LOCK, msvcrt.LK_NBLCK = locking, 1, 2


class Popen(subprocess.Popen[Any]):
    """Takes the flags of Windows."""

    def __init__(self, *words: Any, creationflags: int = 0, **more: Any) -> None:
        assert creationflags in {0, NO_WINDOW}
        super().__init__(*words, **more)


_open, _rename, _fsync, _kill = os.open, os.rename, os.fsync, os.kill


def no_folder(path: Any, flags: int, *more: Any, **others: Any) -> int:
    """As os.open, which opens no folder there."""
    if os.path.isdir(path):  # noqa: PTH112
        raise PermissionError(errno.EACCES, "Permission denied", path)
    return _open(path, flags, *more, **others)


def not_over(old: Any, new: Any) -> None:
    """As os.rename, which takes no name from anything there."""
    if os.path.lexists(new):
        raise FileExistsError(errno.EEXIST, "File exists", new)
    _rename(old, new)


def of_what_is_written(descriptor: int) -> None:
    """As os.fsync, which flushes only what is open for writing there."""
    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "Bad file descriptor")
    _fsync(descriptor)


def _terminate(pid: int, number: int) -> None:
    assert number == signal.SIGTERM
    _kill(pid, 9)


def _startfile(path: Any) -> None:
    """Leave word of it where a test looks."""
    Path(os.environ["METIS_TEST_SHOWN"]).write_text(str(path))


def install() -> None:
    """Put it in."""
    sys.modules["msvcrt"] = msvcrt
    subprocess.Popen = Popen  # type: ignore[misc]
    for module, own in (
        (os, {"open": no_folder, "rename": not_over, "fsync": of_what_is_written, "kill": _terminate}),
        (os, {"O_BINARY": 0x8000, "startfile": _startfile}),
        (signal, {"SIGBREAK": signal.SIGTTIN}),
        (socket, {"SO_EXCLUSIVEADDRUSE": socket.SO_KEEPALIVE}),
        (shutil, {"_use_fd_functions": False}),
        (asyncio, {"ProactorEventLoop": asyncio.SelectorEventLoop}),
    ):
        vars(module).update(own)
