"""Sparse files: where their data is, copying them without touching holes, and writing without zeros."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import MetisError
from ..machine.progress import Advance
from .ranges import BLOCK, outside

CHUNK = 1 << 20
GRAIN = BLOCK
"""Zeros are looked for in pieces of this many bytes, as file systems keep a hole for no less."""
_ZEROS = bytes(GRAIN)
_STRIDE = 16 * CHUNK
"""Bytes that are copied before they are brought to the disk."""
_FICLONE = 0x40049409  # ioctl_ficlone(2)
# Between two kinds of file system, on old or unusual ones, and where a sandbox forbids the call.
_BY_HAND = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})


class TooLongError(MetisError):
    """A stream that does not end where it must."""


def extents(descriptor: int) -> Iterator[tuple[int, int]]:
    """The (start, end) byte ranges of a file that hold data, in order (lseek(2), SEEK_DATA).

    Windows does not tell them that way: there it is all of the file.
    """
    size = os.fstat(descriptor).st_size
    position = 0
    if not hasattr(os, "SEEK_DATA"):
        yield from [(0, size)] if size else []
        return
    while position < size:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        position = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, min(position, size)


def mapped_bytes(path: Path) -> int:
    """How many bytes of a file hold data."""
    with path.open("rb") as file:
        return sum(end - start for start, end in extents(file.fileno()))


def reserve(target: Path, size: int) -> None:
    """Make a file of mode 0600 and `size` bytes, all of it a hole."""
    with _create(target) as file:
        os.ftruncate(file.fileno(), size)


def copy(source: Path, target: Path, advance: Advance = lambda _: None) -> None:
    """Make `target` (mode 0600) a copy of `source`: shared blocks where the file system can, else its data.

    `advance` counts what is data, as `mapped_bytes` does. What is copied goes to the disk while the rest is
    copied, so whoever syncs it then waits for little.
    """
    import fcntl  # Windows has none, and nothing is copied there

    with source.open("rb") as old, _reserved(target, os.fstat(old.fileno()).st_size) as new:
        size = os.fstat(old.fileno()).st_size
        with suppress(OSError):
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
            advance(sum(end - start for start, end in extents(old.fileno())))
            return
        os.ftruncate(new.fileno(), size)
        with _synced(new.fileno()) as sync:
            for start, end in extents(old.fileno()):
                while start < end:
                    count = _copy_range(old.fileno(), new.fileno(), start, min(end - start, _STRIDE))
                    if count == 0:
                        raise OSError(errno.EIO, "the file became shorter while it was copied", source)
                    start += count
                    sync(count)
                    advance(count)


@contextmanager
def _synced(descriptor: int) -> Iterator[Advance]:
    """Bring what is written to a file to the disk meanwhile; what is yielded is told how many bytes were.

    The last of them are left to whoever syncs the file. Raises OSError where the disk does not take them.
    """
    behind = 0
    with ThreadPoolExecutor(1) as pool:
        syncing: Future[None] = pool.submit(lambda: None)

        def wrote(count: int) -> None:
            nonlocal behind, syncing
            behind += count
            if behind >= _STRIDE and syncing.done():
                syncing.result()
                behind, syncing = 0, pool.submit(os.fdatasync, descriptor)

        yield wrote
        syncing.result()


def copy_part(source: int, start: int, size: int, target: int, to: int) -> None:
    """Make `size` bytes at place `to` of an open file what those at `start` of another one are.

    Holes stay holes; data becomes zeros where the other file has a hole. Nothing is done past its end.
    """
    end, shift = min(start + size, os.fstat(source).st_size), to - start
    data = list(_extents_within(source, start, end))
    stale = outside(
        _extents_within(target, to, end + shift), [(first + shift, last + shift) for first, last in data]
    )
    for first, last in stale:
        _write_zeros(target, first, last)
    for first, last in data:
        position = first
        while position < last:
            count = _copy_range(source, target, position, min(last - position, 64 * CHUNK), shift)
            if count == 0:
                raise OSError(errno.EIO, "the file became shorter while it was copied")
            position += count


def _extents_within(descriptor: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    for first, last in extents(descriptor):
        if first < end and start < last:
            yield max(first, start), min(last, end)


def _write_zeros(descriptor: int, start: int, end: int) -> None:
    zeros = memoryview(bytes(min(CHUNK, end - start)))
    while start < end:
        start += os.pwrite(descriptor, zeros[: end - start], start)


def _copy_range(old: int, new: int, offset: int, count: int, shift: int = 0) -> int:
    """Copy up to `count` bytes, `shift` further on in the new file.

    By hand where the kernel cannot (copy_file_range(2), EXDEV).
    """
    try:
        return os.copy_file_range(old, new, count, offset, offset + shift)
    except OSError as error:
        if error.errno not in _BY_HAND:
            raise
        data = os.pread(old, min(count, CHUNK), offset)
        return os.pwrite(new, data, offset + shift) if data else 0


def write_stream(chunks: Iterable[bytes], target: Path, limit: int) -> int:
    """Write a stream to a new file of mode 0600, leaving holes where it is zero; give its size in bytes.

    Raises TooLongError when the stream is longer than `limit` bytes, OSError when it cannot be written.
    """
    size = 0
    with _create(target) as file:
        for chunk in chunks:
            if size + len(chunk) > limit:
                raise _too_long(target, limit)
            _write_data(file, size, chunk)
            size += len(chunk)
        os.ftruncate(file.fileno(), size)
    return size


def write_by(write: Callable[[int], None], target: Path, limit: int) -> int:
    """Have `write` fill a new file of mode 0600, which it gets as a descriptor; give its size in bytes.

    Raises TooLongError when the file is longer than `limit` bytes then, and what `write` raises.
    """
    with _create(target) as file:
        write(file.fileno())
        size = os.fstat(file.fileno()).st_size
    if size > limit:
        raise _too_long(target, limit)
    return size


def _too_long(target: Path, limit: int) -> TooLongError:
    return TooLongError(f"{target} would be larger than {limit} bytes")


def _write_data(file: BinaryIO, offset: int, chunk: bytes) -> None:
    """Write what is not zero of a chunk; the grain is counted from the file's start, however it is cut."""
    view = memoryview(chunk)
    start: int | None = None
    position = 0
    while position < len(chunk):
        length = min(GRAIN - (offset + position) % GRAIN, len(chunk) - position)
        # startswith compares in place; comparing memoryviews goes byte by byte and is thirty times slower.
        if chunk.startswith(_ZEROS if length == GRAIN else _ZEROS[:length], position):
            if start is not None:
                _write_all(file, offset + start, view[start:position])
                start = None
        elif start is None:
            start = position
        position += length
    if start is not None:
        _write_all(file, offset + start, view[start:])


def _write_all(file: BinaryIO, offset: int, data: memoryview) -> None:
    while data:
        count = os.pwrite(file.fileno(), data, offset)
        offset += count
        data = data[count:]


def _reserved(target: Path, size: int) -> BinaryIO:
    """An empty file; one that was reserved is never shorter meanwhile, since somebody may have it open."""
    file = os.fdopen(os.open(target, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb+", buffering=0)
    status = os.fstat(file.fileno())
    if status.st_size not in {0, size} or status.st_blocks:
        os.ftruncate(file.fileno(), 0)
    return file


def _create(target: Path) -> BinaryIO:
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "wb+", buffering=0)
