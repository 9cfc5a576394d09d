"""An export is open for who has its link, until all of it was sent once, it is revoked or time is over."""

from __future__ import annotations

import json
import re
import sqlite3
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import MetisError
from pipeline.history.exports import ENDING, MOST_PIECES, Export, Exports
from pipeline.raw.ranges import joined
from pipeline.secret import Secret
from tests.support.exports import offered, rows

NOW = datetime(2026, 11, 29, 8, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
CONTENT = bytes(range(100))


@pytest.fixture
def exports(tmp_path: Path) -> Exports:
    return Exports(tmp_path / "history.sqlite3", tmp_path / "exports")


@pytest.fixture
def export(exports: Exports) -> Export:
    return offered(exports, CONTENT, now=NOW)


def ended(exports: Exports, name: str) -> str | None:
    return next(each.ended for each in exports.listed() if each.id == name)


def files(exports: Exports) -> set[str]:
    return {file.name for file in exports.folder.glob(f"*{ENDING}")}


def link(exports: Exports, export: Export, now: datetime = NOW) -> Secret:
    made = exports.link(export.id, now)
    assert made is not None
    return made[1]


def token_of(exports: Exports, export: Export, now: datetime = NOW) -> str:
    return link(exports, export, now).reveal()


# --------------------------------------------------------------------------------------------- links


def test_a_link_leads_to_its_export(exports: Exports, export: Export) -> None:
    other = offered(exports, b"other", now=NOW, node="titan-14")
    token, others = token_of(exports, export), token_of(exports, other)
    assert exports.find(token, NOW) == export
    assert exports.find(others, NOW) == other
    assert exports.place(export).read_bytes() == CONTENT


def test_links_are_unguessable_and_shown_by_nobody(exports: Exports, export: Export, tmp_path: Path) -> None:
    tokens = []
    for _ in range(5):
        token = link(exports, export)
        assert isinstance(token, Secret)
        tokens.append(token.reveal())
    assert len(set(tokens)) == len(tokens)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", token) for token in tokens)
    written = rows(tmp_path)
    assert export.id.encode() in written
    assert not [token for token in tokens if token.encode() in written]


def test_what_is_kept_of_a_link_is_of_no_use_without_the_key(
    exports: Exports, export: Export, tmp_path: Path
) -> None:
    token = token_of(exports, export)
    (exports.folder / ".key").unlink()
    assert exports.find(token, NOW) is None
    token_of(exports, offered(exports, b"other", now=NOW))  # makes another key
    assert exports.find(token, NOW) is None


def test_a_new_link_ends_the_one_before(exports: Exports, export: Export) -> None:
    first, second = token_of(exports, export), token_of(exports, export)
    assert exports.find(first, NOW) is None
    assert exports.find(second, NOW) == export


WRONG: dict[str, Callable[[str], str]] = {
    "none": lambda _: "",
    "another": lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),
    "the first letters": lambda token: token[:-1],
    "more than it": lambda token: f"{token}A",
    "in capitals": lambda token: token.swapcase(),
    "a wildcard": lambda _: "%",
    "SQL": lambda _: "' OR 1=1 --",
    "half a character": lambda _: "\ud800",
    "a zero": lambda token: f"{token}\0",
    "very long": lambda token: token + "A" * 100_000,
    "padded": lambda token: f"{token}=",
}


@pytest.mark.parametrize("case", WRONG)
def test_nothing_else_is_a_link(exports: Exports, export: Export, case: str) -> None:
    assert exports.find(WRONG[case](token_of(exports, export)), NOW) is None


def test_without_any_link_nothing_is_found_and_nothing_made(exports: Exports) -> None:
    assert exports.find("A" * 43, NOW) is None
    assert not exports.folder.exists()


