"""What a history forgets, and what it never does."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.facts.changes import State
from pipeline.facts.finding import Finding
from pipeline.facts.show import stamp
from pipeline.history import builds, burns
from pipeline.history.database import writing
from pipeline.history.events import BOUNDS, durations, events, note, tallies
from pipeline.history.keeping import Limits, tidy
from pipeline.history.records import Build, Event
from pipeline.history.watches import past, watched
from pipeline.model import File, Text
from tests.support.history import BUILD, BURN, BURNED, event, kept_manifests, manifest, query

NOW = datetime(2026, 11, 29, 3, tzinfo=UTC)
OFTEN = Limits(age=timedelta(days=30), most=1_000, manifests=3, every=1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite3"


def days_ago(days: float) -> str:
    return stamp(NOW - timedelta(days=days))


def put(file: Path, *found: Event) -> None:
    with writing(file) as connection:
        note(connection, found)


def numbers(file: Path) -> list[int]:
    return sorted(each.id for each in events(file))


BUILT, FAILED = event(verdict="built"), event(verdict="failed", code=1)
DRIFT = event(kind="sentinel", verdict="drift")
CASES: dict[str, tuple[Limits, list[tuple[Event, int]], list[int]]] = {
    "what is old goes": (OFTEN, [(DRIFT, 31), (DRIFT, 29), (DRIFT, 1)], [2, 3]),
    "the last two of each end stay": (
        OFTEN,
        [(BUILT, 90), (BUILT, 80), (FAILED, 70), (BUILT, 60), (FAILED, 50), (FAILED, 40), (DRIFT, 1)],
        [2, 4, 5, 6, 7],
    ),
    "and those of each node": (
        OFTEN,
        [(replace(BUILT, node=name), 90) for name in "aaabbc"] + [(DRIFT, 1)],
        [2, 3, 4, 5, 6, 7],
    ),
    "what is too much goes, the oldest first": (replace(OFTEN, most=2), [(DRIFT, 3)] * 5, [4, 5]),
    "burns are not too much": (replace(OFTEN, most=1), [(BURNED, 3)] * 4 + [(DRIFT, 2)] * 2, [1, 2, 3, 4, 6]),
    "but they grow old": (OFTEN, [(BURNED, 90)] * 4 + [(DRIFT, 2)], [3, 4, 5]),
    "the newest of all stays": (replace(OFTEN, most=0), [(DRIFT, 90)] * 3, [3]),
    "no more at once than is said": (replace(OFTEN, at_once=2), [(DRIFT, 90)] * 5, [3, 4, 5]),
    "nothing, where it is not due": (replace(OFTEN, every=6), [(DRIFT, 90)] * 5, [1, 2, 3, 4, 5]),
}


@pytest.mark.parametrize(("limits", "found", "stay"), CASES.values(), ids=CASES)
def test_events_stay_within_the_limits(
    file: Path, limits: Limits, found: list[tuple[Event, int]], stay: list[int]
) -> None:
    put(file, *(replace(each, at=days_ago(days)) for each, days in found))
    assert tidy(file, NOW, limits) == len(found) - len(stay)
    assert numbers(file) == stay


def test_it_is_due_again_after_as_many_events(file: Path) -> None:
    limits = replace(OFTEN, every=3)
    gone = []
    for _ in range(7):
        put(file, replace(DRIFT, at=days_ago(90)))
        gone.append(tidy(file, NOW, limits))
    assert gone == [0, 0, 2, 0, 0, 3, 0]


def test_where_nothing_was_ever_kept_nothing_is_made(file: Path) -> None:
    assert tidy(file, NOW) == 0
    assert not file.exists()


ENDS = st.sampled_from(
    [("build", "built", 0), ("build", "failed", 5), ("burn", "burned", 0), ("sentinel", "drift", 0)]
)
SECONDS = st.sampled_from([0.0, *map(float, BOUNDS), 0.25, 7.5, 1e6])
LISTS = st.lists(
    st.tuples(ENDS, st.sampled_from("abc"), SECONDS, st.integers(0, 60)), min_size=1, max_size=40
)


@settings(max_examples=8)
@given(found=LISTS, most=st.integers(0, 20), at_once=st.integers(1, 40))
def test_whatever_goes_counters_are_as_they_were_and_the_last_builds_stay(
    found: list[tuple[tuple[str, str, int], str, float, int]], most: int, at_once: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "history.sqlite3"
        put(
            file,
            *(
                event(kind=kind, verdict=end, code=code, node=node, seconds=took, size=7, at=days_ago(days))
                for (kind, end, code), node, took, days in found
            ),
        )
        before = events(file)
        counters = (tallies(file), durations(file, BOUNDS))
        for _ in range(3):
            tidy(file, NOW, replace(OFTEN, most=most, at_once=at_once))
            put(file, replace(DRIFT, at=days_ago(0), size=0, seconds=0.0))
        assert (tallies(file)[:-1], durations(file, BOUNDS)) == (_without_drift(counters[0]), counters[1])
        still = {each.id for each in events(file)}
        seen = Counter[tuple[str, str, str]]()
        for each in before:
            seen[each.kind, each.node, each.verdict] += 1
            if each.kind != "sentinel" and seen[each.kind, each.node, each.verdict] <= OFTEN.last:
                assert each.id in still


def _without_drift(found: list) -> list:  # type: ignore[type-arg]
    return [each for each in found if each.kind != "sentinel"]


def test_a_build_that_goes_takes_what_it_was_made_of_with_it(file: Path) -> None:
    """And manifests that others still have stay, as those of the newest builds do."""
    of_base = manifest(File("/etc/issue", (Text("x"),)))
    made = [manifest(File("/etc/motd", (Text(str(number)),))) for number in range(5)]
    for each in [*made, made[0]]:
        about = {**BUILD.base_from, "manifest": of_base.id}
        builds.keep(file, replace(BUILD, manifest=each.id, base_from=about), [each, of_base])
    burns.keep(file, [BURN])
    tidy(file, NOW, OFTEN)
    assert len(kept_manifests(file)) == 4
    kept = {number: builds.made(file, number) for number in numbers(file)[:-1]}
    assert [number for number, each in kept.items() if each.image] == [1, 4, 5, 6]
    assert all(each.base for each in kept.values())
    tidy(file, NOW + timedelta(days=90), replace(OFTEN, every=0))
    assert [len(query(file, f"SELECT * FROM {name}")) for name in ("builds", "burns")] == [2, 1]


def test_looks_and_what_they_showed_grow_old_too(file: Path) -> None:
    one = Finding("titan-13", "kernel", "", "warning", "6.1", "6.0", "")
    with_drift, without = State({one.key: one}, {}, frozenset({"titan-14"})), State({}, {}, frozenset())
    for days, after in ((90, with_drift), (80, without), (20, with_drift)):
        watched(file, lambda _, after=after: after, NOW - timedelta(days=days))  # type: ignore[misc]
    tidy(file, NOW, OFTEN)
    found = past(file, NOW - timedelta(days=100))
    assert (found.first, [(each.since, each.until) for each in found.spans]) == (
        days_ago(20),
        [(days_ago(20), None)],
    )


def test_the_file_stays_within_bounds_however_many_nights_there_are(file: Path) -> None:
    """Each night each node has another manifest; what goes is written over, and given back."""
    limits = Limits(age=timedelta(days=30), most=20, manifests=2, every=10, at_once=500)
    nodes = [f"titan-{number}" for number in range(5)]
    sizes = []
    for night in range(12):
        for node in nodes:
            each = manifest(File("/etc/motd", (Text(f"{night}{node}" + random.randbytes(4000).hex()),)))
            about = event(node=node, at=stamp(NOW + timedelta(days=night)))
            builds.keep(file, Build(about, each.id, "b" * 64, BUILD.base_from, {}, "1"), [each])
        tidy(file, NOW + timedelta(days=night), limits)
        sizes.append(file.stat().st_size)
    assert max(sizes[7:]) <= 1.1 * max(sizes[:7])
    assert query(file, "PRAGMA freelist_count") == [(0,)]
