"""What Metis asks of the system that it runs on, and which one that is; for cards see `card.here`.

There is a module for each, and nothing else knows which one it is: `posix`, and `windows`, where finished
images are burned and nothing is built.
"""

from __future__ import annotations

import os
import socket
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast


class System(Protocol):
    """What the module of a system says and does."""

    CAN_RENAME_OPEN: bool
    """Whether a file that is open can get another name, or be removed."""
    NAME: str
    """As people know it."""
    BUILDS: bool
    """Whether images are made and fetched there, and not only burned."""
    CAN_ASK: bool
    """Whether one process can ask another to end, and that one put things away first."""
    CAN_WATCH_PIPES: bool
    """Whether several pipes can be waited for at once (select(2))."""
    WITHOUT_WINDOW: int
    """What subprocess.Popen is told for a child that shows no window, and outlives that of its parent."""

    def lock(self, descriptor: int, *, waits: bool = False) -> bool:
        """Lock an open file until it is closed; whether we have it, or, where it waits, once we do.

        It holds between processes and between threads, and goes with the process that has it. What is
        written in the file can be read meanwhile.
        """

    def sync_folder(self, folder: Path) -> None:
        """Bring to the medium which names a folder has."""

    def name_once(self, part: Path, target: Path) -> None:
        """Give a file of the same folder another name; raises FileExistsError where something has it.

        The old name may stay.
        """

    def is_open_to_others(self, status: os.stat_result) -> bool:
        """Whether a file says that others than its owner may read it."""

    def leave_no_cores(self) -> None:
        """Let neither us nor our children leave what is in memory in a file."""

    def allow_files(self, most: int) -> None:
        """Have room for so many open files, as far as we may."""

    def keep_port(self, listening: socket.socket) -> None:
        """Before it is bound: have the port at once after who had it before, and alone."""

    def end(self, pid: int, *, at_once: bool) -> None:
        """End the leader of a session: ask it where that can be done, or kill it with all that it started."""

    def end_rest(self, leader: int) -> None:
        """Kill what is left of a session whose leader has ended."""

    def end_group(self, leader: int) -> None:
        """Kill a child that we started as `process` does, with what it started."""


@cache
def system() -> System:
    """The system of this machine; its module is imported only now, as the other could not be."""
    module = "windows" if sys.platform == "win32" else "posix"
    return cast(System, import_module(f".{module}", __package__))
