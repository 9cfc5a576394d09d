"""When nodes came back into their cluster: one row for a burn, filled in as it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import Column, Connection, Index, Integer, String, Table, and_, desc, insert, select, update

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
    """How a node came back the last time, None where nobody saw that. Raises MetisError as `rejoins` does."""
    found = rejoins(file, [node], limit=1)
    return found[0][1] if found else None


def rejoins(
    file: Path, nodes: Sequence[str] = (), *, before: int | None = None, limit: int = 100
) -> list[tuple[int, Rejoin]]:
    """The newest rejoins with their numbers, of these nodes or of all; a next page is of those `before` one.

    Raises MetisError for a file that is no history.
    """
    about = REJOINS.c
    wanted = select(REJOINS).order_by(desc(about.id)).limit(limit)
    if nodes:
        wanted = wanted.where(about.node.in_(nodes))
    if before is not None:
        wanted = wanted.where(about.id < before)
    with reading(file) as connection:
        rows = connection.execute(wanted)
        return [(row.id, Rejoin(row.node, row.burned_at, row.seen_at, row.ready_at)) for row in rows]


def _same(connection: Connection, found: Rejoin) -> tuple[int, str, str | None] | None:
    """The row of the same rejoin, if there is one: its number and times."""
    same = REJOINS.c.burned_at == found.burned_at
    if found.burned_at is None:
        same = and_(REJOINS.c.burned_at.is_(None), REJOINS.c.ready_at == found.ready_at)
    wanted = select(REJOINS.c.id, REJOINS.c.seen_at, REJOINS.c.ready_at)
    row = connection.execute(wanted.where(REJOINS.c.node == found.node, same)).first()
    return None if row is None else (row.id, row.seen_at, row.ready_at)
