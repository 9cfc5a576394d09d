"""What is kept of nodes that come back: one row for a burn, whatever is seen of it how often."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import pytest

from pipeline.errors import MetisError
from pipeline.facts.changes import State
from pipeline.history.rejoins import Rejoin, keep, last
from pipeline.history.watches import watched

BURNED, SEEN, LATER, READY = (f"2026-11-29T0{hour}:00:00Z" for hour in range(3, 7))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "artifacts" / "history.sqlite3"


def rows(file: Path) -> list[tuple[str | None, ...]]:
    with closing(sqlite3.connect(file)) as opened:
        return opened.execute("SELECT node, burned_at, seen_at, ready_at FROM rejoins ORDER BY id").fetchall()


CASES = {
    "ready at once": ([(BURNED, SEEN, READY)], [(BURNED, SEEN, READY)]),
    "seen before it is ready": ([(BURNED, SEEN, None), (BURNED, LATER, READY)], [(BURNED, SEEN, READY)]),
    "the same again": ([(BURNED, SEEN, READY)] * 3, [(BURNED, SEEN, READY)]),
    "not ready again": ([(BURNED, SEEN, READY), (BURNED, LATER, None)], [(BURNED, SEEN, READY)]),
    "ready a second time": ([(BURNED, SEEN, LATER), (BURNED, SEEN, READY)], [(BURNED, SEEN, LATER)]),
    "another burn": (
        [(BURNED, SEEN, SEEN), (LATER, READY, READY)],
        [(BURNED, SEEN, SEEN), (LATER, READY, READY)],
    ),
    "without a burn": ([(None, SEEN, SEEN), (None, LATER, SEEN)], [(None, SEEN, SEEN)]),
    "without a burn, and once more": (
        [(None, SEEN, SEEN), (None, READY, READY)],
        [(None, SEEN, SEEN), (None, READY, READY)],
    ),
}


@pytest.mark.parametrize(("given", "kept"), CASES.values(), ids=CASES.keys())
def test_a_rejoin_is_one_row(
    file: Path, given: list[tuple[str | None, str, str | None]], kept: list[tuple[str | None, ...]]
) -> None:
    for burned_at, seen_at, ready_at in given:
        told = keep(file, Rejoin("titan-13", burned_at, seen_at, ready_at))
    assert rows(file) == [("titan-13", *row) for row in kept]
    assert (told.burned_at, told.seen_at, told.ready_at) == kept[-1]


def test_nodes_have_rows_of_their_own(file: Path) -> None:
    for name in ("titan-13", "titan-15", "'; DROP TABLE rejoins"):
        keep(file, Rejoin(name, BURNED, SEEN, READY))
    assert [row[0] for row in rows(file)] == ["titan-13", "titan-15", "'; DROP TABLE rejoins"]


def test_the_last_rejoin_of_a_node_is_found(file: Path) -> None:
    assert last(file, "titan-13") is None
    assert not file.exists(), "who only looks makes nothing"
    for burned, node in ((BURNED, "titan-13"), (LATER, "titan-13"), (READY, "titan-15")):
        keep(file, Rejoin(node, burned, READY, None))
    assert last(file, "titan-13") == Rejoin("titan-13", LATER, READY, None)


def test_who_keeps_the_same_at_once_makes_one_row(file: Path) -> None:
    found = Rejoin("titan-13", BURNED, SEEN, READY)
    threads = [Thread(target=keep, args=(file, found)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rows(file)) == 1


def test_a_history_from_before_there_were_rejoins_gets_them(file: Path) -> None:
    watched(file, lambda before: State(silent=frozenset({"titan-15"})), datetime(2026, 11, 29, tzinfo=UTC))
    with closing(sqlite3.connect(file)) as opened:
        opened.execute("DROP TABLE rejoins")
    keep(file, Rejoin("titan-13", BURNED, SEEN, READY))
    assert len(rows(file)) == 1
    with closing(sqlite3.connect(file)) as opened:
        assert opened.execute("SELECT node FROM silent").fetchall() == [("titan-15",)]


def test_what_is_no_history_is_refused(file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b"no database at all" * 100)
    with pytest.raises(MetisError, match="move it away to begin anew"):
        keep(file, Rejoin("titan-13", BURNED, SEEN, READY))
