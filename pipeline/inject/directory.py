"""The injector on folders: where a card is mounted already, or that stand for one.

Who names the folders says which file systems are meant, so nothing is searched for; but what is no root, or
is the running system's own, is not touched. A mount beneath a folder is not entered (see `beneath`): the
root's own entries do not reach a boot file system that is mounted on it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path
from typing import NoReturn

from ..errors import MetisError, RefusedError
from ..machine.mountinfo import Mounted
from ..model import Side
from ..raw import disk as disks
from ..raw.disk import Disk
from .beneath import Beneath
from .folder import FolderTree
from .mounts import mount_of, source_of
from .partitions import BOOT_FILES
from .tree import OS_RELEASE, Chooser, Layout, Places, Trees, filled

NO_DISK = Disk("gpt", 0, 512, ())
"""What folders are on that are not partitions of one disk: no edit can have a partition's id from there."""

_PLAIN = frozenset({"exfat", "msdos", "vfat"})
"""File systems without owners and modes."""
_SYSTEM = "/ /bin /boot /boot/efi /boot/firmware /etc /home /lib /root /sbin /usr /usr/lib /var".split()
_MARKS: dict[Side, Sequence[str]] = {"root": (*OS_RELEASE, "/etc"), "boot": BOOT_FILES}


class DirectoryInjector:
    """Opens two folders, or one where there is no boot file system of its own."""

    def __init__(self, root: Path, boot: Path | None) -> None:
        self._root = root
        self._boot = boot

    def disk(self) -> Disk:
        """The disk that has both folders' file systems as partitions, as `open` takes it; else NO_DISK."""
        with self._opened() as folders:
            sources = [folder.mount and source_of(folder.mount) for folder in folders]
            files = {source[0] for source in sources if source}
            if None in sources or len(files) != 1:
                return NO_DISK
            try:
                return disks.read(files.pop())
            except MetisError:  # a file system on a whole disk, or a disk that we may not read
                return NO_DISK

    @contextmanager
    def open(
        self, image: Path, disk: Layout, choose: Chooser, *, grow: bool = False, read_only: bool = False
    ) -> Iterator[Trees]:
        """See `tree.Injector`; `image` is only for messages, and `disk` is what `disk` gave.

        `choose` decides between the partitions that are mounted, so that a label that the class names must
        be that of the folder's.
        """
        if grow:
            raise MetisError(f"{self._root} is mounted, and cannot be grown", "the node does it at its boot")
        if not read_only and os.geteuid() != 0:
            raise MetisError("only root may give files their owners and modes", "use sudo")
        with self._opened() as folders:
            places = _places(image, filled(disk), choose, folders)
            kind = _ReadTree if read_only else FolderTree
            root, boot = (
                kind(folder.beneath, str(folder.path), plain=folder.is_plain) if folder else None
                for folder in (*folders, None)[:2]
            )
            assert root is not None
            if not read_only:
                for folder in folders:
                    folder.refuse_unwritable()
            yield Trees(places, root, boot)
            if not read_only:
                for tree in filter(None, (root, boot)):
                    tree.flush()

    @contextmanager
    def _opened(self) -> Iterator[Sequence[_Folder]]:
        """The root's folder, and the boot's where there is one; raises where they cannot be meant."""
        with ExitStack() as stack:
            named: list[tuple[Side, Path | None]] = [("root", self._root), ("boot", self._boot)]
            folders = [_folder(side, path, stack) for side, path in named if path is not None]
            if len(folders) > 1:
                _refuse_wrong_way_round(*folders)
            for folder in folders:
                folder.refuse_strange()
            yield folders


@dataclass(frozen=True, slots=True)
class _Folder:
    """A side's folder, open, so that what was looked at is what is changed."""

    side: Side
    path: Path
    descriptor: int
    beneath: Beneath
    mount: Mounted | None
    """What is mounted there; None where that is only a part of a file system."""

    @property
    def is_plain(self) -> bool:
        return self.mount is not None and self.mount.filesystem in _PLAIN

    def refuse_strange(self) -> None:
        """Raise for the running system, and for what does not look like the side."""
        if _identity(self.descriptor) in _system():
            raise RefusedError(f"{self.path} is of the system that runs here", f"name a card's {self.side}")
        if self.mount is not None and _disk_of(self.mount) & _system_disks():
            raise RefusedError(
                f"{self.path} is on the disk of the system that runs here", f"name a card's {self.side}"
            )
        marks = _MARKS[self.side]
        if not (self.side == "boot" and self._is_empty()) and not any(
            self.beneath.has(mark) for mark in marks
        ):
            raise MetisError(
                f"{self.path} is no {self.side}: it has no {' or '.join(mark[1:] for mark in marks)}",
                f"mount the card's {self.side} there",
            )

    def _is_empty(self) -> bool:
        with os.scandir(self.descriptor) as found:
            return next(found, None) is None

    def refuse_unwritable(self) -> None:
        if os.fstatvfs(self.descriptor).f_flag & os.ST_RDONLY:
            raise MetisError(
                f"{self.path} is mounted for reading only", f"`mount -o remount,rw {self.path}` changes that"
            )


