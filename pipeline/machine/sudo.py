"""Who called us through sudo: a burn needs root for the card, and nothing else should become root's.

What is the caller's stays the caller's: their home, with its secrets and caches, and the artifacts.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Caller:
    """The user who said sudo."""

    uid: int
    gid: int
    name: str
    home: str


def caller() -> Caller | None:
    """Who called us through sudo(8); None where nobody did, or root did."""
    words = os.environ.get("SUDO_UID", "")
    if not words.isdecimal() or int(words) == 0 or os.geteuid() != 0:
        return None
    import pwd

    try:
        about = pwd.getpwuid(int(words))
    except KeyError:
        return None
    return Caller(about.pw_uid, about.pw_gid, about.pw_name, about.pw_dir)


def at_home(who: Caller) -> None:
    """Have all that is looked for in a home found in the caller's, whatever sudo has set."""
    os.environ.update(HOME=who.home, USER=who.name, LOGNAME=who.name)


def give_back_at_exit(who: Caller, folders: Iterable[Path]) -> None:
    """See `give_back`; done when this process ends, however it ends but by SIGKILL.

    Only what is the caller's, or is made from now on: a slip in a folder's name gives away nothing of root's.
    """
    atexit.register(
        give_back, who, tuple(_first_made(folder) for folder in folders if _may_have(who, folder))
    )


def _may_have(who: Caller, folder: Path) -> bool:
    """Whether a folder, or the one that it lies in, is the caller's, or it is not there yet."""
    if not folder.exists():
        return True
    place = folder.resolve()
    return who.uid in {place.stat().st_uid, place.parent.stat().st_uid}


def _first_made(folder: Path) -> Path:
    """What will be made first when a folder is: one of those that it lies in, where they are not there."""
    missing = [place for place in folder.parents if not place.exists()]
    return missing[-1] if missing else folder


def give_back(who: Caller, folders: Iterable[Path]) -> None:
    """Make what is root's below these folders the caller's; links are not followed."""
    for folder in filter(Path.exists, folders):
        for _, folders_in, files, descriptor in os.fwalk(folder):
            for name in (".", *folders_in, *files):
                with suppress(FileNotFoundError):  # others may be at work there
                    if os.lstat(name, dir_fd=descriptor).st_uid == 0:
                        os.chown(name, who.uid, who.gid, dir_fd=descriptor, follow_symlinks=False)
