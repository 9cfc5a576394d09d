"""Who did what: a line for each request that changes something, kept with how it ended.

The line of what may be done is there before that is done, and stays as it was where the end comes too early.
A line has what was asked for by the name of its route, never a body, a query or a header.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import (
    Column,
    Index,
    Integer,
    Select,
    String,
    Table,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from ..errors import one_line
from ..facts.show import stamp
from .database import TABLES, reading, writing

LONGEST = 400
"""Characters of each text of a line: a name has 256 and what is shown with it 60 (`service.identity`)."""
KEPT = timedelta(days=400)
"""A line is there for a year at least."""
Outcome = Literal["begun", "done", "refused", "failed"]
OUTCOMES: dict[Outcome, Sequence[str]] = {
    "begun": ("begun",),
    "done": ("1", "2", "3"),
    "refused": ("4",),
    "failed": ("5",),
}
"""How requests end, by how their outcomes begin: a digit of the status (RFC 9110, 15), where there is one."""
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


def note(file: Path, act: Act, now: datetime) -> int:
    """Keep a line, and give its number; its texts are cut, and what a terminal would obey is an escape.

    Raises MetisError where it cannot be kept.
    """
    with writing(file) as connection:
        made = connection.execute(insert(AUDIT).values(at=stamp(now.astimezone(UTC)), **_row(act)))
        assert made.inserted_primary_key is not None  # of one row there always is one
        number = int(made.inserted_primary_key[0])
        if number % _EACH == 0:
            old = stamp((now - KEPT).astimezone(UTC))
            connection.execute(delete(AUDIT).where(AUDIT.c.at < old))
    return number


def end(file: Path, number: int, act: Act) -> None:
    """Say in a line that was noted before what became of it. Raises MetisError as `note` does."""
    with writing(file) as connection:
        connection.execute(update(AUDIT).where(AUDIT.c.id == number).values(**_row(act)))


@dataclass(frozen=True, slots=True)
class Sought:
    """Which lines: those with these texts in them, whatever the capitals (of ASCII); empty ones are in all.

    `since` is the earliest time, `before` the number of the last line of the page before.
    """

    who: str = ""
    what: str = ""
    target: str = ""
    outcome: Outcome | None = None
    since: datetime | None = None
    before: int | None = None


def acts(file: Path, sought: Sought = Sought(), limit: int = 100) -> list[dict[str, str | int]]:
    """The last lines that are sought, the newest first. Raises MetisError for a file that is no history."""
    query = _fitting(sought).order_by(AUDIT.c.id.desc()).limit(limit)
    with reading(file) as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def _row(act: Act) -> dict[str, str]:
    return {name: one_line(text, LONGEST) for name, text in asdict(act).items()}


def _fitting(sought: Sought) -> Select[Any]:
    query = select(AUDIT)
    for name in ("who", "what", "target"):
        if text := getattr(sought, name):
            # Not LIKE, which ends at a NUL.
            query = query.where(func.instr(func.lower(AUDIT.c[name]), func.lower(text)) > 0)
    if sought.outcome is not None:
        query = query.where(or_(*(AUDIT.c.outcome.startswith(start) for start in OUTCOMES[sought.outcome])))
    if sought.since is not None:
        query = query.where(AUDIT.c.at >= stamp(sought.since.astimezone(UTC)))
    if sought.before is not None:
        query = query.where(AUDIT.c.id < sought.before)
    return query
