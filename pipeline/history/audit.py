"""Who did what: a line for each request that changes something, kept with how it ended.

A line has what was asked for by the name of its route, never a body, a query or a header.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Column, Index, Integer, String, Table, delete, insert, select

from ..errors import one_line
from ..facts.show import stamp
from .database import TABLES, reading, writing

LONGEST = 400
"""Characters of each text of a line: a name has 256 and what is shown with it 60 (`service.identity`)."""
KEPT = timedelta(days=400)
"""A line is there for a year at least."""
_EACH = 500
"""So many lines are written before the next look for those that are too old."""

AUDIT = Table(
    "audit",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("at", String, nullable=False),
    Column("who", String, nullable=False),
    Column("what", String, nullable=False),
    Column("target", String, nullable=False),
    Column("outcome", String, nullable=False),
    Column("origin", String, nullable=False),
    Index("audit_at", "at"),
)


@dataclass(frozen=True, slots=True)
class Act:
    """One line: who did what to which target, how it ended, and the address that it came from."""

    who: str
    what: str
    target: str
    outcome: str
    origin: str


def note(file: Path, act: Act, now: datetime) -> None:
    """Keep a line; its texts are cut, and what a terminal would obey is written as an escape.

    Raises MetisError where it cannot be kept.
    """
    row = {name: _bounded(text) for name, text in asdict(act).items()}
    with writing(file) as connection:
        made = connection.execute(insert(AUDIT).values(at=stamp(now.astimezone(UTC)), **row))
        if made.inserted_primary_key is not None and made.inserted_primary_key[0] % _EACH == 0:
            old = stamp((now - KEPT).astimezone(UTC))
            connection.execute(delete(AUDIT).where(AUDIT.c.at < old))


def acts(file: Path, *, before: int | None = None, limit: int = 100) -> list[dict[str, str | int]]:
    """The last lines, the newest first; of a further page those before the id of the last one."""
    query = select(AUDIT).order_by(AUDIT.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(AUDIT.c.id < before)
    with reading(file) as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def _bounded(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
