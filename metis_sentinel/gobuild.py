"""How a Go program was built: its modules and their versions, as the file says (Go's debug/buildinfo).

The file is read in pieces and never run. Go has written this as text since 1.18; older programs say nothing
here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

_MAGIC = b"\xff Go buildinf:"
_ALIGNMENT = 16
_AS_TEXT = 2
_FLAGS = 15
_TEXTS = 32
"""Where the two texts begin, each after its length: the version of Go, and that of the modules."""
_FRAME = 16
"""Bytes around the text of the modules, by which a debugger finds it."""
_LARGEST = 1 << 20
_PIECE = 1 << 20
_OVERLAP = 256
_MOST = 64


class Build:
    """A program's own import path, its modules with their versions, and the flags that its linker was given.

    A module that is replaced by another has that one's version. `program` is empty where nothing is said.
    """

    __slots__ = ("flags", "modules", "program")

    def __init__(self) -> None:
        self.modules: dict[str, str] = {}
        self.flags = ""
        self.program = ""


def scan(descriptor: int, limit: int, words: re.Pattern[bytes]) -> tuple[Build, list[bytes]]:
    """How an open program was built, and what matches `words` in its first `limit` bytes.

    A match has 256 bytes at most.
    """
    build, matches, end = Build(), list[bytes](), 0
    for start, piece in _pieces(descriptor, limit):
        for match in words.finditer(piece):
            # One at the end of a piece may be longer, and is again in the next, as some before it are.
            if start + match.start() >= end and match.end() < len(piece) and len(matches) < _MOST:
                matches.append(match[0])
                end = start + match.end()
        at = -1
        while not build.program and (at := piece.find(_MAGIC, at + 1)) >= 0:
            if (start + at) % _ALIGNMENT == 0:
                build = _build(os.pread(descriptor, _LARGEST, start + at))
    return build, matches


def _pieces(descriptor: int, limit: int) -> Iterator[tuple[int, bytes]]:
    """Where each piece begins, and the piece with the end of the one before it."""
    at, before = 0, b""
    while at < limit and (data := os.pread(descriptor, _PIECE, at)):
        yield at - len(before), before + data
        at += len(data)
        before = data[-_OVERLAP:]


def _build(data: bytes) -> Build:
    build = Build()
    if len(data) <= _TEXTS or not data[_FLAGS] & _AS_TEXT:
        return build
    _, at = _text(data, _TEXTS)
    said, _ = _text(data, at)
    name = ""
    for line in said[_FRAME:-_FRAME].decode("utf-8", "replace").split("\n"):
        kind, *rest = line.split("\t")
        if kind == "path" and rest:
            build.program = rest[0]
        elif kind in {"mod", "dep"} and len(rest) > 1:
            name = rest[0]
            build.modules[name] = rest[1]
        elif kind == "=>" and len(rest) > 1 and name:
            build.modules[name] = rest[1]
        elif kind == "build" and rest and rest[0].startswith("-ldflags="):
            build.flags = rest[0]
    return build


def _text(data: bytes, at: int) -> tuple[bytes, int]:
    """A text after its length (encoding/binary's Uvarint), and where it ends; empty where it is cut off."""
    length = shift = 0
    while at < len(data) and shift < 28:  # noqa: PLR2004 - longer than any text here
        byte = data[at]
        at += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004 - the last byte of a number
            break
    return (data[at : at + length], at + length) if at + length <= len(data) else (b"", len(data))
