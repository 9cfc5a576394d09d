"""How long a history keeps what: whoever writes to it tidies it up now and then, a little each time.

An event stays for AGE; where there are more than MOST that are no burns, the oldest of those go first. Of a
node's builds and burns the LAST of each end stay in any case: two builds can always be compared, and the last
burn be told. The manifests stay of as many builds of a node as pages offer to compare. Of what goes sums are
kept, so that counters never go back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Column, Connection, Integer, Table, and_, delete, func, insert, or_, select, union
from sqlalchemy.dialects.sqlite import insert as insert_new

from ..facts.show import stamp
from .builds import BUILDS, MANIFESTS
from .burns import BURNS
from .database import TABLES, reading, writing
from .events import BOUNDS, BYGONE, EVENTS
from .watches import FINDINGS, SILENT, WATCHES

TIDIED = Table("tidied", TABLES, Column("event", Integer, primary_key=True))
"""The newest event when it was tidied up the last time."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What stays, as told above; `manifests` and `last` count builds of a node.

    It is tidied up `every` so many events, and then `at_once` go at most: so it takes no night long, and a
    clock that once was wrong costs no more than that.
    """

    age: timedelta = timedelta(days=400)
    most: int = 50_000
    last: int = 2
    manifests: int = 50
    every: int = 500
    at_once: int = 2_000


LIMITS = Limits()


def tidy(file: Path, now: datetime, limits: Limits = LIMITS) -> int:
    """Forget what is beyond the limits if that is due, and say how many events went.

    Raises MetisError where the history cannot be used.
    """
    with reading(file) as connection:
        if not _is_due(connection, limits):
            return 0
    old = stamp((now - limits.age).astimezone(UTC))
    with writing(file) as connection:
        if not _is_due(connection, limits):  # somebody else came first
            return 0
        connection.execute(delete(TIDIED))
        connection.execute(insert(TIDIED).from_select(["event"], select(func.max(EVENTS.c.id))))
        gone = _forget_events(connection, old, limits)
        _forget_manifests(connection, limits)
        for table, at in ((WATCHES, WATCHES.c.at), (FINDINGS, FINDINGS.c.until), (SILENT, SILENT.c.until)):
            connection.execute(delete(table).where(at < old))
    return gone


def _is_due(connection: Connection, limits: Limits) -> bool:
    newest = connection.execute(select(func.max(EVENTS.c.id))).scalar() or 0
    before = connection.execute(select(func.max(TIDIED.c.event))).scalar() or 0
    return newest - before >= limits.every


def _forget_events(connection: Connection, old: str, limits: Limits) -> int:
    about = EVENTS.c
    by_count = select(about.id).where(about.kind != "burn").order_by(about.id.desc())
    last_too_many = by_count.offset(limits.most).limit(1).scalar_subquery()
    order = func.row_number().over(
        partition_by=(about.node, about.kind, about.verdict), order_by=about.id.desc()
    )
    of_works = select(about.id, order.label("nth")).where(about.kind.in_(["build", "burn"])).subquery()
    # The newest of all too: its number would be given again.
    stay = union(
        select(of_works.c.id).where(of_works.c.nth <= limits.last), select(func.max(about.id))
    ).subquery()
    too_many = and_(about.kind != "burn", about.id <= last_too_many)
    goes = select(EVENTS).where(or_(about.at < old, too_many), about.id.not_in(select(stay.c.id)))
    rows = connection.execute(goes.order_by(about.id).limit(limits.at_once)).all()
    sums: dict[tuple[str, str, int, float], list[float]] = defaultdict(lambda: [0, 0, 0])
    for row in rows:
        bound = next((bound for bound in BOUNDS if row.seconds <= bound), float("inf"))
        so_far = sums[row.kind, row.verdict, row.code, bound]
        for index, more in enumerate((1, row.seconds, row.size)):
            so_far[index] += more
    _add(connection, sums)
    _delete(connection, [row.id for row in rows])
    return len(rows)


def _add(connection: Connection, sums: dict[tuple[str, str, int, float], list[float]]) -> None:
    for key, (events, seconds, size) in sums.items():
        counts = {"events": int(events), "seconds": seconds, "size": int(size)}
        values = dict(zip(("kind", "verdict", "code", "bound"), key, strict=True)) | counts
        more = {name: BYGONE.c[name] + count for name, count in counts.items()}
        adding = insert_new(BYGONE).values(values)
        connection.execute(adding.on_conflict_do_update(index_elements=list(BYGONE.primary_key), set_=more))


def _delete(connection: Connection, numbers: Sequence[int]) -> None:
    for start in range(0, len(numbers), 500):  # a statement has no more than so many values by far
        some = numbers[start : start + 500]
        for table in (BUILDS, BURNS, EVENTS):
            connection.execute(delete(table).where(table.c.id.in_(some)))


def _forget_manifests(connection: Connection, limits: Limits) -> None:
    order = func.row_number().over(partition_by=EVENTS.c.node, order_by=EVENTS.c.id.desc())
    of_base = BUILDS.c.base_from["manifest"].as_string()
    found = select(BUILDS.c.manifest, of_base.label("of_base"), order.label("nth")).join(EVENTS).subquery()
    new = found.c.nth <= limits.manifests
    used = union(
        select(found.c.manifest).where(new), select(found.c.of_base).where(new, found.c.of_base.is_not(None))
    ).subquery()
    connection.execute(delete(MANIFESTS).where(MANIFESTS.c.id.not_in(select(used.c.manifest))))
