"""Many ranges of a file, hashed or compared: two at a time, in bounded memory, nothing read where a hole is.

Which ranges, and where their hashes are written down, is the business of `bmap`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import TypeVar

from ..machine.progress import Advance
from .ranges import PIECE, split

T = TypeVar("T")
Places = Sequence[tuple[int, int]]
"""Half-open byte ranges."""

_BATCH = 16  # ranges that a thread works on before it tells of them
_THREADS = 2  # hashlib lets go of the interpreter; more would only take cores from the other tasks
_seeking = threading.Lock()


def read_into(descriptor: int, into: memoryview, offset: int) -> int:
    """Fill a beginning of `into` with a file's bytes from a place on; say how many, 0 at its end."""
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [into], offset)
    with _seeking:  # Windows has one place for all who read a file
        os.lseek(descriptor, offset, os.SEEK_SET)
        data = os.read(descriptor, len(into))
    into[: len(data)] = data
    return len(data)


def digests(descriptor: int, places: Places, advance: Advance) -> Iterator[str]:
    """The SHA-256 in hex of each half-open range, in order; `advance` is told of some ranges at a time.

    Nothing is read where the file has a hole. Raises OSError; what was not begun by then is left.
    """
    return _by_threads(partial(_hash_batch, descriptor), places, advance)


def alike(one: int, other: int, places: Places, advance: Advance) -> Iterator[bool]:
    """Whether two files have the same bytes in each of these ranges of at most 1 MiB, in order.

    As `digests` otherwise, and several times as fast.
    """
    return _by_threads(partial(_compare_batch, one, other), places, advance)


def _by_threads(work: Callable[[Places], list[T]], places: Places, advance: Advance) -> Iterator[T]:
    batches = [places[at : at + _BATCH] for at in range(0, len(places), _BATCH)]
    pool = ThreadPoolExecutor(_THREADS)
    try:
        for batch, found in zip(batches, pool.map(work, batches), strict=True):
            advance(sum(end - start for start, end in batch))
            yield from found
    finally:
        pool.shutdown(cancel_futures=True)


def _hash_batch(descriptor: int, places: Places) -> list[str]:
    buffer = memoryview(bytearray(PIECE))
    return [
        _zeros_hash(end - start)
        if _is_hole(descriptor, start, end)
        else _hash(descriptor, start, end, buffer)
        for start, end in places
    ]


def _compare_batch(one: int, other: int, places: Places) -> list[bool]:
    return [_is_alike(one, other, start, end) for start, end in places]


def _is_alike(one: int, other: int, start: int, end: int) -> bool:
    if _is_hole(one, start, end) and _is_hole(other, start, end):
        return True
    ours = os.pread(one, end - start, start)
    return len(ours) == end - start and ours == os.pread(other, end - start, start)


def _hash(descriptor: int, start: int, end: int, buffer: memoryview) -> str:
    digest = hashlib.sha256()
    while start < end:
        count = read_into(descriptor, buffer[: end - start], start)
        if count == 0:
            raise OSError("it became shorter while it was read")
        digest.update(buffer[:count])
        start += count
    return digest.hexdigest()


@lru_cache(maxsize=256)
def _zeros_hash(length: int) -> str:
    """Large allocated holes, such as a journal, are cut into pieces of the same length: hash one of them."""
    digest = hashlib.sha256()
    for start in range(0, length, PIECE):
        digest.update(bytes(min(PIECE, length - start)))
    return digest.hexdigest()


def _is_hole(descriptor: int, start: int, end: int) -> bool:
    if not hasattr(os, "SEEK_DATA"):
        return False
    try:
        return os.lseek(descriptor, start, os.SEEK_DATA) >= end
    except OSError as error:
        return error.errno == errno.ENXIO  # only a hole is left; a device may know of none and say EINVAL


def first_not_zero(descriptor: int, pieces: Iterable[tuple[int, int]]) -> int | None:
    """The place of the first byte in these pieces of a file that is not zero."""
    for start, end in split(pieces):
        chunk = bytearray(end - start)
        del chunk[read_into(descriptor, memoryview(chunk), start) :]
        if chunk.count(0) != len(chunk):
            return start + len(chunk) - len(chunk.lstrip(b"\0"))
    return None
