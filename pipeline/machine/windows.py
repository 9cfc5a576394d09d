"""Windows, as `system` asks for it; importing this needs none."""

from __future__ import annotations

import errno
import os
import signal
import socket
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

NAME = "Windows"
BUILDS = CAN_ASK = CAN_WATCH_PIPES = False
WITHOUT_WINDOW = 0x08000000  # CREATE_NO_WINDOW: a console of its own, which nobody sees and nobody closes
CAN_RENAME_OPEN = False

_LOCKED = 1 << 30
"""The byte of a file that is locked. Who has it keeps others from reading it, so it is behind them all."""


def lock(descriptor: int, *, waits: bool = False) -> bool:
    """By _locking of the C library, which tries for ten seconds where it waits, and then says so."""
    msvcrt: Any = import_module("msvcrt")
    place = os.lseek(descriptor, 0, os.SEEK_CUR)
    while True:
        os.lseek(descriptor, _LOCKED, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_LOCK if waits else msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if not waits and error.errno == errno.EACCES:
                return False
            if not waits or error.errno != errno.EDEADLK:
                raise
        else:
            return True
        finally:
            os.lseek(descriptor, place, os.SEEK_SET)


def sync_folder(_folder: Path) -> None:
    """Nothing: NTFS keeps a journal of names, and no folder can be opened to be flushed."""


def name_once(part: Path, target: Path) -> None:
    """By a rename, which takes no name from who has it there; FAT knows no links."""
    part.rename(target)


def is_open_to_others(_status: os.stat_result) -> bool:
    """No: modes say nothing there. Who may read a file is what its folder says, as the user's own does."""
    return False


def leave_no_cores() -> None:
    """Nothing: it leaves none."""


def allow_files(_most: int) -> None:
    """Nothing: sockets are no files there, and not counted."""


def keep_port(listening: socket.socket) -> None:
    """Else another program may take a port that is in use ("Using SO_REUSEADDR and SO_EXCLUSIVEADDRUSE")."""
    listening.setsockopt(socket.SOL_SOCKET, vars(socket)["SO_EXCLUSIVEADDRUSE"], 1)


def end(pid: int, *, at_once: bool) -> None:
    """By TerminateProcess, which is all that os.kill does there; nobody is asked (`CAN_ASK`).

    What it started is left: a burn starts nothing but PowerShell, which only looks, and ends.
    """
    if at_once:
        with suppress(OSError):  # it has just ended
            os.kill(pid, signal.SIGTERM)


def end_rest(_leader: int) -> None:
    """Nothing, as `end` says."""


def end_group(leader: int) -> None:
    """There are no groups of processes that could be killed."""
    end(leader, at_once=True)
