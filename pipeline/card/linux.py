"""Linux, for burns: what cards there are, what an operator's word stands for, and how a card is opened.

What lsblk(8) says is read by `lsblk`; what the kernel says besides, by `sysfs` and `procfs`.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from ..errors import MetisError, RefusedError, one_line
from ..machine import mountinfo, process
from ..machine.paths import DEVICES
from ..raw import blkid
from . import block_device, direct, lsblk, plain_file, procfs, sysfs
from .block_device import LookAgain
from .cards import SWAP, Card
from .direct import DirectMedium
from .platform import Platform
from .table import SECTOR

SYSTEM = {
    "/": "the running system",
    "/boot": "what this machine starts from",
    "/boot/efi": "what this machine starts from",
    "/boot/firmware": "what this machine starts from",
    "/usr": "the running system",
    "/var": "the running system",
    "/home": "people's own files",
    SWAP: "this machine's swap space",
}
ARTIFACTS = "the artifacts"
_TIMEOUT = 20.0
_LIMIT = 8 << 20
_LOOKS, _BETWEEN = 3, 0.2
"""udev's probes open a new disk for a moment: who still has it open at the last of these looks counts."""


def find() -> tuple[Card, ...]:
    """All disks and attached loop devices of this machine, those too that must never be written."""
    return lsblk.parse(_listed(), sysfs.facts(procfs.points()))


def card_at(path: str) -> Card:
    """The card that an operator means: a disk by any of its names, a loop device, a plain file or a new one.

    Raises RefusedError, in words, for what is no card.
    """
    try:
        place = Path(path).resolve()
        status = place.stat()
    except FileNotFoundError:
        return _new_file(path, place)
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError is for links in a circle
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise RefusedError(f"{path} cannot be looked at: {reason}") from None
    if stat.S_ISBLK(status.st_mode):
        return _disk(path, status.st_rdev)
    if stat.S_ISREG(status.st_mode):
        return _file(path, place, status)
    what = "a folder" if stat.S_ISDIR(status.st_mode) else "neither a disk nor a file"
    raise RefusedError(f"{path} is {what}", "`metis cards` lists cards")


def openers(card: Card) -> tuple[str, ...]:
    """The programs that have the card or one of its partitions open; of others' only root gets to know.

    The kernel itself is none of them: mounts, swap and holders are other fields of a card.
    """
    file, numbers = card.path, set[int]()
    if card.kind != "file":
        file, numbers = card.behind, sysfs.numbers(card.number)
    found: tuple[str, ...] = ()
    for look in range(_LOOKS):
        found = tuple(dict.fromkeys(procfs.openers(file, numbers)))
        if not found:
            break
        if look < _LOOKS - 1:
            time.sleep(_BETWEEN)
    return found


def system_mounts(artifacts: Path) -> Mapping[str, str]:
    """What mount points of this machine are, for the policy; those that the artifacts lie on among them."""
    known = dict(SYSTEM)
    for mount in mountinfo.holding(procfs.mounts(), os.path.realpath(artifacts)):
        point = one_line(mount.point)
        known[point] = f"{known[point]} and {ARTIFACTS}" if point in known else ARTIFACTS
    return known


class LinuxOpener:
    """Opens cards for writing, alone; `look_again` says what is at a path once it is open."""

    def __init__(self, look_again: LookAgain) -> None:
        self._look_again = look_again

    @contextmanager
    def open(self, card: Card) -> Iterator[DirectMedium]:
        """The card while the block runs; see `medium.Opener`."""
        is_file = card.kind == "file"
        held = plain_file.held(card) if is_file else block_device.held(card, self._look_again)
        with held as descriptor, direct.medium(descriptor, card.size, 1 if is_file else SECTOR) as medium:
            yield medium


def platform() -> Platform:
    """What a burn asks of Linux."""
    return Platform(
        knows_file_systems=True,
        find=find,
        card_at=card_at,
        openers=openers,
        system_mounts=system_mounts,
        opener=LinuxOpener(card_at),
    )


