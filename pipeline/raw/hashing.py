"""SHA-256 of many ranges of a file: two at a time, in bounded memory, and nothing read where a hole is.

Which ranges, and where their hashes are written down, is the business of `bmap`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial

from ..machine.progress import Advance
from .ranges import PIECE, split

_BATCH = 16  # ranges that a thread hashes before it tells of them
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


def digests(descriptor: int, places: Sequence[tuple[int, int]], advance: Advance) -> Iterator[str]:
    """The SHA-256 in hex of each half-open range, in order; `advance` is told of some ranges at a time.

    Nothing is read where the file has a hole. Raises OSError; what was not begun by then is left.
    """
    batches = [places[at : at + _BATCH] for at in range(0, len(places), _BATCH)]
    pool = ThreadPoolExecutor(_THREADS)
    try:
        for batch, found in zip(batches, pool.map(partial(_hash_batch, descriptor), batches), strict=True):
            advance(sum(end - start for start, end in batch))
            yield from found
    finally:
        pool.shutdown(cancel_futures=True)


def _hash_batch(descriptor: int, places: Sequence[tuple[int, int]]) -> list[str]:
    buffer = memoryview(bytearray(PIECE))
    return [
        _zeros_hash(end - start)
        if _is_hole(descriptor, start, end)
        else _hash(descriptor, start, end, buffer)
        for start, end in places
    ]


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
