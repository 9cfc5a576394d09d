"""A history on a disk that is full or read-only: what it holds is read, and what cannot be kept is said."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.errors import MetisError
from pipeline.history import builds
from pipeline.history.database import writing
from pipeline.history.events import events
from pipeline.machine import process
from tests.support.history import BUILD, event, manifest
from tests.support.small_disk import fill, small_disk

KILLED = """
import os, pathlib, signal, sqlite3, sys
opened = sqlite3.connect(sys.argv[1])
opened.execute("INSERT INTO events SELECT NULL, kind, at, node, klass, verdict, seconds, size, image, why, "
    "code FROM events LIMIT 1")
opened.commit()
os.kill(os.getpid(), signal.SIGKILL)
"""
FULL = "cannot be used now: .*: free some space there and run again$"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "small", 1 << 20) as folder:
        yield folder


@pytest.fixture
def history(small: Path) -> Path:
    """One with two builds, of which nobody has anything open."""
    file = small / "artifacts" / "history.sqlite3"
    for name in ("alpha", "beta"):
        builds.keep(file, BUILD_OF[name], [])
    return file


BUILD_OF = {name: type(BUILD)(event(node=name)) for name in ("alpha", "beta", "gamma")}


def leave_a_log(history: Path) -> None:
    """Somebody is killed who has kept a third row: it is in the log alone, and its index is gone."""
    died = process.run([sys.executable, "-c", KILLED, history], check=False)
    assert died.code == -signal.SIGKILL
    history.with_name(f"{history.name}-shm").unlink()
    assert history.with_name(f"{history.name}-wal").stat().st_size > 0


def make_read_only(small: Path) -> None:
    process.run(["mount", "-o", "remount,ro", small])


@pytest.mark.parametrize("log", [False, True], ids=["", "with a log"])
def test_on_a_full_disk_all_is_read_and_nothing_is_said_to_be_kept(
    small: Path, history: Path, log: bool
) -> None:
    if log:
        leave_a_log(history)
    fill(small / "rest")
    for _ in range(2):
        assert len(events(history)) == 2 + log
        with pytest.raises(MetisError, match=FULL):
            builds.keep(history, BUILD_OF["gamma"], [manifest()])
    (small / "rest").unlink()
    assert builds.keep(history, BUILD_OF["gamma"], []) == 3 + log
    assert len(events(history)) == 3 + log


def test_what_gets_full_while_it_is_written_is_as_it_was(small: Path, history: Path) -> None:
    def write() -> None:
        with writing(history) as connection:
            connection.exec_driver_sql("UPDATE events SET node = 'lost'")
            fill(small / "rest")
            connection.exec_driver_sql("UPDATE events SET why = ?", ("x" * 500_000,))

    with pytest.raises(MetisError, match=FULL):
        write()
    assert {each.node for each in events(history)} == {"alpha", "beta"}


@pytest.mark.parametrize("log", [False, True], ids=["", "with a log"])
def test_many_who_look_at_once_on_a_full_disk_hold_up_nobody(small: Path, history: Path, log: bool) -> None:
    if log:
        leave_a_log(history)
    fill(small / "rest")
    with ThreadPoolExecutor(8) as readers:
        found = set(readers.map(lambda _: len(events(history)), range(100), timeout=60))
    assert found == {2 + log}


def test_on_a_read_only_disk_all_is_read(small: Path, history: Path) -> None:
    make_read_only(small)
    assert [each.node for each in events(history)] == ["beta", "alpha"]
    with pytest.raises(MetisError, match=r"cannot be used now: .*: .* mount it for writing"):
        builds.keep(history, BUILD_OF["gamma"], [])


def test_a_log_that_nobody_can_read_hides_nothing_in_silence(small: Path, history: Path) -> None:
    """Without it rows would be missing that somebody has seen."""
    leave_a_log(history)
    make_read_only(small)
    with pytest.raises(MetisError, match="cannot be used now: "):
        events(history)


def test_who_reads_without_a_lock_says_when_it_was_written_meanwhile(
    small: Path, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody makes room and writes in the moment in which it is read."""
    from pipeline.history import database

    looking = database._format

    def meanwhile(*arguments: object) -> int:
        found = looking(*arguments)  # type: ignore[arg-type]
        os.utime(history)
        return found

    fill(small / "rest")
    monkeypatch.setattr(database, "_format", meanwhile)
    with pytest.raises(MetisError, match="changed while it was read: run again"):
        events(history)
