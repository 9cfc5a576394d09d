"""When nodes came back into their cluster: one row for a burn, filled in as it goes on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import Column, Connection, Index, Integer, String, Table, and_, insert, select, update

from .database import TABLES, reading, writing

REJOINS = Table(
    "rejoins",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("node", String, nullable=False),
    Column("burned_at", String),
    Column("seen_at", String, nullable=False),
    Column("ready_at", String),
    Index("rejoins_of_a_node", "node", "burned_at"),
)


@dataclass(frozen=True, slots=True)
class Rejoin:
    """A node on its way back, all times in UTC as ISO 8601 has them.

    `burned_at` is when its card was burned, None where no receipt of it is here; `seen_at` when it was first
    seen that the cluster had heard of the node since, and `ready_at` since when it has been Ready, if it is.
    """

    node: str
    burned_at: str | None
    seen_at: str
    ready_at: str | None


def keep(file: Path, found: Rejoin) -> Rejoin:
    """Keep what is known of a rejoin, and give all that is: times that were kept before stay as they were.

    Without a burn, one of the same `ready_at` is the same. Raises MetisError for a file that is no history.
    """
    with writing(file) as connection:
        before = _same(connection, found)
        if before is None:
            connection.execute(insert(REJOINS).values(**asdict(found)))
            return found
        number, seen_at, ready_at = before
        if ready_at is None and found.ready_at is not None:
            ready_at = found.ready_at
            connection.execute(update(REJOINS).where(REJOINS.c.id == number).values(ready_at=ready_at))
        return Rejoin(found.node, found.burned_at, seen_at, ready_at)


def last(file: Path, node: str) -> Rejoin | None:
    """How a node came back the last time, None where nobody saw that. Raises MetisError as `reading` does."""
    newest = select(REJOINS).where(REJOINS.c.node == node).order_by(REJOINS.c.id.desc()).limit(1)
    with reading(file) as connection:
        row = connection.execute(newest).first()
    return None if row is None else Rejoin(row.node, row.burned_at, row.seen_at, row.ready_at)


def _same(connection: Connection, found: Rejoin) -> tuple[int, str, str | None] | None:
    """The row of the same rejoin, if there is one: its number and times."""
    same = REJOINS.c.burned_at == found.burned_at
    if found.burned_at is None:
        same = and_(REJOINS.c.burned_at.is_(None), REJOINS.c.ready_at == found.ready_at)
    wanted = select(REJOINS.c.id, REJOINS.c.seen_at, REJOINS.c.ready_at)
    row = connection.execute(wanted.where(REJOINS.c.node == found.node, same)).first()
    return None if row is None else (row.id, row.seen_at, row.ready_at)
