"""An open image as one stream, packed by zstd(1): for registries, and as a file for other desktops."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..errors import MismatchError
from ..machine import process
from ..machine.progress import Advance, Reporter
from ..raw import sparse
from ..raw.bmap import Bmap
from .burnable import Burnable, opened


@dataclass(frozen=True, slots=True)
class Packed:
    """A packed image: bytes and SHA-256 of the file, and of the image that is in it (`raw`).

    `image` is the id that the image's receipt has, empty where it has none.
    """

    subject: str
    image: str
    size: int
    sha256: str
    raw_size: int
    raw_sha256: str
    map: Bmap


def pack(image: Path, into: Path, reporter: Reporter, *, deep: bool = False) -> Packed:
    """Pack a finished image into a new file of mode 0600, which is on the medium afterwards.

    Raises MismatchError where the image is not what its receipt and its block map say.
    """
    whole, raw, size = hashlib.sha256(), hashlib.sha256(), 0
    with opened(image, reporter, deep=deep) as what:
        with (
            os.fdopen(os.open(into, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
            reporter.step(f"{what.subject}: packing", what.map.mapped) as advance,
            packed(what, image.name, advance, raw.update) as stream,
        ):
            while chunk := stream.read(sparse.CHUNK):
                whole.update(chunk)
                size += file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        digests = whole.hexdigest(), what.image.size, raw.hexdigest()
        return Packed(what.subject, what.id, size, *digests, what.map)


@contextmanager
def packed(
    what: Burnable, name: str, advance: Advance, watch: Callable[[bytes], object] = lambda _: None
) -> Iterator[IO[bytes]]:
    """The packed stream, for a block that reads it to its end; `watch` gets each piece that goes into it.

    What the block map does not name is packed as zeros, and each range is compared with its hash as it is
    read. Raises MismatchError, with `name` in it, where the image is not what its block map says.
    """
    # Who unpacks a frame that does not say how much is in it cannot tell whether a card has room for that.
    argv = ("zstd", "-q", "-c", "-T2", f"--stream-size={what.image.size}")
    with process.piped(argv, _watched(_content(what, name, advance), watch)) as out:
        yield out


def _watched(chunks: Iterator[bytes], watch: Callable[[bytes], object]) -> Iterator[bytes]:
    for chunk in chunks:
        watch(chunk)
        yield chunk


def _content(what: Burnable, name: str, advance: Advance) -> Iterator[bytes]:
    done = 0
    for each in what.map.ranges:
        yield from _zeros(each.start - done)
        found = hashlib.sha256()
        for start in range(each.start, each.end, sparse.CHUNK):
            data = what.image.read(start, min(start + sparse.CHUNK, each.end))
            found.update(data)
            advance(len(data))
            yield data
        if found.hexdigest() != each.sha256:
            raise MismatchError(
                f"{name} is not what its block map says at byte {each.start}", "build it again"
            )
        done = each.end
    yield from _zeros(what.image.size - done)


def _zeros(count: int) -> Iterator[bytes]:
    zeros = bytes(min(count, sparse.CHUNK))
    while count > 0:
        yield zeros[:count]
        count -= len(zeros)