# ------------------------------------------------------------------------------ what a word stands for


def _new_file(path: str, place: Path) -> Card:
    if DEVICES in place.parents:
        raise RefusedError(f"{path} is not there", "`metis cards` lists cards")
    if not place.parent.is_dir():
        raise RefusedError(f"{path} cannot be made: {place.parent} is no folder", "make it first")
    return Card(str(place), "file", 0, read_only=not os.access(place.parent, os.W_OK))


def _file(path: str, place: Path, status: os.stat_result) -> Card:
    if DEVICES in place.parents:
        raise RefusedError(f"{path} is a plain file among the devices", "`metis cards` lists cards")
    return Card(
        path=str(place),
        kind="file",
        size=status.st_size,
        number=f"{status.st_dev}:{status.st_ino}",
        read_only=not os.access(place, os.W_OK),
        holders=tuple(_users(status)),
    )


def _disk(path: str, device: int) -> Card:
    number = f"{os.major(device)}:{os.minor(device)}"
    name = sysfs.name_of(number)
    _check_is_whole(path, name)
    probed = {each: _filesystem(each) for each in (name, *sysfs.parts(name))}
    facts = {
        each: replace(fact, filesystem=probed[each]) if each in probed else fact
        for each, fact in sysfs.facts(procfs.points()).items()
    }
    for card in lsblk.parse(_listed(), facts):
        if card.number == number:
            may_write = not card.read_only and os.access(sysfs.device(name), os.W_OK)
            return replace(card, read_only=not may_write, holders=(*card.holders, *_sharers(card)))
    if name.startswith("loop"):
        raise RefusedError(f"{path} has no file attached", "`losetup` does that")
    raise RefusedError(f"{path} is no disk that could be a card", "`metis cards` lists cards")


def _check_is_whole(path: str, name: str) -> None:
    """Refuse a partition, and a loop device that is another name for a disk: its rules would not be asked."""
    if whole := sysfs.whole(name):
        hint = f"a card is written as a whole: name {sysfs.device(whole)}"
        raise RefusedError(f"{path} is a partition", hint)
    behind = dict(sysfs.loops()).get(name, "")
    if sysfs.block_number(behind):
        raise RefusedError(f"{path} stands for {behind}", f"name {behind} itself")


def _users(file: os.stat_result) -> Iterator[str]:
    """What uses a plain file as a disk: loop devices, and the kernel for swap space."""
    yield from (name for name, behind in sysfs.loops() if _is_same(behind, file))
    yield from ("swap space" for point in procfs.swaps() if _is_same(point, file))


def _sharers(card: Card) -> Iterator[str]:
    """What else uses the file that a loop device stands for."""
    with suppress(OSError, ValueError):
        if card.behind:
            users = _users(Path(card.behind).stat())
            yield from (user for user in users if str(sysfs.device(user)) != card.path)


def _is_same(path: str, status: os.stat_result) -> bool:
    with suppress(OSError, ValueError):
        return os.path.samestat(Path(path).stat(), status)
    return False


# ------------------------------------------------------------------------------------ what programs say


def _listed() -> bytes:
    """What lsblk says of everything, empty readers too; old ones know one mount point for each device."""
    words = ["lsblk", "--json", "--bytes", "--all", "--output"]
    for column in ("MOUNTPOINTS", "MOUNTPOINT"):
        said = process.run([*words, f"{lsblk.COLUMNS},{column}"], timeout=_TIMEOUT, limit=_LIMIT, check=False)
        if b"unknown column" not in said.err:
            break
    # A device that goes away while it is listed makes lsblk end with an error; the list is whole.
    if not said.out.strip():
        raise MetisError(f"lsblk cannot list the disks: {said.last_words}")
    return said.out


def _filesystem(name: str) -> str:
    """What blkid(8) finds on a device, where it may look: without udev lsblk does not know."""
    return one_line(blkid.probed(sysfs.device(name), timeout=_TIMEOUT).get("ID_FS_TYPE", ""))
