"""Exports that nobody packed: files of any bytes, offered as packed images are."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.facts.show import stamp
from pipeline.history.exports import Export, Exports
from pipeline.machine import durable


def offered(
    exports: Exports,
    content: bytes,
    *,
    node: str = "titan-13",
    now: datetime | None = None,
    lasts: timedelta = timedelta(hours=1),
) -> Export:
    """An open export of a file with these bytes."""
    part = durable.make_private(exports.folder) / ".made.part"
    part.touch(0o600)
    part.write_bytes(content)
    at = now or datetime.now(UTC)
    export = Export(
        id=exports.new_id(),
        node=node,
        klass="pi",
        arch="arm64",
        image="ab" * 32,
        by="mara",
        made_at=stamp(at),
        expires_at=stamp(at + lasts),
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        raw_size=len(content),
        raw_sha256="cd" * 32,
    )
    exports.add(part, export)
    return export


def rows(folder: Path) -> bytes:
    """All bytes of a history, with what SQLite has beside it."""
    return b"".join(file.read_bytes() for file in sorted(folder.glob("history.sqlite3*")))
