"""The injector through loop devices: root mounts the image's partitions on the host itself.

Much faster than an appliance, but the host's kernel then reads whatever the golden holds: for goldens that
are trusted. The mounts are of a kind that nobody else sees (see `mounting`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from .. import process
from ..disk import Disk, Partition
from ..errors import MetisError
from .beneath import Beneath
from .folder import FolderTree
from .mounting import mount
from .tree import GROWABLE, Chooser, Trees, not_growable, shown

_LIMIT = 600.0
"""Seconds for a check or a growth; large file systems take minutes."""
_DETACH_LIMIT = 30.0
"""Seconds that a file system has for its last writes."""

_NO_REPLAY: Mapping[str, Mapping[str, str | None]] = {
    "ext3": {"noload": None},
    "ext4": {"noload": None},
    "xfs": {"norecovery": None},
    "f2fs": {"norecovery": None},
}
"""How a file system is read without its journal being played back, which would write."""
_FAT: Mapping[str, str | None] = {"utf8": "1", "tz": "UTC"}
"""Names and times as the appliance has them, whatever the host's locale and time zone are (mount(8))."""


class LoopInjector:
    """Opens images on this host, as root; what file systems it can take is the kernel's matter."""

    @contextmanager
    def open(
        self, image: Path, disk: Disk, choose: Chooser, *, grow: bool = False, read_only: bool = False
    ) -> Iterator[Trees]:
        """See `tree.Injector`."""
        if os.geteuid() != 0:
            raise MetisError("only root may mount an image", "use sudo, or METIS_INJECTOR=guestfs")
        places = choose(disk, _Contents(image, disk))
        if grow:
            _grow(image, _partition(disk, places.root))
        with ExitStack() as stack:
            root, boot = (
                stack.enter_context(_mounted(image, _partition(disk, number), read_only=read_only))
                if number is not None
                else None
                for number in (places.root, places.boot)
            )
            assert root is not None
            yield Trees(places, root, boot)
            if not read_only:
                for tree in filter(None, (root, boot)):
                    tree.flush()


class _Contents:
    """Looks into partitions, one at a time, without changing them."""

    def __init__(self, image: Path, disk: Disk) -> None:
        self._image = image
        self._disk = disk

    def has(self, partition: int, paths: Sequence[str]) -> bool:
        """See `tree.Contents`."""
        try:
            top = _mount(self._image, _partition(self._disk, partition), read_only=True)
        except OSError:  # not a file system that can be mounted, so not the one
            return False
        with Beneath(top) as beneath:
            return any(beneath.has(path) for path in paths)


@contextmanager
def _mounted(image: Path, partition: Partition, *, read_only: bool) -> Iterator[FolderTree]:
    """A partition's file system while the block runs; afterwards nothing of it is in use any more."""
    try:
        top = _mount(image, partition, read_only=read_only)
    except OSError as error:
        raise MetisError(
            f"cannot mount partition {partition.number} of {shown(image)}: {error.strerror}"
        ) from None
    with ExitStack() as stack:
        if not read_only:
            stack.callback(_wait_until_unmounted, image, partition)
        beneath = stack.enter_context(Beneath(top))
        yield FolderTree(beneath, shown(image), plain=partition.filesystem == "vfat")


def _mount(image: Path, partition: Partition, *, read_only: bool) -> int:
    """A descriptor of a partition's top; see `mounting.mount`."""
    filesystem = partition.filesystem
    if filesystem is None:
        raise MetisError(f"partition {partition.number} of {shown(image)} has no file system")
    options = {
        **(_NO_REPLAY.get(filesystem, {}) if read_only else {}),
        **(_FAT if filesystem == "vfat" else {}),
    }
    with _loop(image, partition, read_only=read_only) as device:
        return mount(device, filesystem, options, read_only=read_only)


@contextmanager
def _loop(image: Path, partition: Partition, *, read_only: bool = False) -> Iterator[str]:
    """A loop device on a partition. What is mounted from it keeps it until it is unmounted (losetup(8))."""
    place = ["--offset", str(partition.start), "--sizelimit", str(partition.size)]
    kind = ["--read-only"] if read_only else []
    device = _said(["losetup", "--find", "--show", *place, *kind, image.absolute()])
    try:
        yield device
    finally:
        process.run(["losetup", "--detach", device], timeout=_LIMIT)


def _wait_until_unmounted(image: Path, partition: Partition) -> None:
    """Wait for the last writes to the image: another thread's child may have held our descriptor for a blink.

    Once the file system lets go of its loop device, that is gone.
    """
    place: list[str | Path] = ["--associated", image.absolute(), "--offset", str(partition.start)]
    deadline = time.monotonic() + _DETACH_LIMIT
    while device := _said(["losetup", "--noheadings", "--output", "NAME", *place]):
        if time.monotonic() > deadline:
            raise MetisError(f"{device} still holds {image}", f"see who uses it, then `losetup -d {device}`")
        time.sleep(0.02)


def _grow(image: Path, partition: Partition) -> None:
    if partition.filesystem not in GROWABLE:
        raise not_growable(partition.filesystem)
    with _loop(image, partition) as device:
        # resize2fs wants a file system that was checked just now; 1 says that something was mended.
        checked = process.run(["e2fsck", "-f", "-p", device], timeout=_LIMIT, check=False)
        if checked.code not in {0, 1}:
            raise MetisError(
                f"the root of {shown(image)} is damaged: {checked.last_words}", "fetch the golden again"
            )
        process.run(["resize2fs", device], timeout=_LIMIT)


def _said(argv: Sequence[str | Path]) -> str:
    return process.run(argv, timeout=_LIMIT).out.decode().strip()


def _partition(disk: Disk, number: int) -> Partition:
    return next(part for part in disk.partitions if part.number == number)
