"""Which partition is the root and which the firmware's: by label where one is named, else by content.

Pure but for the look into a file system, which the adapter brings. Never by index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import MetisError
from ..model import Side
from ..raw.disk import Disk, Partition
from .tree import OS_RELEASE, Chooser, Contents, Places

ROOT_FILESYSTEMS = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs"})
BOOT_FILESYSTEMS = frozenset({"vfat"})
BOOT_FILES = ("/config.txt", "/cmdline.txt", "/current/cmdline.txt", "/EFI")
"""What a firmware looks for: a Raspberry Pi's (also of Ubuntu's A/B layout), or UEFI's."""


def by_label_or_content(labels: Mapping[Side, str]) -> Chooser:
    """A chooser for a class that names the labels of some sides."""

    def choose(disk: Disk, contents: Contents) -> Places:
        roots = _candidates(disk, labels.get("root"), ROOT_FILESYSTEMS, OS_RELEASE, contents)
        root = _single(roots, "root", labels.get("root"))
        if root is None:
            raise MetisError(
                f"the golden has no root partition{_named(labels.get('root'))}",
                "expected a file system with /etc/os-release; name its label with partitions.root.label",
            )
        boots = _candidates(disk, labels.get("boot"), BOOT_FILESYSTEMS, BOOT_FILES, contents)
        boot = _single(boots, "boot", labels.get("boot"))
        if boot is None and "boot" in labels:
            raise MetisError(
                f"the golden has no boot partition{_named(labels['boot'])}",
                "expected a FAT file system of that label",
            )
        return Places(root, boot)

    return choose


def exactly(places: Places) -> Chooser:
    """A chooser that knows the places already."""
    return lambda _disk, _contents: places


def _candidates(
    disk: Disk,
    label: str | None,
    filesystems: frozenset[str],
    marks: Sequence[str],
    contents: Contents,
) -> list[Partition]:
    fitting = [part for part in disk.partitions if part.filesystem in filesystems]
    if label is not None:
        return [part for part in fitting if part.label == label]
    return [part for part in fitting if contents.has(part.number, marks)]


def _single(found: Sequence[Partition], side: Side, label: str | None) -> int | None:
    if len(found) > 1:
        listed = " and ".join(f"{part.number} (label {part.label or 'none'})" for part in found)
        hint = "give each its own label" if label else f"name the right one with partitions.{side}.label"
        raise MetisError(f"two partitions of the golden could be its {side}: {listed}", hint)
    return found[0].number if found else None


def _named(label: str | None) -> str:
    return f" with the label {label!r}" if label else ""
