"""The injector through libguestfs: file systems of an image are only ever mounted inside its appliance."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import MetisError
from ..model import Side
from ..raw import sparse
from ..raw.disk import Disk
from .appliance import Appliance
from .batches import Batches, Seat
from .tree import (
    GROWABLE,
    READ_LIMIT,
    Chooser,
    Coming,
    Layout,
    Status,
    Trees,
    filled,
    named,
    no_room,
    not_growable,
    status_of,
    too_long,
)

if TYPE_CHECKING:
    from guestfs import GuestFS

_ABSENT = ("No such file or directory", "Not a directory")
"""How the appliance, which speaks English, says that a parent is missing; the binding gives no number."""
_FULL = ("No space left on device", ": Wrote only")
"""How the kernel says that nothing fits any more, and tar(1) of a file of which a part still did."""
_TOLD_APART_BY_ID = frozenset({"btrfs", "xfs"})
"""File systems of which the kernel has no two copies mounted at the same time (xfs(5), nouuid)."""
_CHUNK = 1 << 20
"""Bytes of one pread: answers of the appliance are limited to 4 MiB."""


class GuestfsInjector:
    """Opens images in appliances; needs no rights on the host beyond reading the image."""

    def __init__(self, appliance: Appliance) -> None:
        self._batches = Batches(appliance.launch)

    @contextmanager
    def open(
        self, image: Path, disk: Layout, choose: Chooser, *, grow: bool = False, read_only: bool = False
    ) -> Iterator[Trees]:
        """See `tree.Injector`."""
        if isinstance(disk, Coming):
            sparse.reserve(image, disk.size)
        with self._batches.seat(image, read_only=read_only) as seat:
            layout = filled(disk)
            handle = seat.handle()
            with _one_line_errors(image, seat), ExitStack() as left:
                drive = _Drive(handle, seat)
                if isinstance(disk, Coming):
                    drive.look_again()
                if _TOLD_APART_BY_ID & {part.filesystem for part in layout.partitions}:
                    left.enter_context(seat.in_turn)
                    left.callback(drive.unmount)
                places = choose(layout, drive)
                if grow:
                    drive.grow(layout, places.root)
                root = drive.mount(places.root, "root", read_only=read_only)
                boot = (
                    drive.mount(places.boot, "boot", read_only=read_only) if places.boot is not None else None
                )
                # Others stay mounted until the appliance ends, which says what then went wrong: each call of
                # umount would first wait for udev, twice, and take three times as long.
                yield Trees(places, root, boot)


class _Drive:
    """One image in an appliance that may have others."""

    def __init__(self, handle: GuestFS, seat: Seat) -> None:
        self._handle = handle
        self._seat = seat
        self._tops: set[str] = set()
        self._mounted: list[str] = []

    def look_again(self) -> None:
        """Forget what was read of the drive before it was filled (block/partitions/core.c, BLKRRPART)."""
        self._handle.blockdev_rereadpt(self._seat.device)

    def has(self, partition: int, paths: Sequence[str]) -> bool:
        """See `tree.Contents`: one partition at a time, and without changing it."""
        look = self._top("look")
        try:
            self._handle.mount_ro(self._device(partition), look)
        except RuntimeError:  # not a file system that can be mounted, so not the one
            return False
        try:
            return any(self._handle.exists(look + path) for path in paths)
        finally:
            self._handle.umount(look)

    def grow(self, disk: Disk, number: int) -> None:
        """Make a file system as large as its partition."""
        filesystem = next(part.filesystem for part in disk.partitions if part.number == number)
        if filesystem not in GROWABLE:
            raise not_growable(filesystem)
        # resize2fs wants a file system that was checked just now.
        self._handle.e2fsck(self._device(number), correct=True)
        self._handle.resize2fs(self._device(number))

    def mount(self, partition: int, side: Side, *, read_only: bool) -> GuestfsTree:
        """The file system of a partition, until `unmount` or the end of the appliance."""
        top = self._top(side)
        mount = self._handle.mount_ro if read_only else self._handle.mount
        mount(self._device(partition), top)
        self._mounted.append(top)
        return GuestfsTree(self._handle, top)

    def unmount(self) -> None:
        """Leave the file systems before the appliance ends."""
        while self._mounted:
            self._handle.umount(self._mounted.pop())

    def _top(self, name: str) -> str:
        top = f"/{name}{self._seat.number}"
        if top not in self._tops:
            self._handle.mkmountpoint(top)
            self._tops.add(top)
        return top

    def _device(self, partition: int) -> str:
        return f"{self._seat.device}{partition}"


class GuestfsTree:
    """A file system that is mounted in the appliance at `top`."""

    def __init__(self, handle: GuestFS, top: str) -> None:
        self._handle = handle
        self._top = top

    def status(self, path: str) -> Status | None:
        """See `tree.Tree`."""
        try:
            found = self._handle.lstatnslist(self._top + _parent(path), [_name(path)])[0]
        except RuntimeError as error:
            if str(error).endswith(_ABSENT):
                return None
            raise
        if found["st_ino"] == -1:  # how lstatnslist says that there is nothing
            return None
        return status_of(found["st_mode"], found["st_uid"], found["st_gid"])

    def read(self, path: str) -> bytes:
        """See `tree.Tree`."""
        size = self._handle.filesize(self._top + path)
        if size > READ_LIMIT:
            raise too_long(path, size)
        # Under emulation, read_file would take 200 times as long: it starts a download.
        chunks = (self._handle.pread(self._top + path, _CHUNK, start) for start in range(0, size, _CHUNK))
        return b"".join(chunks)

    def sha256(self, path: str) -> str:
        """See `tree.Tree`."""
        # The appliance starts a program for a checksum: what one pread brings is hashed here.
        if self._handle.filesize(self._top + path) <= _CHUNK:
            return hashlib.sha256(self.read(path)).hexdigest()
        return str(self._handle.checksum("sha256", self._top + path))

    def read_link(self, path: str) -> str:
        """See `tree.Tree`."""
        return str(self._handle.readlink(self._top + path))

    def list_names(self, path: str) -> Sequence[str]:
        """See `tree.Tree`."""
        return list(self._handle.ls(self._top + path))

    def remove(self, path: str) -> None:
        """See `tree.Tree`."""
        self._handle.rm_rf(self._top + path)

    def extract(self, archive: Path) -> None:
        """See `tree.Tree`."""
        self._handle.tar_in(str(archive), self._top)

    def is_immutable(self, path: str) -> bool:
        """See `tree.Tree`."""
        return "i" in self._handle.get_e2attrs(self._top + path)

    def set_immutable(self, path: str) -> None:
        """See `tree.Tree`."""
        self._handle.set_e2attrs(self._top + path, "i")


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _name(path: str) -> str:
    return path.rpartition("/")[2]


@contextmanager
def _one_line_errors(image: Path, seat: Seat) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError:
        raise MetisError(f"a name or a link in {named(image)} is not UTF-8") from None
    except RuntimeError as error:
        seat.check()
        reason = str(error).strip().splitlines()[0]
        if any(words in str(error) for words in _FULL):
            raise no_room(named(image)) from None
        raise MetisError(f"libguestfs: {reason}", f"while working on {image}") from None
