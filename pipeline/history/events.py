"""What was done for which node, of all kinds in one order: the newest has the highest number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Float,
    Index,
    Integer,
    Row,
    String,
    Table,
    case,
    desc,
    func,
    insert,
    literal,
    select,
    union_all,
)

from ..facts.show import stamp
from .database import TABLES, reading
from .records import Event, Kind, Verdict

EVENTS = Table(
    "events",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("kind", String, nullable=False),
    Column("at", String, nullable=False),
    Column("node", String, nullable=False),
    Column("klass", String, nullable=False),
    Column("verdict", String, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("size", Integer, nullable=False),
    Column("image", String, nullable=False),
    Column("why", String, nullable=False),
    Column("code", Integer, nullable=False),
    Index("events_of_a_node", "node", "kind"),
    Index("events_of_a_kind", "kind", "verdict"),
)


BOUNDS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)
"""Seconds: a delta onto a card takes one, a golden made of packages on a Raspberry Pi an hour."""
BYGONE = Table(
    "bygone",
    TABLES,
    *(Column(name, String, primary_key=True) for name in ("kind", "verdict")),
    Column("code", Integer, primary_key=True),
    Column("bound", Float, primary_key=True),
    Column("events", Integer, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("size", Integer, nullable=False),
)
"""Sums of events that are not kept any more (`keeping`); `bound` is how long they took at most."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events are asked for: those for which all that is said here holds.

    `since` is the earliest time at which they began. `before` is the number of the last one of a page, to get
    those that follow it.
    """

    nodes: tuple[str, ...] = ()
    kind: Kind | None = None
    verdict: Verdict | None = None
    since: datetime | None = None
    before: int | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """How many events of a kind ended so: with which exit code, in how many seconds and bytes altogether."""

    kind: Kind
    verdict: Verdict
    code: int
    events: int
    seconds: float
    size: int


@dataclass(frozen=True, slots=True)
class Durations:
    """How many events took no longer than each of some bounds, how many there are, and all their seconds."""

    within: tuple[int, ...]
    events: int
    seconds: float


ALL = Wanted()


def note(connection: Connection, found: Iterable[Event]) -> None:
    """Keep events of which there is no more to say."""
    if rows := list(map(_values, found)):
        connection.execute(insert(EVENTS), rows)


def keep(connection: Connection, event: Event, details: Table, about: object) -> int:
    """Keep an event, and what its kind has of its own in another table; give its number.

    `about` has an attribute for each column of that table but the number, which they share.
    """
    key = connection.execute(insert(EVENTS).values(_values(event))).inserted_primary_key
    assert key is not None  # of one row there always is one
    number = int(key[0])
    more = {column.name: getattr(about, column.name) for column in _own(details)}
    connection.execute(insert(details).values(id=number, **more))
    return number


def kept(connection: Connection, number: int, details: Table) -> tuple[Event, dict[str, Any]] | None:
    """An event and what its kind has of its own; None where there is none of this number."""
    rows = select(EVENTS, *_own(details)).join(details).where(EVENTS.c.id == number)
    row = connection.execute(rows).first()
    if row is None:
        return None
    return _event(row), {column.name: getattr(row, column.name) for column in _own(details)}


def _values(event: Event) -> dict[str, Any]:
    return {name: value for name, value in asdict(event).items() if name != "id"}


def _own(details: Table) -> list[Column[Any]]:
    return [column for column in details.columns if not column.primary_key]


def events(file: Path, wanted: Wanted = ALL, limit: int | None = None) -> list[Event]:
    """The newest events, so many at most. Raises MetisError for a file that is no history."""
    rows = select(EVENTS).where(*_conditions(wanted)).order_by(desc(EVENTS.c.id)).limit(limit)
    with reading(file) as connection:
        return [_event(row) for row in connection.execute(rows)]


def last(file: Path, wanted: Wanted = ALL) -> dict[tuple[str, Kind], Event]:
    """By node and kind the newest event. Raises MetisError for a file that is no history."""
    newest = select(func.max(EVENTS.c.id)).where(*_conditions(wanted)).group_by(EVENTS.c.node, EVENTS.c.kind)
    with reading(file) as connection:
        found = map(_event, connection.execute(select(EVENTS).where(EVENTS.c.id.in_(newest))))
        return {(each.node, each.kind): each for each in found}


def tallies(file: Path, wanted: Wanted = ALL) -> list[Tally]:
    """How many events there are of which kind and end; of ALL those too that are not kept any more.

    Raises MetisError for a file that is no history.
    """
    names = ("kind", "verdict", "code")
    about = EVENTS.c
    kept_now = select(*(about[name] for name in names), literal(1).label("events"), about.seconds, about.size)
    found = kept_now.where(*_conditions(wanted)).subquery()
    if wanted == ALL:
        bygone = select(*(BYGONE.c[name] for name in (*names, "events", "seconds", "size")))
        found = union_all(kept_now, bygone).subquery()
    by: list[Any] = [found.c[name] for name in names]
    sums = (func.sum(found.c.events), func.sum(found.c.seconds), func.sum(found.c.size))
    columns: list[Any] = [*by, *sums]
    rows = select(*columns).group_by(*by).order_by(*by)
    with reading(file) as connection:
        return [Tally(*row) for row in connection.execute(rows)]


def durations(file: Path, bounds: Sequence[float]) -> dict[Kind, Durations]:
    """How long builds and burns took that ended well, by kind. `bounds` are seconds, the lowest first.

    Those too that are not kept any more, if bounds are some of BOUNDS. Raises MetisError as `tallies` does.
    """
    one = literal(1).label("events")
    names = ("kind", "verdict", "events", "seconds")
    kept_now = select(EVENTS.c.kind, EVENTS.c.verdict, one, EVENTS.c.seconds, EVENTS.c.seconds.label("bound"))
    found = union_all(kept_now, select(*(BYGONE.c[name] for name in names), BYGONE.c.bound)).subquery().c
    within = [func.sum(case((found.bound <= bound, found.events), else_=0)) for bound in bounds]
    rows = select(found.kind, func.sum(found.events), func.sum(found.seconds), *within)
    rows = rows.where(found.verdict.in_(["built", "burned"])).group_by(found.kind)
    with reading(file) as connection:
        return {row[0]: Durations(tuple(row[3:]), row[1], row[2]) for row in connection.execute(rows)}


def _event(row: Row[Any]) -> Event:
    return Event(**{column.name: getattr(row, column.name) for column in EVENTS.columns})


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    about = EVENTS.c
    found = [about[name] == value for name in ("kind", "verdict") if (value := getattr(wanted, name))]
    if wanted.nodes:
        found.append(about.node.in_(wanted.nodes))
    if wanted.since is not None:
        found.append(about.at >= stamp(wanted.since.astimezone(UTC)))
    if wanted.before is not None:
        found.append(about.id < wanted.before)
    return found
