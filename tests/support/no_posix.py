"""Runs `metis` in a Python without what Windows lacks, on a machine with stand-ins for disks and PowerShell.

A child does it: `no_posix.py SETUP WORDS…`, and the children that it starts with its own Python do it too. It
is Windows as far as a Python of POSIX can pretend to be: `os.name` stays, as `pathlib` would fail otherwise.
What libraries need of POSIX they were given before; on Windows they need it of others.
"""

from __future__ import annotations

import base64
import errno
import importlib
import json
import os
import runpy
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.support import windows_os

OTHERS = (
    "asyncio click concurrent.futures ctypes getpass importlib.metadata mmap multiprocessing.connection "
    "platform selectors shutil sqlite3 subprocess threading"
).split()
MODULES = frozenset("fcntl grp guestfs posix pty pwd readline resource syslog termios tty".split())
ATTRIBUTES = {
    os: "O_ASYNC O_CLOEXEC O_DIRECT O_DIRECTORY O_NOCTTY O_NOFOLLOW O_NONBLOCK O_PATH O_SYNC O_TMPFILE "
    "SEEK_DATA SEEK_HOLE chown chroot copy_file_range eventfd fchdir fchmod fchown fork forkpty fwalk "
    "getegid geteuid getgid getgroups getloadavg getpgid getpgrp getpriority getsid getuid getxattr "
    "killpg lchown listxattr major makedev memfd_create minor mkfifo mknod nice openpty pathconf "
    "pidfd_open posix_fadvise posix_fallocate posix_spawn posix_spawnp pread preadv pwrite pwritev readv "
    "sched_getaffinity sendfile setegid seteuid setgid setpgid setsid setuid setxattr splice statvfs sync "
    "uname wait3 wait4 waitid writev",
    signal: "SIGALRM SIGCHLD SIGHUP SIGKILL SIGPIPE SIGQUIT SIGUSR1 SIGUSR2 alarm pthread_kill "
    "pthread_sigmask setitimer sigwait",
    errno: "EMEDIUMTYPE ENOMEDIUM ENOTBLK",
}
EVERYTHING = (
    "cli commands.burn commands.burning commands.cards raw.bmap steps.burn steps.choosing steps.receipts "
    "card.burn_plan card.cards card.engine card.get_disk card.here card.image card.kernel32 card.lots "
    "card.medium card.physical_drive card.platform card.policy card.real_size raw.record card.table "
    "card.transfer card.verdicts card.waiting card.windows"
).split()
"""What a burn of a finished image is made of."""


class _Missing:
    """Finds no module of POSIX."""

    def find_spec(
        self, name: str, _path: Sequence[str] | None, _target: ModuleType | None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


def become_windows() -> None:
    """Take away what Windows lacks, and give what it has instead."""
    for name in OTHERS:
        importlib.import_module(name)
    windows_os.install()
    for name in MODULES & sys.modules.keys():
        del sys.modules[name]
    sys.meta_path.insert(0, _Missing())  # type: ignore[arg-type]
    for module, names in ATTRIBUTES.items():
        for name in set(names.split()) & vars(module).keys():
            delattr(module, name)
    sys.platform = "win32"


def put_in(setup: dict[str, Any]) -> None:
    """Give the machine its disks and volumes, and PowerShell an answer."""
    from pipeline.card import get_disk, windows
    from pipeline.machine import process
    from tests.support.win32 import Volume, Win32

    machine = Win32(Path(tempfile.gettempdir()))
    for number, disk in setup["disks"].items():
        machine.add(Path(disk["file"]), int(number), serial=disk["serial"].encode())
    machine.volumes = [Volume(each["name"], tuple(map(tuple, each["extents"]))) for each in setup["volumes"]]

    really_run = process.run

    def run(argv: Sequence[str | Path], **more: Any) -> process.Finished:
        if not str(argv[0]).endswith("powershell.exe"):
            return really_run(argv, **more)
        assert base64.b64decode(str(argv[-1])).decode("utf-16-le") == get_disk.QUESTION
        return process.Finished(0, json.dumps(setup["answer"]).encode(), b"")

    process.run = run
    windows.kernel32 = machine.kernel  # type: ignore[attr-defined]
    _hold_while_there_is(Path(setup["gate"]))


def _hold_while_there_is(gate: Path) -> None:
    """Have nothing written behind a card's first MiB as long as there is this file.

    Who is interrupted there removes it, since a card is cleared then.
    """
    from pipeline.card.physical_drive import WindowsMedium

    write = WindowsMedium.write

    def held(medium: WindowsMedium, offset: int, data: memoryview) -> None:
        try:
            while offset >= 1 << 20 and gate.exists():
                time.sleep(0.02)
        except KeyboardInterrupt:
            gate.unlink()
            raise
        write(medium, offset, data)

    WindowsMedium.write = held  # type: ignore[assignment,method-assign]


def main() -> None:
    """Import everything, and then run the command; or what a child of it is to run, as Python has it."""
    setup, words = Path(sys.argv[1]), sys.argv[2:]
    sys.executable = _this_python(setup)
    become_windows()
    put_in(json.loads(setup.read_bytes()))
    sys.argv = ["metis", *words]
    if words[0] == "-c":
        sys.argv = [words[0], *words[2:]]
        exec(words[1], {"__name__": "__main__"})
    elif words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        for name in EVERYTHING:
            importlib.import_module(f"pipeline.{name}")
        assert not MODULES & sys.modules.keys()
        from pipeline import cli

        cli.main(words)


def _this_python(setup: Path) -> str:
    """A program that stands for the Python of this Windows."""
    program = setup.with_name("python.exe")
    if not program.exists():
        part = program.with_suffix(f".{os.getpid()}")
        part.write_text(f'#!/bin/sh\nexec {sys.executable} -m {__spec__.name} {setup} "$@"\n')
        part.chmod(0o700)
        part.rename(program)
    return str(program)


if __name__ == "__main__":
    main()
