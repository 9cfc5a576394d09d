"""The port between a manifest and the file systems of an image."""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from ..errors import MetisError, one_line
from ..model import Side
from ..raw import ext
from ..raw.disk import Disk

VERSION = 5
"""Of everything in this package that decides about the bytes in an image: counts up when those change."""

OS_RELEASE = ("/etc/os-release", "/usr/lib/os-release")
"""Where os-release(5) is; a file system that has one is a root."""

GROWABLE = ext.KINDS
"""File systems that can be made as large as their partition (resize2fs(8))."""

READ_LIMIT = 4 << 20
"""Bytes: no file that Metis edits is longer, and a longer one is refused."""

NodeKind = Literal["file", "directory", "symlink", "other"]


@dataclass(frozen=True, slots=True)
class Status:
    """What lstat(2) says of a path."""

    kind: NodeKind
    mode: int
    uid: int
    gid: int


_KINDS: dict[int, NodeKind] = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}


def status_of(mode: int, uid: int, gid: int) -> Status:
    """The status of what lstat(2) gives these numbers for."""
    return Status(_KINDS.get(stat.S_IFMT(mode), "other"), stat.S_IMODE(mode), uid, gid)


class Tree(Protocol):
    """One mounted file system. Paths are absolute within it; links in them are followed within it only.

    Where it is open for reading, what would change it raises MetisError with the system's own words for that,
    "Read-only file system". What it has no room for raises `no_room`; other trouble, MetisError in a line.
    """

    def status(self, path: str) -> Status | None:
        """What is at a path (the last name is not followed), None where nothing is."""

    def read(self, path: str) -> bytes:
        """The content of a regular file of at most READ_LIMIT bytes."""

    def sha256(self, path: str) -> str:
        """The hash of a regular file of any length, as hex."""

    def read_link(self, path: str) -> str:
        """What a symbolic link holds."""

    def list_names(self, path: str) -> Sequence[str]:
        """The names in a directory, in no special order."""

    def remove(self, path: str) -> None:
        """Remove a path with all beneath it; nothing happens where nothing is."""

    def extract(self, archive: Path) -> None:
        """Unpack a tar archive (pax) over the file system, with owners and modes where it has them.

        The archive holds secrets, and is open in this process without a name: it is read by this path, which
        only works while it is open, and never copied to where a kill would leave it.
        """

    def is_immutable(self, path: str) -> bool:
        """Whether a directory has the attribute of chattr(1) that keeps everyone from changing it."""

    def set_immutable(self, path: str) -> None:
        """Give a directory that attribute; raises MetisError where the file system has none."""


@dataclass(frozen=True, slots=True)
class Places:
    """The numbers of the partitions, in the partition table, that hold the root and the boot file system."""

    root: int
    boot: int | None


@dataclass(frozen=True, slots=True)
class Trees:
    """The file systems of an open image and the partitions that they are on; `boot` where there is one."""

    places: Places
    root: Tree
    boot: Tree | None

    def side(self, side: Side) -> Tree | None:
        """The tree of a side."""
        return self.root if side == "root" else self.boot


class Contents(Protocol):
    """Looks into partitions that are not chosen yet."""

    def has(self, partition: int, paths: Sequence[str]) -> bool:
        """Whether a partition's file system has any of the paths."""


Chooser = Callable[[Disk, Contents], Places]
"""Decides which partitions are meant, from what is found in them; raises where none or two fit."""


@dataclass(frozen=True, slots=True)
class Coming:
    """An image that is still to be made: `fill` makes it, `size` bytes long, and says its layout.

    What an injector has to begin takes its time meanwhile.
    """

    size: int
    fill: Callable[[], Disk]


Layout = Disk | Coming
"""Of an image that is there, or how one comes to be."""


class Injector(Protocol):
    """Opens the file systems of an image file for change."""

    def open(
        self, image: Path, disk: Layout, choose: Chooser, *, grow: bool = False, read_only: bool = False
    ) -> AbstractContextManager[Trees]:
        """The image's trees; when the block ends well, everything written is in the image file.

        With `grow` the root file system is first made as large as its partition. Raises LostError where
        others were to blame, and another try would do without them.
        """


class LostError(MetisError):
    """What was done to several images together was lost with one of them."""


def filled(disk: Layout) -> Disk:
    """The layout of an image, which is there from then on."""
    return disk.fill() if isinstance(disk, Coming) else disk


# ------------------------------------------------------- what every adapter finds wrong in the same words


def named(image: Path) -> str:
    """An image's name for messages; where it is, changes when it is finished."""
    return image.name


class NotExactError(MetisError):
    """The direct injector would not do it just as a kernel does: another one does."""

    def __init__(self, name: str, why: str) -> None:
        # One line here already: where another injector goes on, this is noted and not raised.
        super().__init__(
            one_line(f"{name} cannot be changed or read without a kernel: {why}"),
            "use METIS_INJECTOR=guestfs, or auto, which does so by itself",
        )


def no_room(name: str) -> MetisError:
    """The files are more than the file system holds."""
    return MetisError(f"the files do not fit into {name}", "raise image.headroom of the class")


def too_long(path: str, size: int) -> MetisError:
    """A file is longer than READ_LIMIT."""
    return MetisError(f"{path} in the golden is {size} bytes long", "too long to be edited")


def not_growable(filesystem: str | None) -> MetisError:
    """A root that is not one of GROWABLE was to be grown."""
    return MetisError(
        f"cannot grow a root of {filesystem or 'an unknown kind'}", "set image.headroom of the class to 0"
    )
