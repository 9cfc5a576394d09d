"""What /proc/PID/mountinfo says (proc(5)). Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from sys import intern

from .private import is_beneath

_BEFORE, _AFTER = 6, 3
"""Words before and after the dash, at least."""
_WHOLE = 16
"""Mounts of one file system among which the one of all of it is looked for: it comes early."""


class Mounted:
    """One mount: the number of its device (major:minor), its place and what is seen there.

    `top` is the folder of the file system that is seen, `/` for all of it.
    """

    __slots__ = ("number", "path", "read_only", "source", "top", "type")

    def __init__(self, before: Sequence[str], after: Sequence[str]) -> None:
        self.number = intern(before[2])  # what thousands of binds have in common is kept once
        self.top = intern(_plain(before[3]))
        self.path = _plain(before[4])
        self.type = intern(after[0])
        self.source = intern(_plain(after[1]))
        self.read_only = "ro" in before[5].split(",") or "ro" in after[2].split(",")


def parse(table: bytes) -> list[Mounted]:
    """The mounts that are seen, in their order: of several at one place only the last one is."""
    found: dict[str, Mounted] = {}
    for line in table.decode("utf-8", "surrogateescape").split("\n"):
        left, _, right = line.partition(" - ")
        before, after = left.split(" "), right.split(" ")
        if len(before) >= _BEFORE and len(after) >= _AFTER:
            mount = Mounted(before, after)
            found.pop(mount.path, None)
            found[mount.path] = mount
    return list(found.values())


def binds_of(mounts: Sequence[Mounted], is_private: Callable[[str], bool]) -> Iterator[str]:
    """Where something is mounted that is private where its file system is mounted as a whole."""
    others: dict[str, list[Mounted]] = {}
    for mount in mounts:
        others.setdefault(mount.number, []).append(mount)
    for bind in mounts:
        for other in others[bind.number][:_WHOLE]:
            inside = bind.top[len(other.top.rstrip("/")) :]
            if is_beneath(bind.top, other.top) and is_private(
                f"{other.path.rstrip('/')}{inside}".rstrip("/")
            ):
                yield bind.path
                break


def _plain(word: str) -> str:
    r"""A word without the escapes that the kernel puts: `\040` for a space."""
    return re.sub(r"\\([0-3][0-7]{2})", lambda match: chr(int(match[1], 8)), word)
