"""Block maps: which ranges of an image must be written, and the hash of each (bmap 2.0).

bmaptool and other writers read this file, and so does our own burn: it tells what a card must hold. Which
ranges are mapped, and why, is decided in mapped.py; here is only their text and their hashes.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from xml.parsers import expat

from . import hashing, sparse
from .errors import MetisError, MismatchError
from .progress import Advance
from .ranges import BLOCK, PIECE, outside, split

LARGEST_FILE = 64 << 20
"""Bytes; the map of half a terabyte, all of it mapped, is smaller."""
_NO_CHECKSUM = "0" * 64
_CHECKSUM = re.compile(rb"<BmapFileChecksum>\s*([0-9a-f]{64})\s*</BmapFileChecksum>")
_DEEPEST = 3  # bmap, BlockMap, Range


ReadInto = Callable[[int, memoryview], None]
"""Fills memory with an image's bytes from a place on."""


@dataclass(frozen=True, slots=True)
class Range:
    """A half-open range of bytes and its SHA-256 in hex; it starts and ends on a block, or with the image."""

    start: int
    end: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Bmap:
    """A block map: the image's size in bytes, and its mapped ranges in order."""

    size: int
    ranges: tuple[Range, ...]

    @property
    def mapped(self) -> int:
        """How many bytes are mapped."""
        return sum(each.end - each.start for each in self.ranges)

    def to_xml(self) -> bytes:
        """The map as a bmap 2.0 file, with its own checksum, which is taken while its place holds zeros."""
        text = _TEMPLATE.format(
            size=self.size,
            block=BLOCK,
            blocks=_blocks(self.size),
            mapped=sum(_blocks(each.end - each.start) for each in self.ranges),
            checksum=_NO_CHECKSUM,
            ranges="".join(map(_line, self.ranges)),
        )
        checksum = hashlib.sha256(text.encode()).hexdigest()
        return text.replace(_NO_CHECKSUM, checksum, 1).encode()


def describe(image: Path, ranges: Iterable[tuple[int, int]], advance: Advance = lambda _: None) -> Bmap:
    """Hash the mapped ranges of an image, each byte read once; they are ordered and lie on blocks.

    `advance` is told the bytes that are done. Raises MetisError when the image cannot be read.
    """
    places = list(split(ranges))
    with _opened(image) as (descriptor, size):
        if places and places[-1][1] > size:
            raise MetisError(f"{image} ends before its mapped ranges do")
        found = tuple(
            Range(start, end, digest)
            for (start, end), digest in zip(places, hashing.digests(descriptor, places, advance), strict=True)
        )
    return Bmap(size, found)


def difference(image: Path, bmap: Bmap, advance: Advance = lambda _: None) -> int | None:
    """The place of the first byte, or the start of the first range, that is not what the map says.

    None means that every range has its hash and all else reads as zero. Where the size is another, it is the
    place where the shorter of the two ends. Raises MetisError when the image cannot be read.
    """
    places = [(each.start, each.end) for each in bmap.ranges]
    with _opened(image) as (descriptor, size):
        if size != bmap.size:
            return min(size, bmap.size)
        stray = hashing.first_not_zero(descriptor, outside(sparse.extents(descriptor), places))
        for each, digest in zip(bmap.ranges, hashing.digests(descriptor, places, advance), strict=True):
            if digest != each.sha256:
                return each.start if stray is None else min(each.start, stray)
    return stray


def refined(read: ReadInto, bmap: Bmap, advance: Advance = lambda _: None) -> Bmap:
    """The same map with a hash for each piece of at most 1 MiB, as ours have; every byte is read.

    For maps of others, whose ranges may be gigabytes long. Raises MismatchError at the first range that does
    not have its hash, OSError when the image cannot be read.
    """
    buffer = memoryview(bytearray(PIECE))
    found: list[Range] = []
    for each in bmap.ranges:
        whole = hashlib.sha256()
        for start, end in split([(each.start, each.end)]):
            piece = buffer[: end - start]
            read(start, piece)
            whole.update(piece)
            found.append(Range(start, end, hashlib.sha256(piece).hexdigest()))
            advance(end - start)
        if whole.hexdigest() != each.sha256:
            raise MismatchError(
                f"the image is not what its block map says, from byte {each.start} to {each.end}",
                "fetch or build both again",
            )
    return Bmap(bmap.size, tuple(found))


