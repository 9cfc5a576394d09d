"""Finds cards on Linux: lsblk(8), sysfs and the mount tables, and what an operator's word stands for."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ..artifacts import DEVICES
from ..errors import MetisError, RefusedError, one_line
from ..machine import mountinfo, process
from ..raw import blkid
from . import lsblk
from .cards import SWAP, Card
from .lsblk import Fact

LASTING = DEVICES / "disk/by-id"
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
_BLOCKS = Path("/sys/class/block")
_PROC = Path("/proc")
_TIMEOUT = 20.0
_LIMIT = 8 << 20
_LOOKS, _BETWEEN = 3, 0.2
"""udev's probes open a new disk for a moment: who still has it open at the last of these looks counts."""


def find() -> tuple[Card, ...]:
    """All disks and attached loop devices of this machine, those too that must never be written."""
    return lsblk.parse(_listed(), _facts())


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
    numbers: set[int] = set()
    if card.kind != "file":
        numbers = set(map(_number, (card.number, *map(_text_number, _parts(_name_of(card.number))))))
    found: tuple[str, ...] = ()
    file = card.path if card.kind == "file" else card.behind
    for look in range(_LOOKS):
        found = tuple(dict.fromkeys(_openers(file, numbers)))
        if not found:
            break
        if look < _LOOKS - 1:
            time.sleep(_BETWEEN)
    return found


def system_mounts(artifacts: Path) -> Mapping[str, str]:
    """What mount points of this machine are, for the policy; those that the artifacts lie on among them."""
    known = dict(SYSTEM)
    for mount in mountinfo.holding(_mounts(_PROC / "self"), os.path.realpath(artifacts)):
        point = one_line(mount.point)
        known[point] = f"{known[point]} and {ARTIFACTS}" if point in known else ARTIFACTS
    return known


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
        read_only=not os.access(place, os.W_OK),
        holders=tuple(_users(status)),
    )


def _disk(path: str, device: int) -> Card:
    number = f"{os.major(device)}:{os.minor(device)}"
    name = _name_of(number)
    _check_is_whole(path, name)
    probed = {each: _filesystem(each) for each in (name, *_parts(name))}
    facts = {
        each: replace(fact, filesystem=probed[each]) if each in probed else fact
        for each, fact in _facts().items()
    }
    for card in lsblk.parse(_listed(), facts):
        if card.number == number:
            may_write = not card.read_only and os.access(_device(name), os.W_OK)
            return replace(card, read_only=not may_write, holders=(*card.holders, *_sharers(card)))
    if name.startswith("loop"):
        raise RefusedError(f"{path} has no file attached", "`losetup` does that")
    raise RefusedError(f"{path} is no disk that could be a card", "`metis cards` lists cards")


def _check_is_whole(path: str, name: str) -> None:
    """Refuse a partition, and a loop device that is another name for a disk: its rules would not be asked."""
    own = _BLOCKS / name
    if (own / "partition").exists():
        whole = _device(own.resolve().parent.name)
        raise RefusedError(f"{path} is a partition", f"a card is written as a whole: name {whole}")
    behind = dict(_loops()).get(name, "")
    if _block_number(behind):
        raise RefusedError(f"{path} stands for {behind}", f"name {behind} itself")


def _users(file: os.stat_result) -> Iterator[str]:
    """What uses a plain file as a disk: loop devices, and the kernel for swap space."""
    yield from (name for name, behind in _loops() if _is_same(behind, file))
    yield from ("swap space" for point in _swaps() if _is_same(point, file))


def _sharers(card: Card) -> Iterator[str]:
    """What else uses the file that a loop device stands for."""
    with suppress(OSError, ValueError):
        if card.behind:
            yield from (user for user in _users(Path(card.behind).stat()) if _device(user) != card.path)


def _is_same(path: str, status: os.stat_result) -> bool:
    with suppress(OSError, ValueError):
        return os.path.samestat(Path(path).stat(), status)
    return False


# ------------------------------------------------------------------------------- what the kernel knows


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


def _facts() -> dict[str, Fact]:
    """What sysfs, udev's links and the mount tables say of disks and partitions, by the kernel's names."""
    names, points, holders, behind = _lasting_names(), _points(), _holders(), dict(_loops())
    facts = {}
    for name in _folder(_BLOCKS):
        folder = _BLOCKS / name
        number = _read(folder / "dev")
        facts[name] = Fact(
            names=tuple(sorted(names.get(number, ()))),
            sequence=_read(folder / "diskseq"),
            medium=_read(folder / "device/type") if name.startswith("mmcblk") else "",
            serial=_read(folder / "device/serial"),
            holders=(*_folder(folder / "holders"), *holders.get(number, ())),
            points=tuple(dict.fromkeys(points.get(number, ()))),
            behind=behind.get(name, ""),
        )
    return facts


