"""Canaries: texts that are nowhere but where they were planted, and a search for them in all that was left.

A canary is looked for in pieces, so that one that was cut, wrapped or put into a longer text is found too;
each piece as it is and in the encodings in which programs write texts down.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, quote_plus

PIECE = 12
"""Bytes of a piece: chance brings none of them about."""
TEXT = re.compile(rb"[^\0]{%d,}" % PIECE)
"""No canary holds a zero byte, and file systems are full of them."""
WORKER = re.compile(rb"(?:^|\0)PYTEST_XDIST_WORKER=([^\0]*)")
NONE: Mapping[tuple[bytes, str], str] = {}
DIGESTS = ("md5", "sha1", "sha256", "sha512")


@dataclass(frozen=True, slots=True)
class Leak:
    """A canary that was found: which, written how, and where."""

    canary: str
    encoding: str
    place: str


# --------------------------------------------------------------------------------------- encodings


def pieces(value: bytes) -> Iterator[bytes]:
    """A value's lines in pieces, the last one of a line from its end."""
    for line in value.splitlines():
        if len(line) >= PIECE:
            yield from (line[start : start + PIECE] for start in range(0, len(line) - PIECE + 1, PIECE))
            yield line[-PIECE:]


def in_base64(piece: bytes) -> Iterator[bytes]:
    """What is sure to be in the base64 of a text that holds a piece, wherever the piece begins in it."""
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + piece)
        first, last = -(-before * 4 // 3), (before + len(piece)) * 4 // 3
        yield whole[first:last]
        yield whole[first:last].translate(bytes.maketrans(b"+/", b"-_"))


def written(piece: bytes) -> Iterator[tuple[str, bytes]]:
    """A piece as programs write it down, with the name of the encoding."""
    text = piece.decode(errors="replace")
    yield "as it is", piece
    yield from (("base64", found) for found in in_base64(piece))
    yield "hex", piece.hex().encode()
    yield "hex", piece.hex().upper().encode()
    yield "hex with spaces", piece.hex(" ").encode()
    yield from (("URL", way(piece).encode()) for way in (quote, quote_plus))
    yield "URL", quote(piece, safe="").encode()
    yield "URL, lower case", _lower_escapes(quote(piece, safe="")).encode()
    for ascii_only in (True, False):
        escaped = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield "JSON", escaped.encode()
        yield "JSON", escaped.replace("/", "\\/").encode()
    yield "repr", repr(text)[1:-1].encode()
    yield "repr", repr(piece)[2:-1].encode()


def _lower_escapes(text: str) -> str:
    head, *rest = text.split("%")
    return "%".join([head, *(part[:2].lower() + part[2:] for part in rest)])


def digests(value: bytes) -> Iterator[tuple[str, bytes]]:
    """The plain hashes of a value, with and without the newline of a file: who can guess it can check it."""
    for text in {value, value.rstrip(b"\n"), value.rstrip(b"\n") + b"\n"}:
        for name in DIGESTS:
            digest = hashlib.new(name, text, usedforsecurity=False).digest()
            yield name, digest.hex()[:32].encode()
            yield name, base64.b64encode(digest)[:20]


# ------------------------------------------------------------------------------------------ search


class Canaries:
    """The planted values by their names, and the search for them.

    `common` are texts whose pieces are no secret though they are in some of the values: what all keys begin
    with, or the name of a registry.
    """

    def __init__(self, planted: Mapping[str, str], common: Iterable[str] = ()) -> None:
        known = {piece for text in common for piece in _grams(text.encode())}
        self._needles: dict[bytes, dict[tuple[bytes, str], str]] = {}
        for name, value in planted.items():
            content = value.encode()
            assert len(content.strip()) >= PIECE, f"{name} is too short to be a canary"
            for piece in pieces(content):
                if piece not in known:
                    for encoding, needle in written(piece):
                        self._add(needle, name, encoding)
            for encoding, needle in digests(content):
                self._add(needle, name, encoding)

    def _add(self, needle: bytes, name: str, encoding: str) -> None:
        assert len(needle) >= PIECE
        self._needles.setdefault(needle[:PIECE], {}).setdefault((needle, name), encoding)

    def found_in(self, content: bytes, place: str) -> set[Leak]:
        """Each canary that is in a content, in each encoding once."""
        needles, found = self._needles, set()
        for text in TEXT.finditer(content):
            for start in range(text.start(), text.end() - PIECE + 1):
                for (needle, name), encoding in needles.get(content[start : start + PIECE], NONE).items():
                    if content.startswith(needle, start):
                        found.add(Leak(name, encoding, place))
        return found

    def found_in_all(self, contents: Mapping[str, bytes]) -> set[Leak]:
        """The same for contents by their places; those that are equal are searched once."""
        places: dict[bytes, str] = {}
        for place, content in contents.items():
            places.setdefault(content, place)
        return {leak for content, place in places.items() for leak in self.found_in(content, place)}


def _grams(content: bytes) -> Iterator[bytes]:
    return (content[start : start + PIECE] for start in range(len(content) - PIECE + 1))


def folder_contents(top: Path, leave_out: Iterable[Path] = ()) -> dict[str, bytes]:
    """What lies below a folder: each file's content, and the names of all, in one text."""
    without = set(leave_out)
    found = {str(path): b"" for path in sorted(top.rglob("*"))}
    names = "\n".join(found).encode(errors="surrogateescape")
    contents = {
        name: Path(name).read_bytes()
        for name in found
        if Path(name).is_file() and not Path(name).is_symlink() and Path(name) not in without
    }
    links = "\n".join(str(Path(name).readlink()) for name in found if Path(name).is_symlink()).encode()
    return {f"names below {top}": names, f"links below {top}": links, **contents}


# ----------------------------------------------------------------------------------------- sampler


class Sampler:
    """Reads the arguments and environments of all processes that begin while the block runs.

    A thread looks every `pause` seconds, which is longer where those of interest live for long and have need
    of the processor themselves. What another worker of pytest-xdist has started is none of ours. A program
    starts with the memory of the one that started it, so that an environment counts as that of each program
    whose arguments were there around it; between two programs there are none, and the next look tells. Of
    who has the arguments of the last look, the environment is not read again: it runs the same program.
    """

    def __init__(self, pause: float = 0.001) -> None:
        self._pause = pause
        self._seen: dict[tuple[bytes, bytes], str] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="sampler", daemon=True)
        self._before = _processes()
        self.looks = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        known: dict[str, bytes] = {}
        while not self._ended.wait(self._pause):
            self.looks += 1
            known = {name: self._arguments(name, known) for name in _processes() - self._before}

    def _arguments(self, name: str, known: Mapping[str, bytes]) -> bytes:
        """What a process runs, where that is sure; what is new is kept."""
        before = _read(f"/proc/{name}/cmdline")
        if before and known.get(name) == before:
            return before
        environment = _read(f"/proc/{name}/environ")
        after = _read(f"/proc/{name}/cmdline")
        if before and after and not _is_anothers(environment):
            self._seen.setdefault((before if before == after else before + after, environment), name)
        return before if before == after else b""

    @property
    def programs(self) -> set[str]:
        """The names of all programs that were seen."""
        return {Path(os.fsdecode(line.split(b"\0")[0])).name for line, _ in self._seen}

    def contents(self, own: Iterable[str] = ()) -> dict[str, bytes]:
        """What was read, by places; not the environment of the programs that are called `own`."""
        programs = [os.fsencode(program) + b"\0" for program in own]
        found = {}
        for (line, environment), process in self._seen.items():
            shown = line.replace(b"\0", b" ").decode(errors="replace")[:80]
            found[f"arguments of {process}: {shown}"] = line
            if not any(program in line for program in programs):
                found[f"environment of {process}: {shown}"] = environment
        return found


def _processes() -> set[str]:
    return {name for name in os.listdir("/proc") if name.isdecimal()}  # noqa: PTH208 - a thousand times a second


def _is_anothers(environment: bytes) -> bool:
    found = WORKER.search(environment)
    return found is not None and os.fsdecode(found[1]) != os.environ.get("PYTEST_XDIST_WORKER")


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - likewise
            return file.read()
    except OSError:
        return b""
