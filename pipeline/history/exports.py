"""Exports: packed images that other desktops may fetch, each by one link, for a while and once.

An export is open until its whole file was sent, it is revoked, or its time is over; then its file is removed.
Whoever has the link has the image, with all its secrets, so of a link only a keyed hash is kept.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import (
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    insert,
    literal_column,
    select,
    update,
)

from ..errors import MetisError
from ..facts.show import stamp
from ..machine import durable
from ..raw.ranges import Ranges, joined
from ..secret import Secret
from .database import TABLES, reading, writing

ENDING = ".img.zst"
KEY_BYTES = 32
TOKEN_BYTES = 32
"""As many as nobody guesses; written in the letters that addresses may have, they are 43."""
LONGEST_TOKEN = 64
"""Letters; what is longer is no token."""
MOST_PIECES = 64
"""So many ranges of a file are remembered as sent; who fetches it in more pieces does not use it up."""

Ended = Literal["used", "revoked", "expired"]

EXPORTS = Table(
    "exports",
    TABLES,
    Column("id", String, primary_key=True),
    *(Column(name, String, nullable=False) for name in ("node", "class", "arch", "image", "by")),
    *(Column(name, String, nullable=False) for name in ("made_at", "expires_at", "sha256", "raw_sha256")),
    *(Column(name, Integer, nullable=False) for name in ("size", "raw_size")),
    Column("downloads", Integer, nullable=False, default=0),
    Column("sent", String, nullable=False, default="[]"),
    Column("link", String),
    Column("ended", String),
    Column("ended_at", String),
    Index("exports_by_link", "link"),
    Index("exports_of_a_node", "node", "made_at"),
)


@dataclass(frozen=True, slots=True)
class Export:
    """A packed image. Sizes are in bytes, times in UTC as ISO 8601 has them, hashes SHA-256 in hexadecimal.

    `image` is the id of the image that is in it, `raw_size` and `raw_sha256` are of that image; `by` is who
    made it. `downloads` counts how often its first byte was sent. `ended` says why it is over.
    """

    id: str
    node: str
    klass: str
    arch: str
    image: str
    by: str
    made_at: str
    expires_at: str
    size: int
    sha256: str
    raw_size: int
    raw_sha256: str
    downloads: int = 0
    ended: Ended | None = None
    ended_at: str | None = None

    @property
    def file_name(self) -> str:
        """What its file is called by whoever fetches it."""
        return f"{self.node}{ENDING}"

    def state(self, now: datetime) -> str:
        """`open`, or why it is over."""
        return self.ended or ("open" if self.expires_at > _at(now) else "expired")

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        data = asdict(self)
        data["class"] = data.pop("klass")
        return data


class Exports:
    """The exports of one folder, and what the history has of them.

    All raise MetisError where the history cannot be used. `now` is the present time.
    """

    def __init__(self, history: Path, folder: Path) -> None:
        self._history = history
        self.folder = folder

    @staticmethod
    def new_id() -> str:
        """A name for another export; it is no secret."""
        return secrets.token_hex(8)

    def place(self, export: Export) -> Path:
        """Where the file of an export is, as long as that is open."""
        return self.folder / f"{export.id}{ENDING}"

    def add(self, part: Path, export: Export) -> None:
        """Make a file that is finished and on the medium an export."""
        row = {"class" if name == "klass" else name: value for name, value in asdict(export).items()}
        with writing(self._history) as connection:
            connection.execute(insert(EXPORTS).values(row))
            # In the transaction: whoever sweeps takes turns with us, and finds no file without its row.
            durable.settle(part, self.place(export))

    def listed(self, node: str | None = None, limit: int = 50, *, skipped: int = 0) -> list[Export]:
        """Exports, the newest first; those of one node, or all, without so many that are newer."""
        # Times are in seconds; rows are numbered as they come.
        newest_first = select(EXPORTS).order_by(EXPORTS.c.made_at.desc(), literal_column("rowid").desc())
        wanted = newest_first.limit(limit).offset(skipped)
        if node is not None:
            wanted = wanted.where(EXPORTS.c.node == node)
        with reading(self._history) as connection:
            return [_export(row) for row in connection.execute(wanted).mappings()]

    # ---------------------------------------------------------------------------------------- links

    def link(self, name: str, now: datetime) -> tuple[Export, Secret] | None:
        """The one link to an open export: a new one, with which an earlier one ends.

        None where there is no open export of that id.
        """
        token = secrets.token_urlsafe(TOKEN_BYTES)
        digest = self._digest(token, makes_key=True)
        with writing(self._history) as connection:
            found = _open(connection, EXPORTS.c.id == name, now)
            if found is None:
                return None
            connection.execute(update(EXPORTS).where(EXPORTS.c.id == name).values(link=digest, sent="[]"))
            return found, Secret(token)

    def find(self, token: str, now: datetime) -> Export | None:
        """The open export that a link leads to.

        What is compared is a hash that nobody outside can make, so how long that takes tells nothing.
        """
        digest = self._digest(token[:LONGEST_TOKEN], makes_key=False)
        if digest is None:
            return None
        with reading(self._history) as connection:
            return _open(connection, EXPORTS.c.link == digest, now)

    def _digest(self, token: str, *, makes_key: bool) -> str | None:
        """HMAC-SHA256 (RFC 2104) of a token; None as long as there is no key, and so no link."""
        file = self.folder / ".key"
        if makes_key:
            durable.write_once(file, os.urandom(KEY_BYTES))
        try:
            key = file.read_bytes()
        except FileNotFoundError:
            return None
        if len(key) != KEY_BYTES:
            raise MetisError(f"{file} is not a key of {KEY_BYTES} bytes", "remove it: all links end")
        return hmac.digest(key, token.encode(errors="surrogatepass"), "sha256").hex()

    # ------------------------------------------------------------------------------------- their end

    def sent(self, export: Export, start: int, end: int, now: datetime) -> None:
        """Note that bytes of a file were sent; when all were, the export is used up.

        A download that is cut off and goes on by ranges is one download.
        """
        with writing(self._history) as connection:
            wanted = select(EXPORTS.c.sent).where(EXPORTS.c.id == export.id, EXPORTS.c.ended.is_(None))
            before = connection.execute(wanted).scalar_one_or_none()
            if before is None or start >= end:
                return
            pieces = joined([*map(tuple, json.loads(before)), (start, end)])
            counted = EXPORTS.c.downloads + (start == 0)
            values = {"sent": json.dumps(_largest(pieces)), "downloads": counted}
            connection.execute(update(EXPORTS).where(EXPORTS.c.id == export.id).values(values))
            if pieces == ((0, export.size),):
                self._end(connection, export.id, "used", now)

    def revoke(self, name: str, now: datetime) -> Export | None:
        """End an export, and every download of it that runs; None where there was no open one of that id."""
        with writing(self._history) as connection:
            found = _open(connection, EXPORTS.c.id == name, now)
            if found is None:
                return None
            self._end(connection, name, "revoked", now)
            return replace(found, ended="revoked", ended_at=_at(now))

    def sweep(self, now: datetime) -> None:
        """End exports whose time is over, and remove all files that belong to no open export."""
        over = select(EXPORTS.c.id).where(EXPORTS.c.ended.is_(None), EXPORTS.c.expires_at <= _at(now))
        with writing(self._history) as connection:
            for name in connection.execute(over).scalars().all():
                self._end(connection, name, "expired", now)
            still = set(connection.execute(select(EXPORTS.c.id).where(EXPORTS.c.ended.is_(None))).scalars())
            for file in self.folder.glob(f"*{ENDING}"):
                if file.name.removesuffix(ENDING) not in still:
                    file.unlink(missing_ok=True)

    def _end(self, connection: Connection, name: str, why: Ended, now: datetime) -> None:
        """Without its file nobody can fetch it, whatever becomes of the row."""
        (self.folder / f"{name}{ENDING}").unlink(missing_ok=True)
        values = {"ended": why, "ended_at": _at(now), "link": None}
        connection.execute(update(EXPORTS).where(EXPORTS.c.id == name).values(values))


def _open(connection: Connection, which: Any, now: datetime) -> Export | None:  # noqa: ANN401 - SQLAlchemy's
    is_open = EXPORTS.c.ended.is_(None), EXPORTS.c.expires_at > _at(now)
    row = connection.execute(select(EXPORTS).where(which, *is_open)).mappings().one_or_none()
    return None if row is None else _export(row)


def _export(row: Any) -> Export:  # noqa: ANN401 - a row of SQLAlchemy's
    names = {field.name: "class" if field.name == "klass" else field.name for field in fields(Export)}
    return Export(**{name: row[column] for name, column in names.items()})


def _largest(pieces: Ranges) -> Sequence[tuple[int, int]]:
    """As many as are remembered."""
    return sorted(pieces, key=lambda piece: piece[1] - piece[0], reverse=True)[:MOST_PIECES]


def _at(now: datetime) -> str:
    return stamp(now.astimezone(UTC))