def parse(data: bytes) -> Bmap:
    """Read a bmap 2.0 file of blocks of 4096 bytes with a SHA-256 for each range, whoever made it.

    Raises MismatchError when the file's own checksum is wrong, and MetisError for anything else that is not
    such a map. Document types, and so entities, are refused.
    """
    document = _Document()
    document.read(data)
    checksum = _CHECKSUM.search(data)
    if checksum is None:
        raise _bad("it has no SHA-256 of its own")
    zeroed = data[: checksum.start(1)] + _NO_CHECKSUM.encode() + data[checksum.end(1) :]
    if hashlib.sha256(zeroed).hexdigest() != checksum[1].decode():
        raise MismatchError("the checksum of the block map is wrong", "make or fetch it again")
    if (document.field("ChecksumType"), document.count("BlockSize")) != ("sha256", BLOCK):
        raise _bad(f"only SHA-256 and blocks of {BLOCK} bytes are known")
    size = document.count("ImageSize")
    ranges = tuple(_range(text, digest, size) for text, digest in document.ranges)
    if any(before.end > after.start for before, after in pairwise(ranges)):
        raise _bad("its ranges overlap or are not in order")
    counts = (document.count("BlocksCount"), document.count("MappedBlocksCount"))
    if counts != (_blocks(size), sum(_blocks(each.end - each.start) for each in ranges)):
        raise _bad("its counts of blocks do not fit its ranges")
    return Bmap(size, ranges)


class _Document:
    """What a map's XML says; a tree is never built, so a hostile file costs no more than its own size."""

    def __init__(self) -> None:
        self.ranges: list[tuple[str, str]] = []
        self._fields: dict[str, str] = {}
        self._path: list[str] = []
        self._text: list[str] = []
        self._digest = ""

    def read(self, data: bytes) -> None:
        if len(data) > LARGEST_FILE:
            raise _bad(f"it is larger than {LARGEST_FILE >> 20} MiB")
        parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text.append
        try:
            parser.Parse(data, True)
        except expat.ExpatError as error:
            raise _bad(str(error)) from None

    def field(self, name: str) -> str:
        if name not in self._fields:
            raise _bad(f"it has no {name}")
        return self._fields[name]

    def count(self, name: str) -> int:
        return _number(self.field(name))

    def _refuse(self, *_: object) -> None:
        raise _bad("it has a document type")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        self._text.clear()
        if self._path == ["bmap"] and attributes.get("version") != "2.0":
            raise _bad("it is not of version 2.0")
        if self._path[0] != "bmap" or len(self._path) > _DEEPEST:
            raise _bad(f"<{name[:40]}> has no place in it")
        self._digest = attributes.get("chksum", "")

    def _end(self, name: str) -> None:
        text = "".join(self._text).strip()
        self._text.clear()
        if self._path == ["bmap", "BlockMap", "Range"]:
            self.ranges.append((text, self._digest))
        elif self._path[:-1] == ["bmap"] and self._fields.setdefault(name, text) != text:
            raise _bad(f"it has two of {name[:40]}")
        self._path.pop()


def _range(text: str, digest: str, size: int) -> Range:
    first, _, last = text.partition("-")
    start, end = _number(first) * BLOCK, (_number(last or first) + 1) * BLOCK
    if not start < end < size + BLOCK:
        raise _bad(f"the range {text[:40]} is empty or leaves the image")
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise _bad(f"the range {text[:40]} has no SHA-256")
    return Range(start, min(end, size), digest)


def _number(text: str) -> int:
    if not re.fullmatch(r"\s*[0-9]{1,15}\s*", text):
        raise _bad(f"{text[:40]!r} is not a count")
    return int(text)


def _bad(reason: str) -> MetisError:
    return MetisError(f"not a block map that can be used: {reason}", "make it again")


def _blocks(size: int) -> int:
    return -(-size // BLOCK)


def _line(each: Range) -> str:
    first, last = each.start // BLOCK, _blocks(each.end) - 1
    place = f"{first}" if first == last else f"{first}-{last}"
    return f'        <Range chksum="{each.sha256}"> {place} </Range>\n'


@contextmanager
def _opened(image: Path) -> Iterator[tuple[int, int]]:
    """The descriptor and the size of an image; errors while it is open name it."""
    try:
        with image.open("rb") as file:
            yield file.fileno(), file.seek(0, os.SEEK_END)
    except OSError as error:
        raise MetisError(f"cannot read {image}: {(error.strerror or str(error)).lower()}") from error


_TEMPLATE = """<?xml version="1.0" ?>
<!-- Which blocks of the image must be written to a card, with the hash of each range of them. The others are
     holes that no file system uses. `bmaptool copy` reads this file. -->
<bmap version="2.0">
    <ImageSize> {size} </ImageSize>
    <BlockSize> {block} </BlockSize>
    <BlocksCount> {blocks} </BlocksCount>
    <MappedBlocksCount> {mapped} </MappedBlocksCount>
    <ChecksumType> sha256 </ChecksumType>
    <!-- Of this file, taken while these 64 digits are zeros. -->
    <BmapFileChecksum> {checksum} </BmapFileChecksum>
    <BlockMap>
{ranges}    </BlockMap>
</bmap>
"""
