"""What is known of a card before it is opened: the words that discovery, policy and people share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import RefusedError

SWAP = "[SWAP]"
"""The mount point of swap space, as lsblk(8) has it."""
Kind = Literal["disk", "loop", "file"]
"""A real device, a file that the kernel shows as a device, or a plain file."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A file system of the card that is in use; `point` is SWAP for swap space.

    One that is `released` gets its point without anybody's doing, and whoever opens the card takes it away
    for good, or is refused while a file of it is open: Windows' drive letters.
    """

    device: str
    point: str
    released: bool = False


@dataclass(frozen=True, slots=True)
class Card:
    """A device, or a plain file that stands for one, as it was found.

    `path` is what opens it, `names` are its lasting ones (/dev/disk/by-id). `size` and `sector` are in bytes;
    a reader without a card has size 0, and a file that is not there yet has size 0 too. `number` is what the
    system calls it just now (major:minor, the number of a physical drive, a file's device and inode), and
    `sequence` counts the media that were seen in it, where the system does (the kernel's diskseq). `holders`
    are what was built on it (device mapper, md) and `members` its parts that belong to such a thing (an LVM
    volume, a zfs pool).
    `openers` are the programs that have it open, where that was asked for. `behind` is the file that a loop
    device stands for.
    """

    path: str
    kind: Kind
    size: int
    names: tuple[str, ...] = ()
    vendor: str = ""
    model: str = ""
    serial: str = ""
    bus: str = ""
    removable: bool = False
    read_only: bool = False
    sector: int = 512
    number: str = ""
    sequence: str = ""
    mounts: tuple[Mount, ...] = ()
    holders: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    openers: tuple[str, ...] = ()
    behind: str = ""

    @property
    def identity(self) -> tuple[str, str, int]:
        """What must not have changed when the card is open: its number may stay while the medium changes."""
        return self.serial, self.sequence, self.size


def changed(path: str) -> RefusedError:
    """What is at a path is another card by now than the one that was found there."""
    return RefusedError(f"{path} is not the card any more that was found there", "look again")


def size_in_words(size: int) -> str:
    """A size as it is printed on cards: in units of 1000."""
    value, unit = float(size), "bytes"
    for larger in ("kB", "MB", "GB", "TB", "PB", "EB"):
        if value < 1000:  # noqa: PLR2004 - the unit's step
            break
        value, unit = value / 1000, larger
    return f"{size} bytes" if unit == "bytes" else f"{f'{value:.1f}'.removesuffix('.0')} {unit}"