class _ReadTree(FolderTree):
    """A folder of which nothing is changed, and whose files are read from the medium, not from memory."""

    @contextmanager
    def _regular_file(self, path: str) -> Iterator[BufferedReader]:
        with super()._regular_file(path) as content:
            os.posix_fadvise(content.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            yield content

    def remove(self, path: str) -> None:
        """See `tree.Tree`."""
        self._refuse(path)

    def extract(self, archive: Path) -> None:
        """See `tree.Tree`."""
        self._refuse(str(archive))

    def set_immutable(self, path: str) -> None:
        """See `tree.Tree`."""
        self._refuse(path)

    def _refuse(self, path: str) -> NoReturn:
        raise MetisError(f"{path} of {self._name}: Read-only file system")


def _folder(side: Side, named: Path, stack: ExitStack) -> _Folder:
    try:
        path = named.resolve(strict=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, RuntimeError) as error:  # of a circle of links (Path.resolve)
        why = error.strerror if isinstance(error, OSError) else "it leads in a circle"
        raise MetisError(f"{named} is no folder for the {side}: {why}", f"mount the card's {side}") from None
    beneath = stack.enter_context(Beneath(descriptor))
    return _Folder(side, path, descriptor, beneath, mount_of(descriptor, path))


def _refuse_wrong_way_round(root: _Folder, boot: _Folder) -> None:
    """Raise unless the two are apart; a boot beneath the root is usual."""
    if _identity(root.descriptor) == _identity(boot.descriptor):
        raise RefusedError(f"{root.path} is named for the root and for the boot", "name two folders")
    if root.path.is_relative_to(boot.path):
        raise RefusedError(
            f"the root {root.path} lies in the boot {boot.path}", "name the right one for each"
        )


def _places(image: Path, disk: Disk, choose: Chooser, folders: Sequence[_Folder]) -> Places:
    """The partitions that the folders are; 0 for each where there is no disk."""
    if not disk.partitions:
        return Places(0, 0 if len(folders) > 1 else None)
    numbers = {folder.side: _number(image, disk, folder) for folder in folders}
    mounted = tuple(part for part in disk.partitions if part.number in numbers.values())
    places = choose(replace(disk, partitions=mounted), _Contents(numbers, folders))
    if (places.root, places.boot) != (numbers["root"], numbers.get("boot")):
        raise RefusedError(
            f"{folders[0].path} is not the root of {image}, or its boot is another", "mount the right ones"
        )
    return places


def _number(image: Path, disk: Disk, folder: _Folder) -> int:
    source = folder.mount and source_of(folder.mount)
    for part in disk.partitions:
        if source and part.start == source[1]:
            return part.number
    raise MetisError(f"what is mounted at {folder.path} is no partition of {image}", "mount the card again")


class _Contents:
    """Looks into the partitions that are mounted."""

    def __init__(self, numbers: dict[Side, int], folders: Sequence[_Folder]) -> None:
        self._beneath = {numbers[folder.side]: folder.beneath for folder in folders}

    def has(self, partition: int, paths: Sequence[str]) -> bool:
        """See `tree.Contents`."""
        return any(self._beneath[partition].has(path) for path in paths)


# --------------------------------------------------------------------------------- the running system


def _identity(descriptor: int) -> tuple[int, int]:
    about = os.fstat(descriptor)
    return about.st_dev, about.st_ino


def _system() -> frozenset[tuple[int, int]]:
    """The folders of the running system, by what they are: they may be mounted under other names too."""
    found = [Path(path).stat() for path in _SYSTEM if Path(path).exists()]
    return frozenset((about.st_dev, about.st_ino) for about in found)


def _system_disks() -> frozenset[Path]:
    found: frozenset[Path] = frozenset()
    for path in filter(os.path.ismount, _SYSTEM):
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            mount = mount_of(descriptor, Path(path))
        finally:
            os.close(descriptor)
        if mount is not None:
            found |= _disk_of(mount)
    return found


def _disk_of(mount: Mounted) -> frozenset[Path]:
    source = source_of(mount)
    return frozenset({source[0]} if source else ())
