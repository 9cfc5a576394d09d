"""What is kept of builds and burns, and what is found again: in which order, by what, and in which page."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import InventoryError, MetisError, Problem, SeveralErrors, UsageError
from pipeline.facts.changes import State
from pipeline.facts.finding import Finding
from pipeline.history import builds, burns
from pipeline.history.database import FORMAT, LARGEST_LOG, reading, writing
from pipeline.history.events import Durations, Tally, Wanted, durations, events, last, tallies
from pipeline.history.records import LONGEST, Build, Event, reason
from pipeline.history.watches import targets_history, watched
from pipeline.manifest_json import to_data
from pipeline.model import Blob, Directory, Edit, File, SecretRef, Symlink, Text
from tests.support.history import BUILD, BURN, BURNED, event, kept_manifests, manifest, query
from tests.support.race import RUNNERS, together

OF_NODE = manifest(
    File("/etc/motd", (Text("hello\n"), SecretRef("k3s_token"))),
    Directory("/srv/disk", immutable=True),
    Symlink("/etc/localtime", "/usr/share/zoneinfo/UTC"),
    Edit("/etc/fstab", "mounts", (("line", "tmpfs"), ("token", SecretRef("k3s_token", "hash")))),
)
OF_BASE = manifest(File("/etc/issue", (Blob("f" * 64, "overlays/pi/root/etc/issue"),)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "artifacts of a #1? lab%20" / "history.sqlite3"


def keep(file: Path, *found: Event) -> list[int]:
    return [builds.keep(file, replace(BUILD, event=each), []) for each in found]


def nodes(found: list[Event]) -> list[str]:
    return [each.node for each in found]


# --------------------------------------------------------------------------------------------- kept


def test_a_build_is_found_as_it_was_kept(file: Path) -> None:
    build = replace(BUILD, manifest=OF_NODE.id, base_from={**BUILD.base_from, "manifest": OF_BASE.id})
    number = builds.keep(file, build, [OF_NODE, OF_BASE])
    found = builds.made(file, number)
    assert found.build == replace(build, event=replace(build.event, id=number))
    assert (found.base, found.image) == (OF_BASE, OF_NODE)


def test_a_burn_is_found_as_it_was_kept(file: Path) -> None:
    burns.keep(file, [BURN, replace(BURN, files=None)])
    assert burns.burn(file, 1) == replace(BURN, event=replace(BURNED, id=1))
    assert burns.burn(file, 2).files is None


def test_a_manifest_is_kept_once(file: Path) -> None:
    for _ in range(3):
        builds.keep(file, replace(BUILD, manifest=OF_NODE.id), [OF_NODE])
    assert [json.loads(content) for content in kept_manifests(file).values()] == [to_data(OF_NODE)]


@pytest.mark.parametrize("ask", [builds.made, burns.burn], ids=["build", "burn"])
@pytest.mark.parametrize("number", [0, -1, 3, 1 << 62])
def test_a_number_that_nothing_has_is_a_slip_of_who_asks(
    file: Path, ask: Callable[[Path, int], object], number: int
) -> None:
    builds.keep(file, BUILD, [])
    burns.keep(file, [BURN])
    with pytest.raises(UsageError, match=f"no (build|burn) {number} "):
        ask(file, number)


def test_what_is_a_burn_is_no_build(file: Path) -> None:
    burns.keep(file, [BURN])
    with pytest.raises(UsageError, match="no build 1 "):
        builds.made(file, 1)


HOSTILE = ["'; DROP TABLE events; --", "\x1b[2J\x07", "%s %d {} \\", "Ωμέγα \U0001f4a5", "", "x" * 100_000]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_any_text_is_kept_as_it_is(file: Path, text: str) -> None:
    hostile = event(node=text, klass=text, why=text, image=text)
    number = builds.keep(file, Build(hostile, text, text, {text: text}, {text: text}, text), [])
    found = builds.made(file, number).build
    assert found == Build(replace(hostile, id=number), text, text, {text: text}, {text: text}, text)
    assert nodes(events(file, Wanted(nodes=(text, "another")))) == [text]


def test_of_who_keeps_at_the_same_time_each_has_a_row(file: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from pipeline.history import builds;"
        "from tests.support.history import BUILD; sys.stdin.readline();"
        "print([builds.keep(Path(sys.argv[1]), BUILD, []) for _ in range(5)])"
    )
    said = [json.loads(each) for each in together(script, str(file))]
    assert sorted(number for each in said for number in each) == list(range(1, 5 * RUNNERS + 1))


# -------------------------------------------------------------------------------------------- found

SEVERAL = (
    event(node="alpha", at="2026-11-01T00:00:00Z"),
    event(node="beta", at="2026-11-02T00:00:00Z", verdict="failed", why="no room", code=1),
    event(node="alpha", at="2026-11-03T00:00:00Z", verdict="failed", why="no golden", code=5),
    replace(BURNED, node="alpha", at="2026-11-04T00:00:00Z"),
    replace(BURNED, node="beta", at="2026-11-05T00:00:00Z", verdict="failed", code=4),
)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(), [5, 4, 3, 2, 1]),
        (Wanted(nodes=("alpha",)), [4, 3, 1]),
        (Wanted(nodes=("alpha", "gamma")), [4, 3, 1]),
        (Wanted(nodes=("gamma",)), []),
        (Wanted(kind="burn"), [5, 4]),
        (Wanted(verdict="failed"), [5, 3, 2]),
        (Wanted(verdict="built"), [1]),
        (Wanted(since=datetime(2026, 11, 3, tzinfo=UTC)), [5, 4, 3]),
        (Wanted(since=datetime(2026, 11, 3, 2, tzinfo=timezone(timedelta(hours=2)))), [5, 4, 3]),
        (Wanted(before=3), [2, 1]),
        (Wanted(before=0), []),
        (Wanted(nodes=("beta",), kind="build", verdict="failed", before=5), [2]),
    ],
    ids=lambda each: str(each).removeprefix("Wanted"),
)
def test_events_are_found_by_all_that_is_said_of_them_the_newest_first(
    file: Path, wanted: Wanted, found: list[int]
) -> None:
    keep(file, *SEVERAL)
    assert [each.id for each in events(file, wanted)] == found


@given(pages=st.integers(1, 7), count=st.integers(0, 12))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pages_together_are_all_while_more_is_kept(tmp_path: Path, pages: int, count: int) -> None:
    file = tmp_path / f"{pages}-{count}" / "history.sqlite3"
    if not file.exists():
        keep(file, *(event(node=str(number)) for number in range(count)))
    there = [each.id for each in events(file)]
    found: list[int] = []
    wanted = Wanted()
    while page := events(file, wanted, limit=pages):
        assert len(page) <= pages
        found += [each.id for each in page]
        wanted = Wanted(before=page[-1].id)
        keep(file, event(node="later"))
    assert found == there


def test_the_last_of_each_node_and_kind(file: Path) -> None:
    keep(file, *SEVERAL)
    assert {key: each.id for key, each in last(file).items()} == {
        ("alpha", "build"): 3,
        ("alpha", "burn"): 4,
        ("beta", "build"): 2,
        ("beta", "burn"): 5,
    }
    good = last(file, Wanted(kind="burn", verdict="burned"))
    assert {key: each.id for key, each in good.items()} == {("alpha", "burn"): 4}


def test_events_are_counted_by_how_they_ended(file: Path) -> None:
    keep(file, *SEVERAL, event(node="gamma", seconds=0.5, size=24))
    assert tallies(file) == [
        Tally("build", "built", 0, 2, 5.0, (1 << 20) + 24),
        Tally("build", "failed", 1, 1, 4.5, 1 << 20),
        Tally("build", "failed", 5, 1, 4.5, 1 << 20),
        Tally("burn", "burned", 0, 1, 4.5, 1 << 20),
        Tally("burn", "failed", 4, 1, 4.5, 1 << 20),
    ]
    assert tallies(file, Wanted(nodes=("gamma",))) == [Tally("build", "built", 0, 1, 0.5, 24)]


def test_what_ended_well_is_counted_by_how_long_it_took(file: Path) -> None:
    times = (0.5, 1.0, 7.0, 100.0)
    keep(file, *(event(seconds=each) for each in times), event(verdict="failed", seconds=0.1))
    assert durations(file, (1, 10, 60)) == {"build": Durations((2, 3, 3), 4, sum(times))}


# ------------------------------------------------------------------------------------ what was watched

KERNEL = Finding("beta", "kernel", "", "warning", "6.1", "6.6", "bring it to 6.1")
LOOKS: dict[str, tuple[State, State, list[tuple[str, str, str]]]] = {
    "nothing": (State({KERNEL.key: KERNEL}), State({KERNEL.key: KERNEL}), []),
    "drift came": (
        State(),
        State({KERNEL.key: KERNEL}),
        [("beta", "drift", "warning: kernel: expected 6.1, found 6.6")],
    ),
    "it is otherwise": (
        State({KERNEL.key: KERNEL}),
        State({KERNEL.key: replace(KERNEL, found="6.7\x1b[2J\n")}),
        [("beta", "drift", "warning: kernel: expected 6.1, found 6.7\\x1b[2J")],
    ),
    "it went": (State({KERNEL.key: KERNEL}), State(), [("beta", "mended", "warning: kernel")]),
    "a node fell silent": (State(), State(silent=frozenset({"beta"})), [("beta", "silent", "")]),
    "it is heard again": (State(silent=frozenset({"beta"})), State(), [("beta", "heard", "")]),
    "a recommendation, which is of a class": (State(), State(targets={("pi", "kernel"): "6.1"}), []),
}


@pytest.mark.parametrize(("before", "after", "found"), LOOKS.values(), ids=LOOKS.keys())
def test_what_a_watch_saw_change_on_a_node_is_an_event(
    file: Path, before: State, after: State, found: list[tuple[str, str, str]]
) -> None:
    watched(file, lambda _: before, datetime(2026, 11, 29, 2, tzinfo=UTC))
    keep(file, event(node="alpha"))
    newest = events(file)[0].id
    watched(file, lambda _: after, datetime(2026, 11, 29, 3, tzinfo=UTC))
    seen = [each for each in events(file) if each.id > newest]
    assert [(each.node, each.verdict, each.why) for each in seen] == found
    assert {(each.kind, each.at) for each in seen} <= {("sentinel", "2026-11-29T03:00:00Z")}


# ------------------------------------------------------------------------------------- who only reads


def test_where_nothing_was_kept_nothing_is_found_and_nothing_made(file: Path) -> None:
    assert (events(file), last(file), tallies(file), targets_history(file)) == ([], {}, [], [])
    assert not file.parent.exists()


def test_a_table_that_an_older_history_has_not_is_empty(file: Path) -> None:
    keep(file, event())
    query(file, "DROP TABLE targets")
    assert targets_history(file) == []
    assert query(file, "SELECT name FROM sqlite_schema WHERE name = 'targets'") == []
    assert nodes(events(file)) == ["titan-13"]


def test_an_empty_file_is_a_history_without_anything(file: Path) -> None:
    file.parent.mkdir()
    file.touch()
    assert events(file) == []
    assert keep(file, event()) == [1]


def test_who_reads_does_not_wait_and_sees_what_was_there_when_it_began(file: Path) -> None:
    keep(file, event())
    with writing(file) as connection:
        connection.exec_driver_sql("DELETE FROM builds")
        assert builds.made(file, 1).build.metis == BUILD.metis


def test_who_reads_cannot_write(file: Path) -> None:
    keep(file, event())
    with pytest.raises(MetisError, match="attempt to write a readonly database"), reading(file) as connection:
        connection.exec_driver_sql("DELETE FROM builds")
    assert len(events(file)) == 1


def test_nothing_lies_about_once_all_have_looked(file: Path) -> None:
    keep(file, event())
    events(file)
    assert [(each.name, each.stat().st_mode & 0o777) for each in file.parent.iterdir()] == [
        ("history.sqlite3", 0o600)
    ]


def test_the_log_does_not_stay_as_long_as_somebody_who_read_for_long_has_made_it(file: Path) -> None:
    """Who reads keeps it from being written back; and while anybody has the file open, it is not removed."""
    keep(file, event())
    log = file.with_name(f"{file.name}-wal")
    with closing(sqlite3.connect(file)) as idle:
        idle.execute("SELECT * FROM events").fetchall()
        with reading(file):
            for _ in range(6):
                keep(file, event(why="x" * (1 << 20)))
            assert log.stat().st_size > LARGEST_LOG
        for _ in range(2):
            keep(file, event(why="x" * (1 << 13)))
        assert log.stat().st_size <= LARGEST_LOG


# ------------------------------------------------------------------------------------- damaged files


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:5000])


def of_the_future(file: Path) -> None:
    query(file, f"PRAGMA user_version = {FORMAT + 1}")


def no_json(file: Path) -> None:
    query(file, "UPDATE builds SET secrets = '{'")


SPOILED = {
    "something else": (lambda file: file.write_bytes(b"no database at all" * 100), "move it away to begin"),
    "truncated": (truncated, "move it away to begin anew"),
    "of a newer Metis": (of_the_future, "upgrade Metis"),
    "no JSON": (no_json, "move it away to begin anew"),
}


@pytest.mark.parametrize(("spoil", "words"), SPOILED.values(), ids=SPOILED.keys())
def test_what_is_no_history_is_refused_in_one_line_and_left_alone(
    file: Path, spoil: Callable[[Path], object], words: str
) -> None:
    keep(file, event())
    spoil(file)
    before = file.read_bytes()
    with pytest.raises(MetisError, match=words):
        builds.made(file, 1)
    if spoil is not no_json:
        with pytest.raises(MetisError, match=words):
            keep(file, event())
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "content",
    [None, b"", b"\0", b"[]", b"[" * 100_000, b'{"format": 1}', b'{"format": 2, "entries": 7}'],
    ids=lambda each: repr(each)[:30],
)
def test_a_manifest_that_cannot_be_read_hides_no_build(file: Path, content: bytes | None) -> None:
    number = builds.keep(file, replace(BUILD, manifest=OF_NODE.id), [OF_NODE])
    with closing(sqlite3.connect(file)) as opened:
        if content is None:
            opened.execute("DELETE FROM manifests")
        else:
            packed = zlib.compress(content) if content[:1] > b"\0" else content
            opened.execute("UPDATE manifests SET content = ?", (packed,))
        opened.commit()
    found = builds.made(file, number)
    assert (found.build.manifest, found.image, found.base) == (OF_NODE.id, None, None)


# ------------------------------------------------------------------------------------ why it failed


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MetisError("no room", "free some space"), "no room: free some space"),
        (MetisError("a\x1b[2J\nb\udcff"), "a\\x1b[2J b\\udcff"),
        (SeveralErrors([MetisError("one"), MetisError("two")]), "one; two"),
        (InventoryError([Problem("a.yaml", 1, "b", "c")]), "a.yaml:1: b: c"),
        (MetisError("x" * 10_000), "x" * (LONGEST - 1) + "…"),
    ],
    ids=["with advice", "hostile", "several", "of an inventory", "long"],
)
def test_a_reason_is_one_line_that_fits(error: MetisError, words: str) -> None:
    assert reason(error) == words
