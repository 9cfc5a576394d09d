"""Builds of images: what each was made of. A manifest is kept once, however many images were made of it."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    Table,
    select,
)
from sqlalchemy.dialects.sqlite import insert as insert_new

from ..errors import MetisError, UsageError
from ..manifest_json import from_data, to_data
from ..model import Manifest
from .database import TABLES, reading, writing
from .difference import Made
from .events import EVENTS, kept
from .events import keep as keep_event
from .records import Build

LARGEST = 1 << 28
"""Bytes of a manifest, of which none has so many."""

BUILDS = Table(
    "builds",
    TABLES,
    Column("id", Integer, ForeignKey(EVENTS.c.id), primary_key=True),
    Column("manifest", String, nullable=False),
    Column("base", String, nullable=False),
    Column("base_from", JSON, nullable=False),
    Column("secrets", JSON, nullable=False),
    Column("metis", String, nullable=False),
)
MANIFESTS = Table(
    "manifests",
    TABLES,
    Column("id", String, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)


def keep(file: Path, build: Build, manifests: Iterable[Manifest]) -> int:
    """Keep a build with the manifests that it was made of, and give its number.

    Raises MetisError where the history cannot be written.
    """
    packed = [{"id": each.id, "content": _packed(each)} for each in manifests]
    with writing(file) as connection:
        for row in packed:
            connection.execute(insert_new(MANIFESTS).values(row).on_conflict_do_nothing())
        return keep_event(connection, build.event, BUILDS, build)


def made(file: Path, number: int) -> Made:
    """A build with its manifests, for `difference`. Raises UsageError where there is none of this number."""
    with reading(file) as connection:
        found = kept(connection, number, BUILDS)
        if found is None:
            raise UsageError(f"no build {number} in {file}", "see `metis history --kind build`")
        build = Build(found[0], **found[1])
        base, image = (_manifest(connection, name) for name in (build.base_manifest, build.manifest))
        return Made(build, base, image)


def _manifest(connection: Connection, name: str) -> Manifest | None:
    """A manifest by its id; None where it was not kept, or has a form that is not read any more."""
    content = connection.execute(select(MANIFESTS.c.content).where(MANIFESTS.c.id == name)).scalar()
    if content is None:
        return None
    try:
        data: Any = json.loads(zlib.decompressobj().decompress(content, LARGEST))
        return from_data(data)
    except (MetisError, ValueError, RecursionError, zlib.error):
        return None


def _packed(manifest: Manifest) -> bytes:
    return zlib.compress(json.dumps(to_data(manifest)).encode())
