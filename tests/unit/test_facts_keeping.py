"""Snapshots that are sent are kept once each, in an order that reading understands, and so many at most."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import MetisError
from pipeline.facts import keeping
from pipeline.facts.keeping import LOCK, keep
from pipeline.facts.reading import read
from pipeline.facts.snapshot import parse
from tests.support import snapshots

AT = datetime(2026, 11, 29, 2, tzinfo=UTC)


def sent(at: datetime = AT, **changes: str) -> bytes:
    return snapshots.written(snapshots.small("titan-13", at=at, **changes))


def kept(folder: Path, data: bytes, most: int = 100) -> bool:
    return keep(folder, parse(data), data, most)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "titan-13").iterdir() if path.name != LOCK)


def test_what_is_kept_is_read(tmp_path: Path) -> None:
    for minutes in (5, 0, 3):
        kept(tmp_path, sent(AT + timedelta(minutes=minutes), hostname=f"after-{minutes}"))
    found = read([tmp_path], AT + timedelta(hours=1))
    assert found.skipped == ()
    assert found.snapshots["titan-13"].hostname == "after-5"


def test_the_bytes_stay_as_they_came(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf " + sent() + b"\n"
    kept(tmp_path, data)
    (file,) = names(tmp_path)
    assert (tmp_path / "titan-13" / file).read_bytes() == data


def test_what_comes_twice_is_one(tmp_path: Path) -> None:
    assert [kept(tmp_path, sent()) for _ in range(3)] == [True, False, False]
    assert len(names(tmp_path)) == 1


def test_what_comes_twice_at_once_is_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: kept(tmp_path, sent()), range(8))) == 1
    assert len(names(tmp_path)) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [("0" * 32, "1".zfill(32)), ("0" * 32, f"{1_000_000:032x}"), (f"{999_999:032x}", f"{1_999_999:032x}")],
    ids=["near", "the same name", "the last name"],
)
def test_two_of_a_second_are_two(tmp_path: Path, one: str, other: str) -> None:
    assert [kept(tmp_path, sent(id=name)) for name in (one, other, one, other)] == [True, True, False, False]
    assert len(names(tmp_path)) == 2


def test_what_is_spoilt_stands_in_nobodys_way(tmp_path: Path) -> None:
    kept(tmp_path, sent())
    (file,) = names(tmp_path)
    (tmp_path / "titan-13" / file).write_bytes(b"{")
    assert kept(tmp_path, sent())
    assert len(names(tmp_path)) == 2


def test_the_oldest_make_room_and_nothing_else_does(tmp_path: Path) -> None:
    (tmp_path / "titan-13").mkdir()
    (tmp_path / "titan-13" / "notes.json").touch()
    for minutes in range(5):
        kept(tmp_path, sent(AT + timedelta(minutes=minutes)), most=3)
    minutes_kept = [name[:13] for name in names(tmp_path)]
    assert minutes_kept == ["20261129T0202", "20261129T0203", "20261129T0204", "notes.json"]


def test_the_largest_make_room_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may send snapshots could else fill the disk with a hundred of the largest of each node."""
    data = [sent(AT + timedelta(minutes=minutes)) for minutes in range(6)]
    monkeypatch.setattr(keeping, "LARGEST", sum(map(len, data[:3])) + 1)
    for each in data:
        kept(tmp_path, each)
    assert [name[:13] for name in names(tmp_path)] == ["20261129T0203", "20261129T0204", "20261129T0205"]


def test_one_that_is_older_than_all_is_taken_and_goes(tmp_path: Path) -> None:
    for minutes in (1, 2):
        kept(tmp_path, sent(AT + timedelta(minutes=minutes)), most=2)
    assert kept(tmp_path, sent(datetime(1000, 1, 1, tzinfo=UTC)), most=2)
    assert [name[:13] for name in names(tmp_path)] == ["20261129T0201", "20261129T0202"]


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "titan-13").mkdir()
    (tmp_path / "titan-13" / LOCK).mkdir()
    with pytest.raises(MetisError, match="cannot write"):
        kept(tmp_path, sent())


@settings(max_examples=15)
@given(st.lists(st.datetimes(datetime(1970, 1, 1), datetime(2026, 11, 29)), min_size=1, max_size=12))
def test_the_newest_is_found_whatever_order_they_come_in(
    tmp_path_factory: pytest.TempPathFactory, times: list[datetime]
) -> None:
    folder = tmp_path_factory.mktemp("snapshots")
    for at in times:
        kept(folder, sent(at.replace(tzinfo=UTC)), most=4)
    assert len(names(folder)) <= 4
    newest = max(times).replace(tzinfo=UTC, microsecond=0)
    assert read([folder], AT).snapshots["titan-13"].at == newest
