"""Files of an ext file system that is not mounted, by e2fsprogs's library; only loaded in a child.

What the kernel would do beside what is asked for (inherit an access list, heed an immutable flag) is done
here too, or refused: `NotExact` says that only the kernel does it just so.
"""

from __future__ import annotations

import ctypes
import errno
import os
import posixpath
import stat
from collections.abc import Callable, Iterable, Iterator
from ctypes import byref
from dataclasses import dataclass
from types import TracebackType

from . import libext2fs as ext2
from .libext2fs import Ext2Error, Inode

_SIZE = ctypes.sizeof(Inode)
_CHUNK = 1 << 20
_DEPTH = 200
"""Directories in each other that are removed; no golden has so many."""
_IMMUTABLE, _APPEND_ONLY, _EXTENTS = 0x10, 0x20, 0x8_0000
_INHERITED = 0x6201_C4CF
"""Flags that a new file gets from its directory (fs/ext4/ext4.h, EXT4_FL_INHERITED)."""
_LONGEST_FAST_LINK = 59
_WITH_TIMES = 24
"""Bytes after the first 128 of an inode that has room for the upper halves of its times."""


class NotExact(Exception):  # noqa: N818 - it is no error: another injector can do it
    """Something that the kernel would do otherwise than we do."""


@dataclass(frozen=True, slots=True)
class About:
    """What a file is given: `when` is in seconds since 1970."""

    mode: int
    uid: int
    gid: int
    when: int


