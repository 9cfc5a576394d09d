"""The injector without a kernel: ext through e2fsprogs and FAT through mtools, where they lie in the image.

An ordinary user can use it anywhere, and it takes no appliance's ten seconds. What it cannot do just as a
kernel would it refuses (NotExactError), before anything is changed where it can be known then, and at the
latest before the image counts: what was changed is read back, and checked by e2fsck(8) and fsck.vfat(8).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Self

from ..errors import MetisError
from ..machine import process
from ..raw import sparse
from ..raw.disk import Disk, Partition
from . import ext_tree, suited
from .ext_tree import ExtTree
from .fat_tree import FatTree
from .held import held
from .paths import Paths
from .stream import nameless_file
from .tree import GROWABLE, Chooser, Layout, NotExactError, Places, Trees, filled, named, not_growable

_LIMIT = 600.0
"""Seconds for a check or a growth."""
_WORDS = 1 << 20
"""Bytes that such a program may say."""
_LAYERS = frozenset({"LVM2_member", "crypto_LUKS", "linux_raid_member"})
"""What holds file systems that are in no partition, in blkid's words."""

_HEADINGS = ("Pass ", "fsck.fat ")
"""How lines begin that tell of no fault."""


class DirectInjector:
    """Opens images by programs that run as we do; nothing outside of the image's file is ever written."""

    @contextmanager
    def open(
        self, image: Path, disk: Layout, choose: Chooser, *, grow: bool = False, read_only: bool = False
    ) -> Iterator[Trees]:
        """See `tree.Injector`. Raises NotExactError for what only a kernel does."""
        layout = filled(disk)
        with ExitStack() as stack:
            descriptor = stack.enter_context(held(image, read_only=read_only))
            opened = stack.enter_context(_Image(descriptor, named(image), layout, read_only=read_only))
            places = opened.chosen(choose)
            if grow:
                opened.grow(places.root, image.absolute().parent)
            numbers = [number for number in (places.root, places.boot) if number is not None]
            root, boot = (*map(opened.tree, numbers), None)[:2]
            assert root is not None
            yield Trees(places, root, boot)
            if not read_only:
                for number in numbers:
                    opened.finish(number)


class _Image:
    """An image that is held: its file systems by the numbers of their partitions, each opened once.

    `file` is a path for programs that no name of the image can mislead.
    """

    def __init__(self, held_file: int, name: str, disk: Disk, *, read_only: bool) -> None:
        self._descriptor = held_file
        self._file = path_of(held_file)
        self._name = name
        self._disk = disk
        self._read_only = read_only
        self._trees: dict[int, ExtTree | FatTree] = {}
        self._children = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._children.close()

    def chosen(self, choose: Chooser) -> Places:
        """The partitions that are meant."""
        try:
            return choose(self._disk, self)
        except NotExactError:
            raise
        except MetisError:
            for part in self._disk.partitions:
                if part.filesystem in _LAYERS:
                    raise self._not_exact(f"partition {part.number} is {part.filesystem}") from None
            raise

    def has(self, partition: int, paths: Sequence[str]) -> bool:
        """See `tree.Contents`."""
        tree = self.tree(partition)
        return any(_is_there(Paths(tree), path) for path in paths)

    def tree(self, number: int) -> ExtTree | FatTree:
        """The file system of a partition. Raises NotExactError where only a kernel may open it."""
        if number not in self._trees:
            self._trees[number] = self._opened(self._partition(number))
        return self._trees[number]

    def grow(self, number: int, scratch: Path) -> None:
        """Make a root as large as its partition.

        resize2fs takes a file system in the middle of a file, and then cuts the file off as if it began with
        the file. So it gets a file of its own, and what that holds afterwards comes back.
        """
        partition = self._partition(number)
        if partition.filesystem not in GROWABLE:
            raise not_growable(partition.filesystem)
        self.tree(number)  # refuses what no program may touch
        self._children.close()
        self._trees.clear()
        with nameless_file(scratch) as alone:
            alone.truncate(partition.size)
            sparse.copy_part(self._descriptor, partition.start, partition.size, alone.fileno(), 0)
            file = path_of(alone.fileno())
            # resize2fs wants a file system that was checked just now; 1 says that something was mended.
            checked = process.run(["e2fsck", "-f", "-p", file], timeout=_LIMIT, limit=_WORDS, check=False)
            if checked.code not in {0, 1}:
                raise MetisError(
                    f"the root of {self._name} is damaged: {checked.last_words}", "fetch the golden again"
                )
            process.run(["resize2fs", file], timeout=_LIMIT, limit=_WORDS)
            sparse.copy_part(alone.fileno(), 0, partition.size, self._descriptor, partition.start)

    def finish(self, number: int) -> None:
        """Bring everything into the file, and refuse what is not just as it should be there."""
        tree, partition = self._trees[number], self._partition(number)
        if isinstance(tree, ExtTree):
            tree.flush()
            self._check(["e2fsck", "-f", "-n", f"{self._file}?offset={partition.start}"])
        elif tree.is_changed:
            with TemporaryFile() as alone:
                alone.truncate(partition.size)
                sparse.copy_part(self._descriptor, partition.start, partition.size, alone.fileno(), 0)
                self._check(["fsck.vfat", "-n", path_of(alone.fileno())])

    def _opened(self, partition: Partition) -> ExtTree | FatTree:
        if partition.filesystem == "vfat":
            head = os.pread(self._descriptor, suited.FAT_HEAD, partition.start)
            self._refuse(partition, suited.why_not_fat(head, partition.size))
            return FatTree(self._file, partition.start, self._name, read_only=self._read_only)
        if partition.filesystem not in GROWABLE:
            self._refuse(partition, f"it is {partition.filesystem or 'no file system'}")
        place, length = suited.SUPERBLOCK
        superblock = os.pread(self._descriptor, length, partition.start + place)
        self._refuse(partition, suited.why_not_ext(superblock, partition.size))
        return self._children.enter_context(
            ext_tree.opened(
                self._file,
                self._name,
                partition.start,
                read_only=self._read_only,
                extents=suited.has_extents(superblock),
            )
        )

    def _refuse(self, partition: Partition, why: str) -> None:
        if why:
            raise self._not_exact(f"partition {partition.number}: {why}")

    def _check(self, words: Sequence[str]) -> None:
        try:
            said = process.run(words, timeout=_LIMIT, limit=_WORDS, check=False)
        except process.ToolError as error:
            raise self._not_exact(str(error)) from None
        if said.code != 0:
            lines = said.out.decode(errors="replace").splitlines()
            found = next((line for line in lines if not line.startswith(_HEADINGS)), said.last_words)
            raise self._not_exact(f"{words[0]} then finds {found.strip()!r}")

    def _not_exact(self, why: str) -> NotExactError:
        return NotExactError(self._name, why)

    def _partition(self, number: int) -> Partition:
        return next(part for part in self._disk.partitions if part.number == number)


def path_of(descriptor: int) -> str:
    """A path by which our children open a file that we have open, whatever its name is."""
    return f"/proc/{os.getpid()}/fd/{descriptor}"


def _is_there(paths: Paths, path: str) -> bool:
    try:
        return paths.status(paths.file(path)) is not None
    except NotExactError:
        raise
    except MetisError:  # a link that leads in a circle, or a file where a directory should be
        return False
