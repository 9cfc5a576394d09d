"""Reading an ext file system that is not mounted, by e2fsprogs's library; only loaded in a child."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from ctypes import byref
from types import TracebackType

from . import libext2fs as ext2
from .libext2fs import Ext2Error, Inode

SIZE = ctypes.sizeof(Inode)
IMMUTABLE = 0x10
_CHUNK = 1 << 20
_LONGEST_FAST_LINK = 59
_LONGEST_LINK = 4096
"""Bytes; the kernel follows none that is longer (path_resolution(7), PATH_MAX)."""
_MOST_NAMES = 1 << 18
"""In one directory: blocks that are in it many times make names without end."""
_ABORT = 2
"""DIRENT_ABORT: what ends a walk through a directory."""


class NotExact(Exception):  # noqa: N818 - it is no error: another injector can do it
    """Something that the kernel would do otherwise than we do, or of which we would not see the end."""


class ExtReader:
    """An open file system. Paths are from its root; links in their parents are followed."""

    def __init__(self, image: str, offset: int, *, writable: bool) -> None:
        self.libext2fs = ext2.Library()
        self.call = self.libext2fs.call
        self.fs = self.libext2fs.open(image, offset, writable=writable)

    def close(self) -> None:
        """Write out what is in memory. Without it nothing holds of what was done."""
        self.libext2fs.close(self.fs)

    def find(self, path: str) -> int | None:
        """The number of what is at a path, whose last name is not followed; None where nothing is."""
        number = ctypes.c_uint32()
        try:
            self.call("namei", self.fs, ext2.ROOT, ext2.ROOT, os.fsencode(path), byref(number))
        except Ext2Error as error:
            if error.code in {ext2.FILE_NOT_FOUND, ext2.NO_DIRECTORY}:
                return None
            raise
        return int(number.value)

    def inode(self, number: int) -> Inode:
        """The inode of that number."""
        inode = Inode()
        self.call("read_inode_full", self.fs, number, byref(inode), SIZE)
        return inode

    def size(self, number: int) -> int:
        """The length of a file, in bytes."""
        inode = self.inode(number)
        return int(inode.size | inode.size_high << 32)

    def names(self, number: int) -> list[bytes]:
        """The names in a directory."""
        found: list[bytes] = []

        def take(_dir: int, entry: int, address: int, *_: object) -> int:
            if entry == 3:  # noqa: PLR2004 - DIRENT_OTHER_FILE: neither itself nor its parent
                length = ctypes.c_uint8.from_address(address + 6).value
                found.append(ctypes.string_at(address + 8, length))
            return _ABORT if len(found) > _MOST_NAMES else 0

        self.call("dir_iterate2", self.fs, number, 0, None, ext2.DirectoryEntry(take), None)
        if len(found) > _MOST_NAMES:
            raise NotExact(f"it has more than {_MOST_NAMES} names")
        # Nobody can make one of these; joined to the directory's path it would lead somewhere else.
        if any(name in {b"", b".", b".."} or b"/" in name or b"\0" in name for name in found):
            raise NotExact("it has a name that none can have")
        return found

    def content(self, number: int) -> Iterator[bytes]:
        """The bytes of a file or of a long link."""
        size = min(self.size(number) + 1, _CHUNK)
        buffer, count = ctypes.create_string_buffer(size), ctypes.c_uint()
        with self.opened(number, 0) as file:
            while True:
                self.call("file_read", file, buffer, size, byref(count))
                if not count.value:
                    return
                yield ctypes.string_at(buffer, count.value)

    def target(self, number: int) -> bytes:
        """What a symbolic link holds."""
        inode = self.inode(number)
        if self.libext2fs.silent("is_fast_symlink", byref(inode)):
            target = bytes(inode.block)[: min(inode.size, _LONGEST_FAST_LINK)]
        elif self.size(number) > _LONGEST_LINK:
            raise NotExact(f"it is a link of {self.size(number)} bytes")
        else:
            target = b"".join(self.content(number))
        if b"\0" in target:  # where it ends for the kernel
            raise NotExact("it is a link with a byte in it that none can have")
        return target

    def attributes(self, number: int) -> set[str]:
        """The names of a file's extended attributes (xattr(7))."""
        handle, found = ctypes.c_void_p(), set()

        def take(name: bytes, *_: object) -> int:
            found.add(name.decode(errors="replace"))
            return 0

        self.call("xattrs_open", self.fs, number, byref(handle))
        try:
            self.call("xattrs_read", handle)
            self.call("xattrs_iterate", handle, ext2.Attribute(take), None)
        finally:
            self.call("xattrs_close", byref(handle))
        return found

    def is_immutable(self, number: int) -> bool:
        """Whether a file or directory has the attribute `i` of chattr(1)."""
        return bool(self.inode(number).flags & IMMUTABLE)

    def opened(self, number: int, flags: int) -> Opened:
        """A file by its number, while the block runs."""
        return Opened(self.libext2fs, self.fs, number, flags)


class Opened:
    """A file of the library while the block runs; closing it writes what is in memory."""

    def __init__(self, library: ext2.Library, filesystem: ctypes.c_void_p, number: int, flags: int) -> None:
        self._library = library
        self._file = ctypes.c_void_p()
        library.call("file_open2", filesystem, number, None, flags, byref(self._file))

    def __enter__(self) -> ctypes.c_void_p:
        return self._file

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._library.call("file_close", self._file)
