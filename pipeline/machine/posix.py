"""Linux, as `system` asks for it."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

NAME = "Linux"
BUILDS = CAN_ASK = CAN_WATCH_PIPES = True
WITHOUT_WINDOW = 0
CAN_RENAME_OPEN = True

_OTHERS = 0o077
_NO_CORE = 1
"""Bytes, too few for any core file. At just this limit the kernel starts no program that would take the core
from a pipe either (fs/coredump.c), as systemd-coredump and apport do; at 0 it starts them, see core(5)."""


def lock(descriptor: int, *, waits: bool = False) -> bool:
    """By flock(2)."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def sync_folder(folder: Path) -> None:
    """By fsync(2)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def name_once(part: Path, target: Path) -> None:
    """By link(2), as rename(2) would take the name from who has it."""
    target.hardlink_to(part)


def is_open_to_others(status: os.stat_result) -> bool:
    """By its mode."""
    return bool(status.st_mode & _OTHERS)


def leave_no_cores() -> None:
    """For good: nobody can undo it. QEMU holds what goes into an image in its memory just as we do."""
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (_NO_CORE, _NO_CORE))
    except (OSError, ValueError):  # the limit is 0, and only root may raise it
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def allow_files(most: int) -> None:
    """As far as the hard limit goes; usual is a thousand (getrlimit(2))."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def keep_port(listening: socket.socket) -> None:
    """Not waiting for what is left of old connections (socket(7)); two that listen never share one."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)


def end(pid: int, *, at_once: bool) -> None:
    """By SIGTERM, which `hardening` makes as good as Ctrl-C, or by SIGKILL."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL if at_once else signal.SIGTERM)
    if at_once:
        _kill_session(pid)


def end_rest(leader: int) -> None:
    """Nothing where the leader lives.

    As long as some of it is there, no new process gets the number of its leader (kernel/pid.c, free_pid): one
    that lives with that number is a stranger, and what is in its session as well.
    """
    if all(pid != leader or stat[0] == "Z" for pid, stat in _processes()):
        _kill_session(leader)


def end_group(leader: int) -> None:
    """By SIGKILL to its process group."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def kill_children_with(word: str) -> None:
    """Kill our own children with `word` in one of their arguments; a library may have started them."""
    for pid, stat in _processes():
        with suppress(OSError):
            if int(stat[1]) == os.getpid() and word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)


def _kill_session(leader: int) -> None:
    """Look again until there is nobody new, since some may just be starting others."""
    killed: set[int] = set()
    while found := {pid for pid, stat in _processes() if int(stat[3]) == leader} - killed:
        killed |= found
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _processes() -> Iterator[tuple[int, list[str]]]:
    """All processes, each with the fields of its stat from the state on (proc_pid_stat(5))."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            yield int(folder.name), (folder / "stat").read_text().rpartition(")")[2].split()
