"""The calls of e2fsprogs's library that an ext file system is read and changed with (libext2fs(3), ext2fs.h).

The library is told names by bytes and answers with numbers, where debugfs(8) takes a language of its own, in
which not every name can be said, and ends well whatever happened. It reads what a stranger made: it is only
loaded in a child (see `ext_child`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import POINTER, byref, c_char_p, c_int, c_long, c_size_t, c_uint, c_uint16, c_uint32, c_uint64
from ctypes import c_void_p as c_handle
from typing import Any

ROOT = 2
WRITE = 1
"""Of `file_open2`: for change."""
ALL_BLOCKS = 2**64 - 1

READ_WRITE, BITS_64 = 0x01, 0x20000
_NO_SYNC = 1

DIR_NO_SPACE, NO_DIRECTORY, FILE_NOT_FOUND = 2133571366, 2133571402, 2133571404
FULL = frozenset({2133571400, 2133571401})
"""No block and no inode is free; ext2_err.h has the numbers."""


class Ext2Error(Exception):
    """What the library says of a call that failed: its number, or one of errno."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code


class Inode(ctypes.Structure):
    """An inode as the library gives it: struct ext2_inode_large of ext2_fs.h."""

    _fields_ = (
        ("mode", c_uint16),
        ("uid", c_uint16),
        ("size", c_uint32),
        ("atime", c_uint32),
        ("ctime", c_uint32),
        ("mtime", c_uint32),
        ("dtime", c_uint32),
        ("gid", c_uint16),
        ("links", c_uint16),
        ("blocks", c_uint32),
        ("flags", c_uint32),
        ("version", c_uint32),
        ("block", c_uint32 * 15),
        ("generation", c_uint32),
        ("file_acl", c_uint32),
        ("size_high", c_uint32),
        ("fragment", c_uint32),
        ("blocks_high", c_uint16),
        ("file_acl_high", c_uint16),
        ("uid_high", c_uint16),
        ("gid_high", c_uint16),
        ("checksum_low", c_uint16),
        ("reserved", c_uint16),
        ("extra_size", c_uint16),
        ("checksum_high", c_uint16),
        ("ctime_extra", c_uint32),
        ("mtime_extra", c_uint32),
        ("atime_extra", c_uint32),
        ("crtime", c_uint32),
        ("crtime_extra", c_uint32),
        ("version_high", c_uint32),
        ("project", c_uint32),
    )


DirectoryEntry = ctypes.CFUNCTYPE(c_int, c_uint32, c_int, c_handle, c_int, c_int, c_handle, c_handle)
Attribute = ctypes.CFUNCTYPE(c_int, c_char_p, c_handle, c_size_t, c_handle)

_fs, _file, _number = c_handle, c_handle, c_uint32
_CALLS: dict[str, tuple[Any, ...]] = {
    "close2": (_fs, c_int),
    "dir_iterate2": (_fs, _number, c_int, c_char_p, DirectoryEntry, c_handle),
    "expand_dir": (_fs, _number),
    "extent_open2": (_fs, _number, POINTER(Inode), POINTER(c_handle)),
    "file_close": (_file,),
    "file_flush": (_file,),
    "file_open2": (_fs, _number, POINTER(Inode), c_int, POINTER(_file)),
    "file_read": (_file, c_handle, c_uint, POINTER(c_uint)),
    "file_write": (_file, c_char_p, c_uint, POINTER(c_uint)),
    "free_ext_attr": (_fs, _number, POINTER(Inode)),
    "lookup": (_fs, _number, c_char_p, c_int, c_char_p, POINTER(_number)),
    "link": (_fs, _number, c_char_p, _number, c_int),
    "mkdir": (_fs, _number, _number, c_char_p),
    "namei": (_fs, _number, _number, c_char_p, POINTER(_number)),
    "new_inode": (_fs, _number, c_int, c_handle, POINTER(_number)),
    "open2": (c_char_p, c_char_p, c_int, c_int, c_uint, c_handle, POINTER(_fs)),
    "punch": (_fs, _number, POINTER(Inode), c_char_p, c_uint64, c_uint64),
    "read_bitmaps": (_fs,),
    "read_inode_full": (_fs, _number, POINTER(Inode), c_int),
    "symlink": (_fs, _number, _number, c_char_p, c_char_p),
    "unlink": (_fs, _number, c_char_p, _number, c_int),
    "write_inode_full": (_fs, _number, POINTER(Inode), c_int),
    "write_new_inode": (_fs, _number, POINTER(Inode)),
    "xattrs_close": (POINTER(c_handle),),
    "xattrs_iterate": (c_handle, Attribute, c_handle),
    "xattrs_open": (_fs, _number, POINTER(c_handle)),
    "xattrs_read": (c_handle,),
}
_SILENT: dict[str, tuple[Any, ...]] = {
    "extent_free": (c_handle,),
    "inode_alloc_stats2": (_fs, _number, c_int, c_int),
    "inode_has_valid_blocks2": (_fs, POINTER(Inode)),
    "is_fast_symlink": (POINTER(Inode),),
}
"""Calls that cannot fail."""


class Library:
    """The library, loaded; a call is an attribute by its name without `ext2fs_`, and raises Ext2Error."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libext2fs.so.2", use_errno=True)
        self._library.initialize_ext2_error_table()
        self._words = ctypes.CDLL("libcom_err.so.2").error_message
        self._words.argtypes, self._words.restype = (c_long,), c_char_p
        self._io = c_handle.in_dll(self._library, "unix_io_manager")

    def open(self, path: str, offset: int, *, writable: bool) -> c_handle:
        """A file system at a byte offset of a file."""
        found = c_handle()
        flags = BITS_64 | (READ_WRITE if writable else 0)
        self.call("open2", path.encode(), f"offset={offset}".encode(), flags, 0, 0, self._io, byref(found))
        return found

    def close(self, filesystem: c_handle) -> None:
        """Write out what is in memory; whoever needs it on the medium syncs the file."""
        self.call("close2", filesystem, _NO_SYNC)

    def call(self, name: str, *arguments: object) -> None:
        """Make a call that gives an error code (errcode_t)."""
        function = self._function(name, _CALLS[name])
        function.restype = c_long
        code = function(*arguments)
        if code:
            raise Ext2Error(code, self._words(code).decode(errors="replace"))

    def silent(self, name: str, *arguments: object) -> int:
        """Make a call that cannot fail."""
        function = self._function(name, _SILENT[name])
        function.restype = c_int
        return int(function(*arguments))

    def _function(self, name: str, types: tuple[Any, ...]) -> Any:  # noqa: ANN401 - ctypes has no types
        function: Callable[..., int] = getattr(self._library, f"ext2fs_{name}")
        function.argtypes = types  # type: ignore[attr-defined]
        return function
