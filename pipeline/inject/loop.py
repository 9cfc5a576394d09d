"""The injector through loop devices: root mounts the image's partitions on the host itself.

Much faster than an appliance, but the host's kernel then reads whatever the golden holds: for goldens that
are trusted. The mounts are of a kind that nobody else sees (see `mounting`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..errors import MetisError
from ..machine import process
from ..raw.disk import Disk, Partition
from .attaching import Loop, attached
from .beneath import Beneath
from .folder import FolderTree
from .held import held
from .mounting import mount
from .tree import GROWABLE, Chooser, Layout, Trees, filled, named, not_growable

_LIMIT = 600.0
"""Seconds for a check or a growth; large file systems take minutes."""

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
        self, image: Path, disk: Layout, choose: Chooser, *, grow: bool = False, read_only: bool = False
    ) -> Iterator[Trees]:
        """See `tree.Injector`."""
        layout = filled(disk)
        if os.geteuid() != 0:
            raise MetisError("only root may mount an image", "use sudo, or METIS_INJECTOR=guestfs")
        with ExitStack() as stack:
            stack.enter_context(held(image, read_only=read_only))
            places = choose(layout, _Contents(image, layout))
            if grow:
                _grow(image, _partition(layout, places.root))
            root, boot = (
                stack.enter_context(_mounted(image, _partition(layout, number), read_only=read_only))
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
            top, _ = _mount(self._image, _partition(self._disk, partition), read_only=True)
        except OSError:  # not a file system that can be mounted, so not the one
            return False
        with Beneath(top) as beneath:
            return any(beneath.has(path) for path in paths)


@contextmanager
def _mounted(image: Path, partition: Partition, *, read_only: bool) -> Iterator[FolderTree]:
    """A partition's file system while the block runs; afterwards nothing of it is in use any more."""
    try:
        top, loop = _mount(image, partition, read_only=read_only)
    except OSError as error:
        raise MetisError(
            f"cannot mount partition {partition.number} of {named(image)}: {error.strerror}"
        ) from None
    with ExitStack() as stack:
        if not read_only:
            stack.callback(loop.wait_until_gone)
        beneath = stack.enter_context(Beneath(top))
        yield FolderTree(beneath, named(image), plain=partition.filesystem == "vfat")


def _mount(image: Path, partition: Partition, *, read_only: bool) -> tuple[int, Loop]:
    """A descriptor of a partition's top (see `mounting.mount`), and the device that it keeps."""
    filesystem = partition.filesystem
    if filesystem is None:
        raise MetisError(f"partition {partition.number} of {named(image)} has no file system")
    options = {
        **(_NO_REPLAY.get(filesystem, {}) if read_only else {}),
        **(_FAT if filesystem == "vfat" else {}),
    }
    with attached(image, partition.start, partition.size, read_only=read_only) as loop:
        return mount(loop.device, filesystem, options, read_only=read_only), loop


def _grow(image: Path, partition: Partition) -> None:
    if partition.filesystem not in GROWABLE:
        raise not_growable(partition.filesystem)
    with attached(image, partition.start, partition.size, read_only=False) as loop:
        # resize2fs wants a file system that was checked just now; 1 says that something was mended.
        checked = process.run(["e2fsck", "-f", "-p", loop.device], timeout=_LIMIT, check=False)
        if checked.code not in {0, 1}:
            raise MetisError(
                f"the root of {named(image)} is damaged: {checked.last_words}", "fetch the golden again"
            )
        process.run(["resize2fs", loop.device], timeout=_LIMIT)


def _partition(disk: Disk, number: int) -> Partition:
    return next(part for part in disk.partitions if part.number == number)
