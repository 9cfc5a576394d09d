"""The packages in rpm's database: rows of SQLite with a header each (rpm's `docs/manual/format.md`)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .host import Host
from .texts import text

DATABASES = ("/usr/lib/sysimage/rpm/rpmdb.sqlite", "/var/lib/rpm/rpmdb.sqlite")
_TEXTS = {1000: "name", 1001: "version", 1002: "release", 1022: "arch"}
_EPOCH = 1003
_INT32, _STRING = 4, 6
_LARGEST = 16 << 20
_MOST_ENTRIES = 1 << 16
_WORD = 256
_STEPS = 50
"""Of a million operations of SQLite each: a database that asks for more is not rpm's."""


def installed(host: Host) -> Iterator[tuple[str, str, str]]:
    """Name, architecture and [EPOCH:]VERSION-RELEASE of each package. Raises OSError and ValueError."""
    path = next(filter(host.files.has, DATABASES), None)
    if path is None:
        raise ValueError("neither dpkg nor rpm has a database that can be read")
    with host.files.opened(path) as descriptor:
        yield from map(header, _headers(descriptor))


def _headers(descriptor: int) -> Iterator[bytes]:
    """Each header; the database is read as it lies there, and nothing is written beside it."""
    import sqlite3

    steps = iter(range(_STEPS))
    try:
        database = sqlite3.connect(f"file:/proc/self/fd/{descriptor}?immutable=1&mode=ro", uri=True)
        try:
            database.set_progress_handler(lambda: next(steps, None) is None, 1_000_000)
            database.execute("PRAGMA cache_size = -1024")
            query = "SELECT blob FROM Packages WHERE typeof(blob) = 'blob' AND length(blob) < ?"
            for (blob,) in database.execute(query, (_LARGEST,)):
                yield blob
        finally:
            database.close()
    except sqlite3.Error as error:
        raise ValueError(f"rpm's database: {error}") from None


def header(blob: bytes) -> tuple[str, str, str]:
    """Name, architecture and version of one header. Raises ValueError where it is none."""
    try:
        entries, size = struct.unpack_from(">II", blob)
        start = 8 + 16 * entries
        if entries > _MOST_ENTRIES or start + size > len(blob):
            raise ValueError("rpm's database: a header is cut off")
        words, epoch = {}, ""
        for tag, kind, offset, _ in struct.iter_unpack(">IIiI", blob[8:start]):
            at = start + offset
            if tag in _TEXTS and kind == _STRING and offset >= 0:
                words[_TEXTS[tag]] = text(blob[at : at + _WORD].partition(b"\0")[0], _WORD)
            elif tag == _EPOCH and kind == _INT32 and offset >= 0:
                epoch = f"{struct.unpack_from('>I', blob, at)[0]}:"
        return words["name"], words.get("arch", ""), f"{epoch}{words['version']}-{words['release']}"
    except (struct.error, KeyError):
        raise ValueError("rpm's database: a header has no name or version") from None
