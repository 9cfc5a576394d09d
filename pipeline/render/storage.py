"""Disks of the node: Longhorn's, and a scratch disk that takes the wear off the card.

The card must not stand in for a disk that is not there: its mount point is immutable, so that nothing can be
written while nothing is mounted; k3s waits for it where `mode` is strict; and metis-disks.service says which
disk is missing or wrong. No disk is ever formatted or labelled by us.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from ..model import Directory, Edit, Entry, Fault, File, ImageFact, Remove, ResolvedNode, Text, Value
from .concern import Owned
from .k3s import unit_of
from .systems.table import starts_by_firmware
from .units import UNITS, enabled, mount_unit, script, unit

TABLE = "/etc/metis/disks"
LONGHORN_DATA = "/var/lib/longhorn"
SCRATCH_UNIT = "metis-scratch.service"
DISKS_UNIT = "metis-disks.service"

ON_CARD = (
    "/var/lib/cloud",
    "/var/lib/dpkg",
    "/var/lib/metis",
    "/var/lib/rancher/k3s/agent/etc",
    "/var/lib/rancher/k3s/agent/images",
    "/var/lib/rancher/k3s/server",
    "/var/lib/systemd",
    "/var/log/journal",
)
"""What is read before a disk on USB can be there, or holds files of the card that a mount would hide."""

FOR_PODS = ("/var/lib/kubelet", "/var/lib/rancher", "/var/log/pods")
"""Where k3s must be able to write, or no pod starts, on a node that may even call itself ready."""

NEEDED = {"longhorn": ("disks",), "usb_scratch": ("uuid", "path")}
"""What a class and its node must have said between them."""

OWNED = Owned(
    paths=("/etc/fstab",),
    keys={
        **dict.fromkeys(
            ("disk_setup", "fs_setup", "mounts"),
            "disks are declared with longhorn and usb_scratch, and nothing here may format or mount one",
        ),
        "swap": "swap wears out a card, and the kubelet wants none",
    },
)

# fsck(8) is for ext4 only: XFS looks after itself when it is mounted (fsck.xfs(8)).
PASSES = {"ext4": 2, "xfs": 0}


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk as it is declared at `place` in the settings; `binds` are folders that lie on it."""

    place: str
    uuid: str
    path: str
    filesystem: str
    disk_uuid: str
    is_strict: bool
    binds: tuple[str, ...]


def render(node: ResolvedNode) -> tuple[Entry, ...]:
    """Mounts (fstab(5)), mount points that nobody can write to, and units that watch over them."""
    disks = tuple(disks_of(node))
    arguments = _fstab(node, disks)
    return (
        *((Edit("/etc/fstab", "fstab", arguments),) if arguments else ()),
        # Disks that were copied with a golden would share their names and replicas in Longhorn.
        *((Remove(LONGHORN_DATA),) if unit_of(node) or "longhorn" in node.settings else ()),
        *(_of_disks(node, disks) if disks else ()),
    )


def check(node: ResolvedNode) -> Iterator[Fault]:
    """Halves of a disk, two disks or folders in one place, and folders that are needed before their disk."""
    incomplete = tuple(_incomplete(node))
    yield from incomplete
    if incomplete:
        return
    disks = tuple(disks_of(node))
    for one, other in combinations(disks, 2):
        if one.uuid == other.uuid:
            yield f"{other.place}.uuid", f"expected another disk than that of {one.place}, found {one.uuid}"
    yield from _overlapping(disks)
    for disk in disks:
        yield from ((f"{disk.place}.binds", why) for path in disk.binds for why in _unfit(path))
        if unit_of(node) and not disk.is_strict:
            yield from ((f"{disk.place}.binds", why) for path in disk.binds for why in _amiss(path))


def _incomplete(node: ResolvedNode) -> Iterator[Fault]:
    for part, keys in NEEDED.items():
        missing = [key for key in keys if part in node.settings and key not in node.settings[part]]
        yield from ((f"{part}.{key}", f"missing, {part} is nothing without it") for key in missing)


def _overlapping(disks: tuple[Disk, ...]) -> Iterator[Fault]:
    places = [(f"{disk.place}.path", disk.path) for disk in disks]
    places += [(f"{disk.place}.binds", path) for disk in disks for path in disk.binds]
    for (_, one), (place, other) in combinations(places, 2):
        if _overlap(one, other):
            yield place, f"expected a folder apart from {one}, found {other}"


def _unfit(path: str) -> Iterator[str]:
    """Say why a folder cannot lie on the scratch disk."""
    if any(_overlap(path, kept) for kept in ON_CARD):
        yield f"{path} has what the node needs without the disk: leave it on the card"
    if _overlap(path, LONGHORN_DATA):
        yield f"{path} is Longhorn's: give it a disk with longhorn.disks"


def _amiss(path: str) -> Iterator[str]:
    """Say why k3s cannot do without a folder on the scratch disk."""
    if any(_overlap(path, needed) for needed in FOR_PODS):
        yield f"expected mode: strict beside {path}, as no pod starts without it"