class ExtFiles:
    """An open file system. Paths are bytes of names from its root; links in their parents are followed."""

    def __init__(self, image: str, offset: int, *, writable: bool, extents: bool) -> None:
        self._library = ext2.Library()
        self._call = self._library.call
        self._extents = extents
        self._fs = self._library.open(image, offset, writable=writable)
        if writable:
            self._call("read_bitmaps", self._fs)

    def close(self) -> None:
        """Write out what is in memory. Without it nothing holds of what was done."""
        self._library.close(self._fs)

    # ----------------------------------------------------------------------------------- reading

    def find(self, path: str) -> int | None:
        """The number of what is at a path, whose last name is not followed; None where nothing is."""
        number = ctypes.c_uint32()
        try:
            self._call("namei", self._fs, ext2.ROOT, ext2.ROOT, os.fsencode(path), byref(number))
        except Ext2Error as error:
            if error.code in {ext2.FILE_NOT_FOUND, ext2.NO_DIRECTORY}:
                return None
            raise
        return int(number.value)

    def inode(self, number: int) -> Inode:
        """The inode of that number."""
        inode = Inode()
        self._call("read_inode_full", self._fs, number, byref(inode), _SIZE)
        return inode

    def size(self, number: int) -> int:
        """The length of a file, in bytes."""
        inode = self.inode(number)
        return inode.size | inode.size_high << 32

    def names(self, number: int) -> list[bytes]:
        """The names in a directory."""
        found: list[bytes] = []

        def take(_dir: int, entry: int, address: int, *_: object) -> int:
            if entry == 3:  # noqa: PLR2004 - DIRENT_OTHER_FILE: neither itself nor its parent
                length = ctypes.c_uint8.from_address(address + 6).value
                found.append(ctypes.string_at(address + 8, length))
            return 0

        self._call("dir_iterate2", self._fs, number, 0, None, ext2.DirectoryEntry(take), None)
        return found

    def content(self, number: int) -> Iterator[bytes]:
        """The bytes of a file or of a long link."""
        size = min(self.size(number) + 1, _CHUNK)
        buffer, count = ctypes.create_string_buffer(size), ctypes.c_uint()
        with self._opened(number, 0) as file:
            while True:
                self._call("file_read", file, buffer, size, byref(count))
                if not count.value:
                    return
                yield ctypes.string_at(buffer, count.value)

    def target(self, number: int) -> bytes:
        """What a symbolic link holds."""
        inode = self.inode(number)
        if self._library.silent("is_fast_symlink", byref(inode)):
            return bytes(inode.block)[: min(inode.size, _LONGEST_FAST_LINK)]
        return b"".join(self.content(number))

    def attributes(self, number: int) -> set[str]:
        """The names of a file's extended attributes (xattr(7))."""
        handle, found = ctypes.c_void_p(), set()

        def take(name: bytes, *_: object) -> int:
            found.add(name.decode(errors="replace"))
            return 0

        self._call("xattrs_open", self._fs, number, byref(handle))
        try:
            self._call("xattrs_read", handle)
            self._call("xattrs_iterate", handle, ext2.Attribute(take), None)
        finally:
            self._call("xattrs_close", byref(handle))
        return found

    # ---------------------------------------------------------------------------------- changing

    def remove(self, path: str, when: int) -> None:
        """Remove a path with all beneath it, links as links; nothing happens where nothing is."""
        number = self.find(path)
        if number is not None:
            parent, name = self._parent(path)
            self._remove(parent, name, number, when)
            self._touch(parent, when)

    def add_file(self, path: str, chunks: Iterable[bytes], about: About) -> None:
        """Make a file; what is there under its name goes first, and nothing is written through a link."""
        parent, name = self._cleared(path, about)
        number = self._new_number(parent, stat.S_IFREG)
        self._named(parent, lambda: self._call("link", self._fs, parent, name, number, 1))
        self._library.silent("inode_alloc_stats2", self._fs, number, 1, 0)
        inode = Inode(mode=stat.S_IFREG, links=1)
        if self._extents:
            handle = ctypes.c_void_p()
            self._call("extent_open2", self._fs, number, byref(inode), byref(handle))
            self._library.silent("extent_free", handle)
        _set_times(inode, about.when, "atime", "ctime", "mtime")
        self._call("write_new_inode", self._fs, number, byref(inode))
        with self._opened(number, ext2.WRITE) as file:
            written = ctypes.c_uint()
            for chunk in chunks:
                while chunk:
                    self._call("file_write", file, chunk, len(chunk), byref(written))
                    chunk = chunk[written.value :]
        self._describe(number, about, is_new=True)

    def add_link(self, path: str, target: bytes, about: About) -> None:
        """Make a symbolic link, as `add_file` does."""
        parent, name = self._cleared(path, about)
        number = self._new_number(parent, stat.S_IFLNK)
        self._named(parent, lambda: self._call("symlink", self._fs, parent, number, name, target))
        self._describe(number, about, is_new=True)

    def add_directory(self, path: str, about: About) -> None:
        """Make a directory, or describe the one that is there."""
        number = self.find(path)
        if number is None:
            parent, name = self._parent(path)
            self._refuse_inheritance(parent, path)
            number = self._new_number(parent, stat.S_IFDIR)
            self._named(parent, lambda: self._call("mkdir", self._fs, parent, number, name))
            self._touch(parent, about.when)
            self._describe(number, about, is_new=True)
            return
        inode = self.inode(number)
        if not stat.S_ISDIR(inode.mode):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        self._refuse_protected(inode)
        if any(name.startswith("system.posix_acl") for name in self.attributes(number)):
            raise NotExact(f"{path} has an access list")
        self._describe(number, about, is_new=False)

    def set_time(self, path: str, when: int) -> None:
        """Give what is at a path its time: what is put into a directory changes it."""
        number = self.find(path)
        if number is not None:
            self._touch(number, when)

    def is_immutable(self, number: int) -> bool:
        """Whether a file or directory has the attribute `i` of chattr(1)."""
        return bool(self.inode(number).flags & _IMMUTABLE)

    def set_immutable(self, number: int) -> None:
        """Give it that attribute."""
        inode = self.inode(number)
        inode.flags |= _IMMUTABLE
        self._write(number, inode)

    # --------------------------------------------------------------------------------------- inside

    def _opened(self, number: int, flags: int) -> _Opened:
        return _Opened(self._library, self._fs, number, flags)

    def _parent(self, path: str) -> tuple[int, bytes]:
        folder, name = posixpath.split(path)
        if name in {"", ".", ".."} or "\0" in name:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        number = self.find(folder or "/")
        if number is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        inode = self.inode(number)
        if not stat.S_ISDIR(inode.mode):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        self._refuse_protected(inode)
        return number, os.fsencode(name)

    def _cleared(self, path: str, about: About) -> tuple[int, bytes]:
        """The directory and the name for something new, where nothing is any more."""
        parent, name = self._parent(path)
        self._refuse_inheritance(parent, path)
        old = self.find(path)
        if old is not None:
            if stat.S_ISDIR(self.inode(old).mode):
                raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
            self._remove(parent, name, old, about.when)
        self._touch(parent, about.when)
        return parent, name

    def _refuse_protected(self, inode: Inode) -> None:
        if inode.flags & (_IMMUTABLE | _APPEND_ONLY):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    def _refuse_inheritance(self, parent: int, path: str) -> None:
        if self.inode(parent).flags & _INHERITED:
            raise NotExact(f"what {posixpath.dirname(path)} hands down to {path} is not known")
        if "system.posix_acl_default" in self.attributes(parent):
            raise NotExact(f"{posixpath.dirname(path)} hands an access list down to {path}")

    def _new_number(self, parent: int, kind: int) -> int:
        number = ctypes.c_uint32()
        self._call("new_inode", self._fs, parent, kind | 0o755, None, byref(number))
        return number.value

    def _named(self, parent: int, make: Callable[[], None]) -> None:
        """Make a name, with one more block for its directory where that is full."""
        try:
            make()
        except Ext2Error as error:
            if error.code != ext2.DIR_NO_SPACE:
                raise
            self._call("expand_dir", self._fs, parent)
            make()

    def _remove(self, parent: int, name: bytes, number: int, when: int, depth: int = 0) -> None:
        inode = self.inode(number)
        self._refuse_protected(inode)
        is_directory = stat.S_ISDIR(inode.mode)
        if is_directory:
            if depth == _DEPTH:
                raise OSError(errno.ELOOP, f"more than {_DEPTH} directories in each other")
            for each in self.names(number):
                self._remove(number, each, self._lookup(number, each), when, depth + 1)
            above = self.inode(parent)
            if above.links > 2:  # noqa: PLR2004 - at 1 it is not counted any more (ext4(5), dir_nlink)
                above.links -= 1
                self._write(parent, above)
            inode = self.inode(number)
        self._call("unlink", self._fs, parent, name, number, 0)
        inode.links = 0 if is_directory else max(inode.links - 1, 0)
        _set_times(inode, when, "ctime")
        if inode.links == 0:
            self._release(number, inode, when, is_directory=is_directory)
        self._write(number, inode)

    def _release(self, number: int, inode: Inode, when: int, *, is_directory: bool) -> None:
        inode.dtime = when & 0xFFFF_FFFF
        self._call("free_ext_attr", self._fs, number, byref(inode))
        if self._library.silent("inode_has_valid_blocks2", self._fs, byref(inode)):
            self._call("punch", self._fs, number, byref(inode), None, 0, ext2.ALL_BLOCKS)
        self._library.silent("inode_alloc_stats2", self._fs, number, -1, int(is_directory))

    def _lookup(self, parent: int, name: bytes) -> int:
        number = ctypes.c_uint32()
        self._call("lookup", self._fs, parent, name, len(name), None, byref(number))
        return number.value

    def _touch(self, number: int, when: int) -> None:
        inode = self.inode(number)
        _set_times(inode, when, "ctime", "mtime")
        self._write(number, inode)

    def _describe(self, number: int, about: About, *, is_new: bool) -> None:
        inode = self.inode(number)
        inode.mode = stat.S_IFMT(inode.mode) | about.mode
        inode.uid, inode.uid_high = about.uid & 0xFFFF, about.uid >> 16
        inode.gid, inode.gid_high = about.gid & 0xFFFF, about.gid >> 16
        _set_times(inode, about.when, *(["crtime"] if is_new else []), "atime", "ctime", "mtime")
        self._write(number, inode)

    def _write(self, number: int, inode: Inode) -> None:
        self._call("write_inode_full", self._fs, number, byref(inode), _SIZE)


class _Opened:
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


def _set_times(inode: Inode, when: int, *names: str) -> None:
    """Set times to a second; the two lowest bits of the upper half count past 2038 (ext4(5), inodes)."""
    low = when & 0xFFFF_FFFF
    signed = low - (1 << 32) if low >> 31 else low
    for name in names:
        if name != "crtime" or inode.extra_size >= _WITH_TIMES:
            setattr(inode, name, low)
        if inode.extra_size >= _WITH_TIMES:
            setattr(inode, f"{name}_extra", (when - signed) >> 32 & 3)
