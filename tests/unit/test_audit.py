"""Who did what, in the history: each line whole, bounded and plain."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from pipeline.errors import MetisError
from pipeline.history import audit
from pipeline.history.audit import Act, Sought, acts, note

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
BURN = Act("anna", "POST /nodes/{node}/burn", "node=titan-13", "303 See Other", "203.0.113.9")


@pytest.fixture
def history(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite3"


def test_a_line_comes_back_as_it_was_noted(history: Path) -> None:
    note(history, BURN, NOW)
    assert acts(history) == [
        {
            "id": 1,
            "at": "2026-11-29T12:00:00Z",
            "who": "anna",
            "what": "POST /nodes/{node}/burn",
            "target": "node=titan-13",
            "outcome": "303 See Other",
            "origin": "203.0.113.9",
        }
    ]


def test_a_line_of_what_is_about_to_be_done_says_afterwards_how_it_ended(history: Path) -> None:
    number = note(history, replace(BURN, what="POST", outcome="begun"), NOW)
    note(history, replace(BURN, who="eve"), NOW)
    assert acts(history)[1]["outcome"] == "begun"
    audit.end(history, number, replace(BURN, outcome="409 Conflict\x1b"))
    found = [(each["id"], each["who"], each["what"], each["outcome"]) for each in acts(history)]
    assert found == [(2, "eve", BURN.what, BURN.outcome), (1, "anna", BURN.what, "409 Conflict\\x1b")]


def test_where_nothing_was_done_there_is_no_line_and_no_file(history: Path) -> None:
    assert acts(history) == []
    assert not history.exists()


def test_the_newest_come_first_page_by_page(history: Path) -> None:
    for number in range(5):
        note(history, Act(f"user {number}", "POST", "/", "200 OK", "::1"), NOW)
    first = acts(history, limit=2)
    assert [each["who"] for each in first] == ["user 4", "user 3"]
    assert [each["who"] for each in acts(history, Sought(before=int(first[-1]["id"])), 2)] == [
        "user 2",
        "user 1",
    ]


LINES = [
    (40, Act("anna", "POST /nodes/{node}/burn", "node=titan-13", "303 See Other", "::1")),
    (20, Act("api token", "POST /api/v1/jobs", "kind=image node=titan-14", "202 Accepted", "::1")),
    (10, Act("Bert (u-7)", "POST /nodes/{node}/burn", "node=titan_13", "409 Conflict", "::1")),
    (1, Act("100%", "POST", "/", "500 Internal Server Error", "::1")),
    (0, Act("röntgen", "POST", "/", "999", "::1")),
]
"""Each with the days that it is old."""


@pytest.mark.parametrize(
    ("sought", "found"),
    [
        (Sought(), [5, 4, 3, 2, 1]),
        (Sought(who="ANNA"), [1]),
        (Sought(who="u-7"), [3]),
        (Sought(who="%"), [4]),
        (Sought(who="_"), []),
        (Sought(who="ö"), [5]),
        (Sought(target="titan_13"), [3]),
        (Sought(what="/burn"), [3, 1]),
        (Sought(what="/burn", target="13", outcome="done"), [1]),
        (Sought(outcome="done"), [2, 1]),
        (Sought(outcome="refused"), [3]),
        (Sought(outcome="failed"), [4]),
        (Sought(since=NOW - timedelta(days=10)), [5, 4, 3]),
        (Sought(since=NOW.astimezone(timezone(timedelta(hours=9)))), [5]),
        (Sought(before=3, what="burn"), [1]),
        (Sought(who="' OR 1=1 --"), []),
        (Sought(who="\x00"), []),
    ],
    ids=str,
)
def test_lines_are_found(history: Path, sought: Sought, found: list[int]) -> None:
    for age, act in LINES:
        note(history, act, NOW - timedelta(days=age))
    assert [each["id"] for each in acts(history, sought)] == found


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("anna\x1b[31m", r"anna\x1b[31m"),
        ("two\nlines", "two lines"),
        ("nul\x00", r"nul\x00"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}x", r"\u202ex"),
        ("\udcff", r"\udcff"),
        ("'; DROP TABLE audit; --", "'; DROP TABLE audit; --"),
        ("x" * 5000, "x" * 399 + "…"),
        ("\x00" * 5000, (r"\x00" * 100)[:399] + "…"),
        ("röntgen", "röntgen"),
        (60 * "y" + f" ({'x' * 256})", 60 * "y" + f" ({'x' * 256})"),
    ],
)
def test_hostile_texts_are_kept_plain_and_short(history: Path, text: str, kept: str) -> None:
    note(history, Act(text, text, text, text, text), NOW)
    line = acts(history)[0]
    assert {line[name] for name in ("who", "what", "target", "outcome", "origin")} == {kept}


def test_all_who_begin_a_file_at_once_leave_their_lines(history: Path) -> None:
    for number in range(20):
        file = history.with_name(f"{number}.sqlite3")
        threads = [threading.Thread(target=note, args=(file, BURN, NOW)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(acts(file)) == 8


def test_lines_are_dropped_when_they_are_too_old(history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "_EACH", 2)
    note(history, BURN, NOW - audit.KEPT - timedelta(days=1))
    note(history, BURN, NOW - audit.KEPT + timedelta(days=1))
    note(history, BURN, NOW)
    note(history, BURN, NOW)
    assert [each["id"] for each in acts(history)] == [4, 3, 2]


def test_a_history_from_before_gets_the_table(history: Path) -> None:
    from pipeline.history.database import writing

    with writing(history) as connection:
        audit.AUDIT.drop(connection)
    note(history, BURN, NOW)
    assert len(acts(history)) == 1


def test_what_is_no_history_is_said_so(history: Path) -> None:
    history.write_text("no database, and longer than a header of one would be" * 99)
    with pytest.raises(MetisError):
        note(history, BURN, NOW)