def _overlap(one: str, other: str) -> bool:
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def disks_of(node: ResolvedNode) -> Iterator[Disk]:
    """The disks that a node declares: Longhorn's, then the one for scratch."""
    longhorn, scratch = node.settings.get("longhorn", {}), node.settings.get("usb_scratch", {})
    declared = [
        (f"longhorn.disks[{index}]", disk, longhorn) for index, disk in enumerate(longhorn.get("disks", ()))
    ]
    if scratch:
        declared.append(("usb_scratch", scratch, scratch))
    for place, disk, part in declared:
        yield Disk(
            place,
            disk["uuid"],
            disk["path"],
            disk.get("filesystem", "ext4"),
            disk.get("disk_uuid", "-"),
            part.get("mode") != "soft",
            disk.get("binds", ()),
        )


# ------------------------------------------------------------------------------------------- fstab(5)


def _fstab(node: ResolvedNode, disks: tuple[Disk, ...]) -> tuple[tuple[str, Value], ...]:
    """What fstab is to say, by the names of the edit's arguments.

    A Raspberry Pi's card is found by the ids of its partitions, which no other card has. A boot loader names
    labels in places of its own, so there they stay.
    """
    lines = [line for disk in disks for line in (_mount(disk), *(_bind(disk, path) for path in disk.binds))]
    mounts = "".join(f"{line}\n" for line in lines)
    is_pi = starts_by_firmware(node.klass)
    ids = (("boot", ImageFact("boot_partuuid")), ("root", ImageFact("root_partuuid"))) if is_pi else ()
    return tuple(sorted((*ids, *((("mounts", mounts),) if mounts else ()))))


def _mount(disk: Disk) -> str:
    options = "defaults,noatime,nofail,x-systemd.device-timeout=60s"
    return f"UUID={disk.uuid} {disk.path} {disk.filesystem} {options} 0 {PASSES[disk.filesystem]}"


def _bind(disk: Disk, path: str) -> str:
    options = f"bind,nofail,x-systemd.requires-mounts-for={disk.path},x-systemd.requires={SCRATCH_UNIT}"
    return f"{_source(disk, path)} {path} none {options} 0 0"


def _source(disk: Disk, path: str) -> str:
    """Where a folder lies on its disk: under its own path, so that a look at the disk says what is what."""
    return f"{disk.path}{path}"


# ---------------------------------------------------------------------------------------------- units


def _of_disks(node: ResolvedNode, disks: tuple[Disk, ...]) -> Iterator[Entry]:
    for disk in disks:
        for path in (disk.path, *disk.binds):
            yield Directory(path, mode=0, immutable=True)
        if disk.binds:
            yield unit(SCRATCH_UNIT, _scratch_unit(disk))
    yield File(TABLE, (Text("".join(row for disk in disks for row in _rows(disk))),))
    yield script("check-disks")
    yield unit(DISKS_UNIT)
    yield File(f"{UNITS}/{DISKS_UNIT}.d/10-mounts.conf", (Text(f"[Unit]\nAfter={_mounts(disks)}\n"),))
    yield enabled(DISKS_UNIT, "multi-user.target")
    k3s = unit_of(node)
    if k3s:
        yield File(f"{UNITS}/{k3s}.d/20-metis-mounts.conf", (Text(_waiting(disks)),))


def _rows(disk: Disk) -> Iterator[str]:
    """A disk and its folders for check-disks: what is wrong fails it where they are strict, else it warns."""
    mode = "strict" if disk.is_strict else "soft"
    yield f"{disk.uuid} {disk.path} {disk.disk_uuid} {mode}\n"
    yield from (f"{disk.uuid} {path} - {mode}\n" for path in disk.binds)


def _scratch_unit(disk: Disk) -> Text:
    """A unit that makes the folders on the disk once it is mounted, and before they are mounted elsewhere."""
    folders = " ".join(_source(disk, path) for path in disk.binds)
    return Text(
        "[Unit]\n"
        "Description=Make the folders that lie on the scratch disk\n"
        "DefaultDependencies=no\n"
        f"RequiresMountsFor={disk.path}\n"
        f"AssertPathIsMountPoint={disk.path}\n"
        "Conflicts=shutdown.target\n"
        "Before=shutdown.target\n"
        "\n[Service]\n"
        "Type=oneshot\n"
        "RemainAfterExit=yes\n"
        f"ExecStart=/usr/bin/mkdir -p {folders}\n"
    )


def _waiting(disks: tuple[Disk, ...]) -> str:
    """How k3s waits: for all disks, and in vain for a strict one that is not there or not the right one."""
    strict = [path for disk in disks if disk.is_strict for path in (disk.path, *disk.binds)]
    needs = f"RequiresMountsFor={' '.join(strict)}\nRequires={DISKS_UNIT}\n" if strict else ""
    return f"[Unit]\n{needs}After={DISKS_UNIT} {_mounts(disks)}\n"


def _mounts(disks: tuple[Disk, ...]) -> str:
    return " ".join(mount_unit(path) for disk in disks for path in (disk.path, *disk.binds))
