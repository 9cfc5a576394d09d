"""Block maps: which ranges of an image must be written, and the hash of each (bmap 2.0).

bmaptool and other writers read this file, and so does our own burn: it tells what a card must hold. Which
ranges are mapped, and why, is decided in `mapped`; here is only their text and their hashes.
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

from ..errors import MetisError, MismatchError, reason_of
from ..machine.progress import Advance
from . import hashing, sparse
from .ranges import BLOCK, PIECE, outside, split

LARGEST_FILE = 32 << 20
"""Bytes; the map of a quarter of a terabyte, all of it mapped, is smaller."""
_NO_CHECKSUM = "0" * 64
_CHECKSUM = re.compile(rb"<BmapFileChecksum>\s*([0-9a-f]{64})\s*</BmapFileChecksum>")
_DEEPEST = 3  # bmap, BlockMap, Range
_FIELDS = frozenset("ImageSize BlockSize BlocksCount MappedBlocksCount ChecksumType".split())
_NAMES = _FIELDS | {"bmap", "BmapFileChecksum", "BlockMap", "Range", "version", "chksum"}
_MOST_STRANGE = 64
"""Names that we do not know; the parser keeps each of them."""
_LONGEST_TEXT = 1 << 13
_TOO_LONG = re.compile(rb"<[^<]{65536}")
"""A tag, with what follows it, has fewer bytes: its attributes would all be kept at once."""

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
            is_all = (start, end) == (each.start, each.end)  # then the range stays the same object
            found.append(each if is_all else Range(start, end, hashlib.sha256(piece).hexdigest()))
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
    found = hashlib.sha256(memoryview(data)[: checksum.start(1)])
    found.update(_NO_CHECKSUM.encode())
    found.update(memoryview(data)[checksum.end(1) :])
    if found.hexdigest() != checksum[1].decode():
        raise MismatchError("the checksum of the block map is wrong", "make or fetch it again")
    if (document.field("ChecksumType"), document.count("BlockSize")) != ("sha256", BLOCK):
        raise _bad(f"only SHA-256 and blocks of {BLOCK} bytes are known")
    size = document.count("ImageSize")
    ranges = _within(document.ranges, size)
    counts = (document.count("BlocksCount"), document.count("MappedBlocksCount"))
    if counts != (_blocks(size), sum(_blocks(each.end - each.start) for each in ranges)):
        raise _bad("its counts of blocks do not fit its ranges")
    return Bmap(size, ranges)


class _Document:
    """What a map's XML says of what we know; a tree is never built, so a hostile file costs no more than an
    honest one. A range ends on a block here, also where the image ends before.
    """

    def __init__(self) -> None:
        self.ranges: list[Range] = []
        self._fields: dict[str, str] = {}
        self._path: list[str] = []
        self._text: list[str] = []
        self._length = 0
        self._strange = 0
        self._digest = ""

    def read(self, data: bytes) -> None:
        if len(data) > LARGEST_FILE:
            raise _bad(f"it is larger than {LARGEST_FILE >> 20} MiB")
        if _TOO_LONG.search(data):
            raise _bad("it has a tag or a text without end")
        parser = expat.ParserCreate("utf-8")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._take
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

    def _take(self, text: str) -> None:
        self._length += len(text)
        if self._length > _LONGEST_TEXT:
            raise _bad("it has a tag or a text without end")
        self._text.append(text)

    def _taken(self) -> str:
        """The text since the last tag."""
        text = "".join(self._text).strip()
        self._text.clear()
        self._length = 0
        return text

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        self._taken()
        self._strange += len({name, *attributes} - _NAMES)
        if self._strange > _MOST_STRANGE:
            raise _bad(f"it says too much that is not known, as in <{name[:40]}>")
        if self._path == ["bmap"] and attributes.get("version") != "2.0":
            raise _bad("it is not of version 2.0")
        if self._path[0] != "bmap" or len(self._path) > _DEEPEST:
            raise _bad(f"<{name[:40]}> has no place in it")
        self._digest = attributes.get("chksum", "")

    def _end(self, name: str) -> None:
        text = self._taken()
        if self._path == ["bmap", "BlockMap", "Range"]:
            self.ranges.append(_range(text, self._digest))
        elif self._path == ["bmap", name] and name in _FIELDS and self._fields.setdefault(name, text) != text:
            raise _bad(f"it has two of {name[:40]}")
        self._path.pop()


def _range(text: str, digest: str) -> Range:
    first, _, last = text.partition("-")
    start, end = _number(first) * BLOCK, (_number(last or first) + 1) * BLOCK
    if not start < end:
        raise _bad(f"the range {text[:40]} is empty")
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise _bad(f"the range {text[:40]} has no SHA-256")
    return Range(start, end, digest)


def _within(ranges: list[Range], size: int) -> tuple[Range, ...]:
    """Ranges of an image of `size` bytes, in order; the last may end with it."""
    if any(before.end > after.start for before, after in pairwise(ranges)):
        raise _bad("its ranges overlap or are not in order")
    for last in ranges[-1:]:
        if last.end >= size + BLOCK:
            raise _bad(f"the range from byte {last.start} to {last.end} leaves the image")
        ranges[-1] = Range(last.start, min(last.end, size), last.sha256)
    return tuple(ranges)


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
        raise MetisError(f"cannot read {image}: {reason_of(error)}") from error


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
