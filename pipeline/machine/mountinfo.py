"""What /proc/self/mountinfo says (proc(5)). Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mounted:
    """One mount: its own id, the number of its device (major:minor; none for btrfs and overlays), its place.

    `top` is the folder of the file system that is seen there, "/" for all of it. `source` is what was
    mounted, by whatever name; `options` are the file system's own.
    """

    id: str
    number: str
    top: str
    point: str
    filesystem: str
    source: str
    options: tuple[str, ...]

    def folders(self) -> tuple[str, ...]:
        """Where an overlay's files really lie (mount(8), overlay)."""
        if self.filesystem != "overlay":
            return ()
        pairs = [option.partition("=") for option in self.options]
        return tuple(
            folder
            for name, _, value in pairs
            if name in {"upperdir", "lowerdir"}
            for folder in value.split(":")
            if folder.startswith("/")
        )


def parse(text: str) -> tuple[Mounted, ...]:
    """The mounts in their order: of two at one place, the later one is seen there."""
    found = []
    for line in text.split("\n"):  # no other end of a line is escaped
        left, separator, right = line.partition(" - ")
        first, last = left.split(" "), right.split(" ")
        if separator and len(first) > 4 and len(last) > 2:  # noqa: PLR2004 - proc(5)
            own, _, number, top, point = first[:5]
            options = tuple(map(plain, last[2].split(",")))
            found.append(Mounted(own, number, plain(top), plain(point), last[0], plain(last[1]), options))
    return tuple(found)


def holding(mounts: Sequence[Mounted], path: str) -> tuple[Mounted, ...]:
    """The mount that a path lies on, and those that this one lies on; `path` has no links."""
    found: list[Mounted] = []
    waiting = [posixpath.normpath(path)]
    while waiting:
        place = waiting.pop()
        over = [mount for mount in mounts if _is_at(place, mount.point)]
        if over:
            longest = max(len(mount.point) for mount in over)
            top = [mount for mount in over if len(mount.point) == longest][-1]
            if top not in found:
                found.append(top)
                waiting += top.folders()
    return tuple(found)


def _is_at(place: str, point: str) -> bool:
    return place == point or place.startswith(f"{point.rstrip('/')}/")


def plain(word: str) -> str:
    r"""A word without the escapes that the kernel puts: `\040` for a space (proc(5))."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), word)
