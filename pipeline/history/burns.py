"""Burns of cards: which card it was, and what was done to it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import JSON, Column, ForeignKey, Integer, Table

from ..errors import UsageError
from .database import TABLES, reading, writing
from .events import EVENTS, kept
from .events import keep as keep_event
from .records import Burn

BURNS = Table(
    "burns",
    TABLES,
    Column("id", Integer, ForeignKey(EVENTS.c.id), primary_key=True),
    Column("card", JSON, nullable=False),
    Column("skipped", Integer, nullable=False),
    Column("rewritten", Integer, nullable=False),
    Column("files", Integer),
)


def keep(file: Path, burns: Iterable[Burn]) -> None:
    """Keep what came of several cards. Raises MetisError where the history cannot be written."""
    with writing(file) as connection:
        for burn in burns:
            keep_event(connection, burn.event, BURNS, burn)


def burn(file: Path, number: int) -> Burn:
    """A burn by its number. Raises UsageError where there is none."""
    with reading(file) as connection:
        found = kept(connection, number, BURNS)
    if found is None:
        raise UsageError(f"no burn {number} in {file}", "see `metis history --kind burn`")
    return Burn(found[0], **found[1])