def test_the_key_and_the_files_are_private(exports: Exports, export: Export) -> None:
    token_of(exports, export)
    for path in (exports.folder, *exports.folder.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_damaged_key_is_one_line_that_says_what_to_do(exports: Exports, export: Export) -> None:
    token = token_of(exports, export)
    (exports.folder / ".key").write_bytes(b"short")
    with pytest.raises(MetisError, match="is not a key of 32 bytes: remove it"):
        exports.find(token, NOW)


# ----------------------------------------------------------------------------------------- their end


def test_time_ends_an_export(exports: Exports, export: Export) -> None:
    token = token_of(exports, export)
    assert exports.find(token, NOW + HOUR - timedelta(seconds=1)) == export
    assert exports.find(token, NOW + HOUR) is None
    assert exports.link(export.id, NOW + HOUR) is None


def test_a_sweep_removes_what_is_over_and_what_belongs_to_nobody(exports: Exports, export: Export) -> None:
    later = offered(exports, b"later", now=NOW + HOUR)
    token_of(exports, later)
    (exports.folder / f"0123456789abcdef{ENDING}").write_bytes(b"left by a history that was moved away")
    exports.sweep(NOW + HOUR)
    assert files(exports) == {f"{later.id}{ENDING}"}
    assert (ended(exports, export.id), ended(exports, later.id)) == ("expired", None)
    assert (exports.folder / ".key").exists()


def test_a_revoked_export_is_gone(exports: Exports, export: Export) -> None:
    token = token_of(exports, export)
    assert exports.revoke(export.id, NOW) == exports.listed()[0]
    assert exports.find(token, NOW) is None
    assert files(exports) == set()
    assert ended(exports, export.id) == "revoked"
    assert exports.revoke(export.id, NOW) is None


@pytest.mark.parametrize("name", ["", "no-such", "../history", "%"])
def test_only_an_export_that_is_there_is_revoked_or_linked(
    exports: Exports, export: Export, name: str
) -> None:
    assert exports.revoke(name, NOW) is None
    assert exports.link(name, NOW) is None
    assert exports.place(export).exists()


def test_a_revoked_export_is_not_swept_or_used_afterwards(exports: Exports, export: Export) -> None:
    exports.revoke(export.id, NOW)
    exports.sent(export, 0, export.size, NOW)
    exports.sweep(NOW + HOUR)
    assert ended(exports, export.id) == "revoked"


# ------------------------------------------------------------------------------------ what was sent

SENT: dict[str, tuple[list[tuple[int, int]], bool]] = {
    "all at once": ([(0, 100)], True),
    "cut, and on from there": ([(0, 60), (60, 100)], True),
    "cut, and on from before": ([(0, 60), (40, 100)], True),
    "the end first": ([(60, 100), (0, 60)], True),
    "a byte each": ([(at, at + 1) for at in range(100)], True),
    "in pieces of any order": ([(50, 100), (0, 25), (25, 50)], True),
    "nothing": ([(0, 0)], False),
    "but the last byte": ([(0, 99)], False),
    "but the first byte": ([(1, 100)], False),
    "a gap": ([(0, 50), (51, 100)], False),
    "the same half twice": ([(0, 50), (0, 50)], False),
}


@pytest.mark.parametrize("case", SENT)
def test_an_export_is_used_up_when_each_byte_was_sent(exports: Exports, export: Export, case: str) -> None:
    pieces, is_used_up = SENT[case]
    for start, end in pieces:
        exports.sent(export, start, end, NOW)
    assert ended(exports, export.id) == ("used" if is_used_up else None)
    assert exports.place(export).exists() is not is_used_up


def test_downloads_are_counted_by_their_first_byte(exports: Exports, export: Export) -> None:
    for piece in [(0, 10), (10, 20), (0, 30)]:
        exports.sent(export, *piece, NOW)
    assert exports.listed()[0].downloads == 2


def test_a_new_link_begins_to_count_anew(exports: Exports, export: Export) -> None:
    exports.sent(export, 0, 60, NOW)
    token_of(exports, export)
    exports.sent(export, 60, 100, NOW)
    assert ended(exports, export.id) is None


def test_who_fetches_crumbs_fills_nothing(exports: Exports, tmp_path: Path) -> None:
    export = offered(exports, bytes(1000), now=NOW)
    for at in range(0, 4 * MOST_PIECES, 2):
        exports.sent(export, at, at + 1, NOW)
    with closing(sqlite3.connect(tmp_path / "history.sqlite3")) as opened:
        (kept,) = opened.execute("SELECT sent FROM exports").fetchone()
    assert len(json.loads(kept)) == MOST_PIECES
    exports.sent(export, 0, 1000, NOW)
    assert ended(exports, export.id) == "used"


def test_two_downloads_at_once_are_counted_both(exports: Exports, export: Export) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda at: exports.sent(export, at, at + 10, NOW), range(0, 100, 10)))
    assert ended(exports, export.id) == "used"


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=12))
def test_joined_ranges_have_just_the_bytes_that_the_pieces_have(pieces: list[tuple[int, int]]) -> None:
    ranges = joined(pieces)
    assert {at for start, end in ranges for at in range(start, end)} == {
        at for start, end in pieces for at in range(start, end)
    }
    assert all(one[1] < other[0] for one, other in pairwise(ranges))


# ------------------------------------------------------------------------------------------ listing


def test_exports_are_listed_the_newest_first(exports: Exports, export: Export) -> None:
    second = offered(exports, b"x", now=NOW + HOUR, node="titan-14")
    third = offered(exports, b"y", now=NOW + 2 * HOUR)
    assert exports.listed() == [third, second, export]
    assert exports.listed("titan-13") == [third, export]
    assert exports.listed(limit=1) == [third]


def test_of_exports_of_one_second_the_last_one_is_the_newest(exports: Exports, export: Export) -> None:
    made = [offered(exports, b"x", node=export.node) for _ in range(5)]
    assert exports.listed() == [*reversed(made), export]


def test_what_machines_are_told_has_no_link(exports: Exports, export: Export) -> None:
    token_of(exports, export)
    data = exports.listed()[0].to_data()
    assert data["class"] == "pi"
    assert not {"link", "token", "sent"} & set(data)


def test_an_export_that_cannot_be_kept_leaves_no_row(exports: Exports, export: Export) -> None:
    with pytest.raises(OSError, match="No such file"):
        exports.add(exports.folder / "none", replace(export, id=exports.new_id()))
    assert exports.listed() == [export]
