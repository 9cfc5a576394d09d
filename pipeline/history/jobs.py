"""The queue of what operators asked for: a job waits, is claimed by the process that does it, ends once.

    waiting ──claim──► running ──end──► done, failed or cancelled
       └────cancel───► cancelled

Every step is one transaction that looks before it changes, so that two processes never do one job.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Column, Connection, Index, Integer, String, Table, and_, func, insert, select, update

from ..errors import RefusedError
from ..facts.show import stamp
from .database import TABLES, reading, writing

State = Literal["waiting", "running", "done", "failed", "cancelled"]
OVER: tuple[State, ...] = ("done", "failed", "cancelled")

JOBS = Table(
    "jobs",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("kind", String, nullable=False),
    Column("node", String, nullable=False),
    Column("options", String, nullable=False),
    Column("who", String, nullable=False),
    Column("state", String, nullable=False),
    Column("asked_at", String, nullable=False),
    Column("begun_at", String),
    Column("ended_at", String),
    Column("code", Integer),
    Column("said", String, nullable=False),
    Column("stop", Integer, nullable=False),
    Index("jobs_by_state", "state", "id"),
    Index("jobs_of_a_node", "node", "id"),
)


@dataclass(frozen=True, slots=True)
class Job:
    """One thing that was asked for.

    `options` is what belongs to its kind: a burn's card. Times are in UTC as ISO 8601 has them. `code` is the
    exit code, `said` the last line: what went wrong, or what came of it. `stop`: it was cancelled while it
    ran.
    """

    id: int
    kind: str
    node: str
    options: Mapping[str, Any]
    who: str
    state: State
    asked_at: str
    begun_at: str | None = None
    ended_at: str | None = None
    code: int | None = None
    said: str = ""
    stop: bool = False

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in OVER

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self) | {"options": dict(self.options)}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job to be added."""

    kind: str
    node: str
    who: str
    options: Mapping[str, Any] = field(default_factory=dict)


def add(file: Path, wanted: Wanted, now: datetime) -> tuple[Job, bool]:
    """Put a job at the end of the queue, and say that it is new.

    Where just the same is waiting already, or is burned already, that one is given: a button that is pressed
    twice asks once. Raises RefusedError where the card is another burn's, whose node would be lost.
    """
    row = {"kind": wanted.kind, "node": wanted.node, "options": _text(wanted.options)}
    with writing(file) as connection:
        if burn := _burn_of(connection, wanted.options.get("card")):
            if (burn.node, burn.options) == (wanted.node, wanted.options):
                return burn, False
            said = f"job {burn.id} burns {burn.node} to this card"
            raise RefusedError(said, "wait for its end, or cancel it")
        same = and_(JOBS.c.state == "waiting", *(JOBS.c[name] == value for name, value in row.items()))
        if waiting := _jobs(connection, select(JOBS).where(same)):
            return waiting[0], False
        new = {**row, "who": wanted.who, "state": "waiting", "asked_at": _at(now), "said": "", "stop": 0}
        number = connection.execute(insert(JOBS).values(new)).inserted_primary_key
        assert number is not None
        return _job(connection, number[0]), True


def claim(file: Path, number: int, now: datetime) -> Job | None:
    """Take a waiting job, which is running from then on; None where it is not waiting any more."""
    return _step(file, number, ("waiting",), {"state": "running", "begun_at": _at(now)})


def end(file: Path, number: int, state: State, code: int | None, said: str, now: datetime) -> Job | None:
    """Say what came of a running job; None where it was not running."""
    return _step(
        file, number, ("running",), {"state": state, "code": code, "said": said, "ended_at": _at(now)}
    )


def cancel(file: Path, number: int, now: datetime) -> Job | None:
    """Take a waiting job back, or note of a running one that it is to stop; None where it is over."""
    taken_back = {"state": "cancelled", "ended_at": _at(now)}
    return _step(file, number, ("waiting",), taken_back) or _step(file, number, ("running",), {"stop": 1})


def get(file: Path, number: int) -> Job | None:
    """A job by its number."""
    with reading(file) as connection:
        found = _jobs(connection, select(JOBS).where(JOBS.c.id == number))
    return found[0] if found else None


def unfinished(file: Path) -> list[Job]:
    """What waits or runs, in the order in which it was asked for."""
    with reading(file) as connection:
        return _jobs(
            connection, select(JOBS).where(JOBS.c.state.in_(["waiting", "running"])).order_by(JOBS.c.id)
        )


def tally(file: Path) -> list[tuple[str, State, int | None, int]]:
    """How many jobs there are of a kind, a state and an exit code."""
    by = (JOBS.c.kind, JOBS.c.state, JOBS.c.code)
    with reading(file) as connection:
        rows = connection.execute(select(*by, func.count()).group_by(*by).order_by(*by))
        return [(kind, state, code, count) for kind, state, code, count in rows]


def latest(file: Path, *, limit: int, before: int | None = None, node: str | None = None) -> list[Job]:
    """Jobs, the newest first: those of a number below `before`, and of a node where one is named."""
    wanted = select(JOBS).order_by(JOBS.c.id.desc()).limit(limit)
    if before is not None:
        wanted = wanted.where(JOBS.c.id < before)
    if node is not None:
        wanted = wanted.where(JOBS.c.node == node)
    with reading(file) as connection:
        return _jobs(connection, wanted)


def _burn_of(connection: Connection, card: object) -> Job | None:
    """The burn that a card is for, unless that is to stop."""
    wanted = select(JOBS).where(JOBS.c.state.in_(("waiting", "running")), JOBS.c.stop == 0)
    found = (job for job in _jobs(connection, wanted) if card and job.options.get("card") == card)
    return next(found, None)


def _step(file: Path, number: int, states: Sequence[State], values: Mapping[str, Any]) -> Job | None:
    """Change a job that is in one of these states."""
    with writing(file) as connection:
        those = and_(JOBS.c.id == number, JOBS.c.state.in_(states))
        changed = connection.execute(update(JOBS).where(those).values(**values)).rowcount
        return _job(connection, number) if changed else None


def _job(connection: Connection, number: int) -> Job:
    (found,) = _jobs(connection, select(JOBS).where(JOBS.c.id == number))
    return found


def _jobs(connection: Connection, wanted: Any) -> list[Job]:  # noqa: ANN401 - a select of any kind
    rows = connection.execute(wanted).mappings()
    return [Job(**{**row, "options": json.loads(row["options"]), "stop": bool(row["stop"])}) for row in rows]


def _text(options: Mapping[str, Any]) -> str:
    return json.dumps(options, sort_keys=True)


def _at(now: datetime) -> str:
    return stamp(now.astimezone(UTC))
