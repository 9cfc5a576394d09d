"""Changing files of an ext file system that is not mounted; only loaded in a child (see `ext_reading`).

What the kernel would do beside what is asked for (inherit an access list, heed an immutable flag) is done
here too, or refused by `NotExact`.
"""

from __future__ import annotations

import ctypes
import errno
import os
import posixpath
import stat
from collections.abc import Callable, Iterable
from ctypes import byref
from dataclasses import dataclass

from . import libext2fs as ext2
from .ext_reading import IMMUTABLE, SIZE, ExtReader, NotExact
from .libext2fs import Ext2Error, Inode

_DEPTH = 200
"""Directories in each other that are removed; no golden has so many."""
_APPEND_ONLY = 0x20
_INHERITED = 0x6201_C4CF
"""Flags that a new file gets from its directory (fs/ext4/ext4.h, EXT4_FL_INHERITED)."""
_WITH_TIMES = 24
"""Bytes after the first 128 of an inode that has room for the upper halves of its times."""


@dataclass(frozen=True, slots=True)
class About:
    """What a file is given: `when` is in seconds since 1970."""

    mode: int
    uid: int
    gid: int
    when: int


class ExtFiles(ExtReader):
    """An open file system that can be changed; `extents` says how new files of it are mapped."""

    def __init__(self, image: str, offset: int, *, extents: bool) -> None:
        super().__init__(image, offset, writable=True)
        self._extents = extents
        self.call("read_bitmaps", self.fs)

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
        self._named(parent, lambda: self.call("link", self.fs, parent, name, number, 1))
        self.libext2fs.silent("inode_alloc_stats2", self.fs, number, 1, 0)
        inode = Inode(mode=stat.S_IFREG, links=1)
        if self._extents:
            handle = ctypes.c_void_p()
            self.call("extent_open2", self.fs, number, byref(inode), byref(handle))
            self.libext2fs.silent("extent_free", handle)
        _set_times(inode, about.when, "atime", "ctime", "mtime")
        self.call("write_new_inode", self.fs, number, byref(inode))
        with self.opened(number, ext2.WRITE) as file:
            written = ctypes.c_uint()
            for chunk in chunks:
                while chunk:
                    self.call("file_write", file, chunk, len(chunk), byref(written))
                    chunk = chunk[written.value :]
        self._describe(number, about, is_new=True)

    def add_link(self, path: str, target: bytes, about: About) -> None:
        """Make a symbolic link, as `add_file` does."""
        parent, name = self._cleared(path, about)
        number = self._new_number(parent, stat.S_IFLNK)
        self._named(parent, lambda: self.call("symlink", self.fs, parent, number, name, target))
        self._describe(number, about, is_new=True)

    def add_directory(self, path: str, about: About) -> None:
        """Make a directory, or describe the one that is there."""
        number = self.find(path)
        if number is None:
            parent, name = self._parent(path)
            self._refuse_inheritance(parent, path)
            number = self._new_number(parent, stat.S_IFDIR)
            self._named(parent, lambda: self.call("mkdir", self.fs, parent, number, name))
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

    def set_immutable(self, number: int) -> None:
        """Give it that attribute."""
        inode = self.inode(number)
        inode.flags |= IMMUTABLE
        self._write(number, inode)

    # --------------------------------------------------------------------------------------- inside

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
        if inode.flags & (IMMUTABLE | _APPEND_ONLY):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    def _refuse_inheritance(self, parent: int, path: str) -> None:
        if self.inode(parent).flags & _INHERITED:
            raise NotExact(f"what {posixpath.dirname(path)} hands down to {path} is not known")
        if "system.posix_acl_default" in self.attributes(parent):
            raise NotExact(f"{posixpath.dirname(path)} hands an access list down to {path}")

    def _new_number(self, parent: int, kind: int) -> int:
        number = ctypes.c_uint32()
        self.call("new_inode", self.fs, parent, kind | 0o755, None, byref(number))
        return number.value

    def _named(self, parent: int, make: Callable[[], None]) -> None:
        """Make a name, with one more block for its directory where that is full."""
        try:
            make()
        except Ext2Error as error:
            if error.code != ext2.DIR_NO_SPACE:
                raise
            self.call("expand_dir", self.fs, parent)
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
        self.call("unlink", self.fs, parent, name, number, 0)
        inode.links = 0 if is_directory else max(inode.links - 1, 0)
        _set_times(inode, when, "ctime")
        if inode.links == 0:
            self._release(number, inode, when, is_directory=is_directory)
        self._write(number, inode)

    def _release(self, number: int, inode: Inode, when: int, *, is_directory: bool) -> None:
        inode.dtime = when & 0xFFFF_FFFF
        self.call("free_ext_attr", self.fs, number, byref(inode))
        if self.libext2fs.silent("inode_has_valid_blocks2", self.fs, byref(inode)):
            self.call("punch", self.fs, number, byref(inode), None, 0, ext2.ALL_BLOCKS)
        self.libext2fs.silent("inode_alloc_stats2", self.fs, number, -1, int(is_directory))

    def _lookup(self, parent: int, name: bytes) -> int:
        number = ctypes.c_uint32()
        self.call("lookup", self.fs, parent, name, len(name), None, byref(number))
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
        self.call("write_inode_full", self.fs, number, byref(inode), SIZE)


def _set_times(inode: Inode, when: int, *names: str) -> None:
    """Set times to a second; the two lowest bits of the upper half count past 2038 (ext4(5), inodes)."""
    low = when & 0xFFFF_FFFF
    signed = low - (1 << 32) if low >> 31 else low
    for name in names:
        if name != "crtime" or inode.extra_size >= _WITH_TIMES:
            setattr(inode, name, low)
        if inode.extra_size >= _WITH_TIMES:
            setattr(inode, f"{name}_extra", (when - signed) >> 32 & 3)
