"""Looks at all nodes: what each showed, kept as what came, was otherwise or went, and when.

The rows that have no `until` are the state after the last look (`facts.changes`), so that a look at which
nothing changed costs one row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    and_,
    func,
    insert,
    or_,
    select,
    update,
)

from ..facts.changes import Changes, State, changes
from ..facts.finding import Finding
from ..facts.show import stamp
from .database import TABLES, reading, writing
from .events import note
from .records import Event, Verdict, fitting

_FIELDS = ("node", "kind", "subject", "severity", "expected", "found", "advice")


def _times() -> tuple[Column[str], Column[str]]:
    return Column("since", String, nullable=False), Column("until", String)


WATCHES = Table(
    "watches",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("at", String, nullable=False),
    Column("findings", Integer, nullable=False),
    Column("silent", Integer, nullable=False),
)
FINDINGS = Table(
    "findings",
    TABLES,
    Column("id", Integer, primary_key=True),
    *(Column(name, String, nullable=False) for name in _FIELDS),
    *_times(),
    Index("open_findings", "until", "node"),
)
TARGETS = Table(
    "targets",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("class", String, nullable=False),
    Column("item", String, nullable=False),
    Column("version", String, nullable=False),
    *_times(),
    Index("open_targets", "until", "class"),
)
SILENT = Table(
    "silent",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("node", String, nullable=False),
    *_times(),
    Index("open_silent", "until", "node"),
)


def watched(file: Path, look: Callable[[State], State], now: datetime) -> Changes:
    """Take a look, keep it, and give what is otherwise since the last one; two that look at once take turns.

    `look` is given the last state and gives the present one. Raises MetisError for a file that is no history.
    """
    at = stamp(now.astimezone(UTC))
    with writing(file) as connection:
        before = _state(connection)
        after = look(before)
        found = changes(before, after)
        _keep(connection, found, at)
        note(connection, _events(found, at))
        row = {"at": at, "findings": len(after.findings), "silent": len(after.silent)}
        connection.execute(insert(WATCHES).values(row))
    return found


def targets_history(file: Path) -> list[dict[str, Any]]:
    """What was recommended for which class, from when until when, the oldest first."""
    with reading(file) as connection:
        rows = connection.execute(select(TARGETS).order_by(TARGETS.c.id)).mappings()
        return [{name: value for name, value in row.items() if name != "id"} for row in rows]


@dataclass(frozen=True, slots=True)
class Span:
    """So many findings of a severity that came at one time and went at one, None for those that stay."""

    severity: str
    since: str
    until: str | None
    findings: int


@dataclass(frozen=True, slots=True)
class Past:
    """When somebody watched for the first time, None for never, and the findings that there were since."""

    first: str | None
    spans: tuple[Span, ...]


def past(file: Path, earliest: datetime, nodes: Sequence[str] | None = None, kind: str = "") -> Past:
    """The findings that were there after a time: of these nodes, and of a kind; all without.

    Raises MetisError for a file that is no history.
    """
    about = FINDINGS.c
    those = [or_(about.until.is_(None), about.until >= stamp(earliest.astimezone(UTC)))]
    if nodes is not None:
        those.append(about.node.in_(nodes))
    if kind:
        those.append(about.kind == kind)
    by = (about.severity, about.since, about.until)
    with reading(file) as connection:
        first = connection.execute(select(func.min(WATCHES.c.at))).scalar()
        rows = connection.execute(select(*by, func.count()).where(*those).group_by(*by).order_by(*by))
        return Past(first, tuple(Span(*row) for row in rows))


def _state(connection: Connection) -> State:
    def still(table: Table) -> Any:  # noqa: ANN401 - rows of any table
        return connection.execute(select(table).where(table.c.until.is_(None))).mappings()

    findings = [Finding(**{name: row[name] for name in _FIELDS}) for row in still(FINDINGS)]
    return State(
        {finding.key: finding for finding in findings},
        {(row["class"], row["item"]): row["version"] for row in still(TARGETS)},
        frozenset(row["node"] for row in still(SILENT)),
    )


def _keep(connection: Connection, found: Changes, at: str) -> None:
    for finding in (*found.gone, *(each.before for each in found.changed)):
        _end(connection, FINDINGS, at, node=finding.node, kind=finding.kind, subject=finding.subject)
    for finding in (*found.came, *(each.after for each in found.changed)):
        connection.execute(insert(FINDINGS).values(**finding.to_data(), since=at))
    for each in found.targets:
        if each.before is not None:
            _end(connection, TARGETS, at, **{"class": each.klass, "item": each.item})
        if each.after is not None:
            row = {"class": each.klass, "item": each.item, "version": each.after, "since": at}
            connection.execute(insert(TARGETS).values(row))
    for name in found.spoke_again:
        _end(connection, SILENT, at, node=name)
    for name in found.fell_silent:
        connection.execute(insert(SILENT).values(node=name, since=at))


def _events(found: Changes, at: str) -> Iterator[Event]:
    def event(node: str, verdict: Verdict, why: str = "") -> Event:
        return Event("sentinel", at, node, "", verdict, seconds=0, why=fitting(why))

    for each in (*found.came, *(pair.after for pair in found.changed)):
        words = f"expected {each.expected}, found {each.found}"
        yield event(each.node, "drift", f"{_about(each)}: {words}")
    yield from (event(each.node, "mended", _about(each)) for each in found.gone)
    yield from (event(name, "silent") for name in found.fell_silent)
    yield from (event(name, "heard") for name in found.spoke_again)


def _about(finding: Finding) -> str:
    return f"{finding.severity}: {f'{finding.kind} {finding.subject}'.strip()}"


def _end(connection: Connection, table: Table, at: str, **which: str) -> None:
    same = (table.c[name] == value for name, value in which.items())
    connection.execute(update(table).where(and_(table.c.until.is_(None), *same)).values(until=at))