def _lasting_names() -> dict[str, list[str]]:
    """The links that udev made, by the number of the device that each leads to."""
    found: dict[str, list[str]] = {}
    for link in _folder(LASTING):
        number = _block_number(LASTING / link)
        if number and link.isprintable():
            found.setdefault(number, []).append(str(LASTING / link))
    return found


def _points() -> dict[str, list[str]]:
    """Where devices are mounted, by their numbers: in this process's eyes, and in those of every other one.

    A file system may be mounted for a container only, and a mount may name another device than its number
    says (btrfs, overlays).
    """
    found: dict[str, list[str]] = {}
    seen = set()
    for folder in (_PROC / "self", *(_PROC / name for name in _folder(_PROC) if name.isdigit())):
        try:
            space = (folder / "ns/mnt").readlink()
        except OSError:
            continue
        if space in seen:
            continue
        seen.add(space)
        for mount in _mounts(folder):
            for number in {mount.number, _block_number(mount.source)}:
                found.setdefault(number, []).append(mount.point)
    if not found:
        raise MetisError(f"cannot see what is mounted: {_PROC}/self/mountinfo says nothing", "mount /proc")
    for path in _swaps():
        found.setdefault(_block_number(path), []).append(SWAP)
    return found


def _holders() -> dict[str, list[str]]:
    """What uses devices without being listed as their holder: loop devices, and btrfs on several disks."""
    found: dict[str, list[str]] = {}
    for name, behind in _loops():
        if number := _block_number(behind):
            found.setdefault(number, []).append(name)
    for volume in _folder(Path("/sys/fs/btrfs")):
        for name in _folder(Path("/sys/fs/btrfs") / volume / "devices"):
            if number := _read(_BLOCKS / name / "dev"):
                found.setdefault(number, []).append(f"btrfs {volume}")
    return found


def _loops() -> Iterator[tuple[str, str]]:
    """The loop devices and the files behind them."""
    for name in _folder(_BLOCKS):
        if name.startswith("loop") and (behind := _read(_BLOCKS / name / "loop/backing_file")):
            yield name, behind


def _swaps() -> Iterator[str]:
    """The files and devices that are swap space in use (proc(5), /proc/swaps)."""
    for line in _read(_PROC / "swaps").split("\n")[1:]:
        yield mountinfo.plain(line.split(" ")[0])


def _mounts(folder: Path) -> tuple[mountinfo.Mounted, ...]:
    return mountinfo.parse(_read(folder / "mountinfo"))


def _openers(path: str, numbers: set[int]) -> Iterator[str]:
    """The programs that have a plain file, or a device with one of the numbers, open just now."""
    for process_id in _folder(_PROC):
        if not process_id.isdigit() or int(process_id) == os.getpid():
            continue
        for handle in _folder(_PROC / process_id / "fd"):
            if _is_open(_PROC / process_id / "fd" / handle, path, numbers):
                yield f"{one_line(_read(_PROC / process_id / 'comm')) or 'a program'} ({process_id})"
                break


def _is_open(handle: Path, path: str, numbers: Iterable[int]) -> bool:
    # What a handle leads to is looked at only where its name fits: a network's file could keep us waiting.
    with suppress(OSError):
        leads_to = handle.readlink()
        if path and str(leads_to) == path:
            return True
        if numbers and DEVICES in leads_to.parents:
            status = handle.stat()
            return stat.S_ISBLK(status.st_mode) and status.st_rdev in numbers
    return False


def _filesystem(name: str) -> str:
    """What blkid(8) finds on a device, where it may look: without udev lsblk does not know."""
    return one_line(blkid.probed(Path(_device(name))).get("ID_FS_TYPE", ""))


def _parts(name: str) -> list[str]:
    """The partitions of a disk, by the kernel's names."""
    return [each for each in _folder(_BLOCKS / name) if (_BLOCKS / name / each / "partition").exists()]


def _name_of(number: str) -> str:
    """The kernel's name of a device."""
    return Path(f"/sys/dev/block/{number}").resolve().name


def _device(name: str) -> str:
    return str(DEVICES / name.replace("!", "/"))


def _text_number(name: str) -> str:
    return _read(_BLOCKS / name / "dev")


def _number(text: str) -> int:
    major, _, minor = text.partition(":")
    return os.makedev(int(major), int(minor)) if major.isdigit() and minor.isdigit() else 0


def _block_number(path: str | Path) -> str:
    """The number of the block device at a path, empty where there is none.

    Only what is called a device is looked at: a network's file could keep us waiting.
    """
    with suppress(OSError, ValueError):
        status = Path(path).stat() if DEVICES in Path(path).parents else None
        if status is not None and stat.S_ISBLK(status.st_mode):
            return f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    return ""


def _folder(folder: Path) -> list[str]:
    with suppress(OSError):
        return sorted(each.name for each in folder.iterdir())
    return []


def _read(file: Path) -> str:
    with suppress(OSError):
        return file.read_bytes().decode(errors="surrogateescape").strip()
    return ""
