"""A journal says in JSON how work goes on, to whoever reads it while it grows."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.machine import journal
from pipeline.machine.journal import JournalReporter
from pipeline.machine.reporters import reporter


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def events(file: Path) -> list[dict[str, Any]]:
    """What the journal holds, without the times."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert all(line.pop("at").endswith("+00:00") for line in lines)
    return lines


def test_a_note_is_a_line_for_people(file: Path) -> None:
    JournalReporter(file).note("a line\nof\x1b[31m a stranger \u2028")
    assert events(file) == [{"note": "a line\nof\x1b[31m a stranger \u2028"}]
    assert len(file.read_bytes().splitlines()) == 1


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> list[threading.Timer]:
    """Those that were started; their time is over when a test calls their function."""
    started: list[threading.Timer] = []

    class Timer(threading.Timer):
        def start(self) -> None:
            started.append(self)

    monkeypatch.setattr(threading, "Timer", Timer)
    return started


def test_a_step_says_that_it_begins_how_far_it_is_and_that_it_is_over(
    file: Path, timers: list[threading.Timer]
) -> None:
    """Also where nothing more comes: what is shown is not what was there some megabytes before."""
    with JournalReporter(file).step("copying", 10) as advance:
        advance(3)
        advance(1)
        (timer,) = timers
        timer.function()
    assert events(file) == [
        {"step": 1, "label": "copying", "done": 0, "total": 10},
        {"step": 1, "label": "copying", "done": 4, "total": 10},
        {"step": 1, "label": "copying", "done": 4, "total": 10, "ended": True},
    ]


def test_a_step_that_fails_is_over_too(file: Path) -> None:
    with pytest.raises(ZeroDivisionError), JournalReporter(file).step("copying"):
        raise ZeroDivisionError
    assert events(file)[-1] == {"step": 1, "label": "copying", "done": 0, "total": None, "ended": True}


def test_a_step_that_is_over_is_not_told_again(file: Path, timers: list[threading.Timer]) -> None:
    """Or a page would show for ever that it goes on."""
    with JournalReporter(file).step("copying", 10) as advance:
        advance(4)
    (late,) = timers
    late.function()
    assert [event["done"] for event in events(file)] == [0, 4]


def test_small_advances_are_not_all_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "EVERY", 3600.0)
    with JournalReporter(file).step("copying", 1000) as advance:
        for _ in range(1000):
            advance(1)
    assert [event["done"] for event in events(file)] == [0, 1000]


@pytest.mark.parametrize("open_it", [JournalReporter, lambda file: reporter({"METIS_JOURNAL": str(file)})])
def test_it_is_private_and_goes_on_where_it_was(
    file: Path, open_it: Callable[[Path], JournalReporter]
) -> None:
    for line in ("one", "two"):
        open_it(file).note(line)
    assert [event["note"] for event in events(file)] == ["one", "two"]
    assert file.stat().st_mode & 0o777 == 0o600
