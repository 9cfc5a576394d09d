"""Builds and burns for histories, and what is in the file of one."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.history.records import Build, Burn, Event
from pipeline.manifest_json import content_id
from pipeline.model import Entry, Manifest, Placed

AT = "2026-11-29T03:00:00Z"
EVENT = Event("build", AT, "titan-13", "pi", "built", 4.5, 1 << 20, "a" * 64)
BURNED = replace(EVENT, kind="burn", verdict="burned")
CARD = {"path": "/dev/sda", "serial": "4C53", "size": 32 << 30, "mounts": []}
BASE_FROM = {"golden": "c" * 64, "manifest": "d" * 64, "headroom": 4 << 20, "labels": {"root": "rootfs"}}
SECRETS = {"source": "vault", "node": "3", "cluster": "7"}
BUILD = Build(EVENT, "e" * 64, "b" * 64, BASE_FROM, SECRETS, "1.2.3")
BURN = Burn(BURNED, CARD, skipped=7, rewritten=1, files=48)


def event(**about: Any) -> Event:
    """A build that is otherwise in what is said of it."""
    return replace(EVENT, **about)


def manifest(*entries: Entry) -> Manifest:
    """A manifest of entries of one layer."""
    return Manifest("titan-13", tuple(Placed(entry, "network") for entry in entries), content_id(entries))


def today_or_yesterday() -> list[str]:
    """What day it was a moment ago."""
    now = datetime.now(UTC)
    return [f"{now - timedelta(days=ago):%Y-%m-%d}" for ago in (0, 1)]


def query(file: Path, words: str) -> Sequence[tuple[Any, ...]]:
    """What the database itself answers."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True)) as opened:
        found = opened.execute(words).fetchall()
        opened.commit()
        return found


def kept_manifests(file: Path) -> dict[str, bytes]:
    """The manifests of a history as they were before they were packed, by places for `leaks`."""
    rows = query(file, "SELECT id, content FROM manifests") if file.exists() else []
    return {f"manifest {name} of {file}": zlib.decompress(content) for name, content in rows}
