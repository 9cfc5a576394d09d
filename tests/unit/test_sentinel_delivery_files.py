"""What a node keeps of its snapshots, and what waits for the service: bounded, and whole after any end."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metis_sentinel import durable, history, spool
from metis_sentinel.errors import SentinelError
from metis_sentinel.history import Limits, write
from metis_sentinel.spool import Spool
from pipeline.machine import process
from tests.support.sentinel import START, Node, bytes_of, files

DAY = 24 * 60 * 60.0
DEFAULT = Limits()
ROOT = Path(__file__).parents[2]
FOREIGN = [
    "notes.txt",
    ".hidden",
    "20261129.json",
    "20261129T022000Z.json",
    "20261129T022000.123456Z.json.bak",
]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What must be on the medium is not what these tests are about."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def keep(out: Path, now: float, limits: Limits = DEFAULT) -> Path:
    return write(out, "titan-13", b"{}", limits, now)


# ------------------------------------------------------------------------------------------- history


def test_a_snapshot_is_kept_by_node_and_time_for_its_owner_alone(tmp_path: Path) -> None:
    file = keep(tmp_path / "out", START + 0.123456)
    assert file == tmp_path / "out/titan-13/20261129T000000.123456Z.json"
    assert [oct(each.stat().st_mode & 0o777) for each in (file, *file.parents[:2])] == [
        "0o600",
        "0o700",
        "0o700",
    ]


def test_names_sort_by_time_also_within_one_moment(tmp_path: Path) -> None:
    made = [keep(tmp_path, START).name for _ in range(3)] + [keep(tmp_path, START + 1).name]
    assert made == sorted(set(made))


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "titan-13\n", ".x", "x" * 64])
def test_no_name_of_a_node_leads_elsewhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(SentinelError, match="is no name of a node"):
        write(tmp_path, name, b"{}", Limits(), START)
    assert files(tmp_path) == []


def test_the_newest_are_kept(tmp_path: Path) -> None:
    made = [keep(tmp_path, START + day, Limits(keep=4)).name for day in range(9)]
    assert files(tmp_path / "titan-13") == made[-4:]


def test_what_is_too_old_goes_but_never_the_newest_ten(tmp_path: Path) -> None:
    made = [keep(tmp_path, START + minute).name for minute in range(15)]
    later = keep(tmp_path, START + 31 * DAY).name
    assert files(tmp_path / "titan-13") == [*made[-9:], later]


@pytest.mark.parametrize(
    "now", [0.0, -5.0, 86400.0, START + 60 * 365 * DAY], ids=["1970", "before", "second day", "2086"]
)
def test_a_clock_that_jumped_costs_no_history(tmp_path: Path, now: float) -> None:
    made = [keep(tmp_path, START + minute, Limits(keep=20)).name for minute in range(19)]
    wrong = [keep(tmp_path, now + minute, Limits(keep=20)).name for minute in range(30)]
    left = files(tmp_path / "titan-13")
    assert set(left) == {*made, wrong[-1]}
    right = [keep(tmp_path, START + 100 + minute, Limits(keep=20)).name for minute in range(3)]
    assert set(files(tmp_path / "titan-13")) == {*made[2:], *right}


def test_only_files_of_our_own_form_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "titan-13"
    (folder / "20250101T000000.000000Z.json").mkdir(parents=True)
    (folder / "20250102T000000.000000Z.json").symlink_to("notes.txt")
    for name in FOREIGN:
        (folder / name).write_text("mine")
    for minute in range(5):
        keep(tmp_path, START + minute, Limits(keep=1, max_age=1))
    assert {each.name for each in folder.iterdir()} - set(FOREIGN) == {
        "20250101T000000.000000Z.json",
        "20250102T000000.000000Z.json",
        "20261129T000004.000000Z.json",
    }
    assert all((folder / name).read_text() == "mine" for name in FOREIGN)


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(
        SentinelError, match=r"cannot keep snapshots in .*/out/titan-13: not a directory: it must be"
    ):
        keep(tmp_path / "out", START)


KILLED = """
import os, signal, sys
from pathlib import Path
from metis_sentinel import history, spool
Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
out = Path(sys.argv[1])
if sys.argv[2] == "history":
    history.write(out, "titan-13", b"{}", history.Limits(), 1795910400.0)
else:
    spool.Spool(out, 5, print).put({}, b"{}")
"""


@pytest.mark.parametrize("kind", ["history", "spool"])
def test_a_kill_before_the_rename_leaves_nothing_that_stays(tmp_path: Path, kind: str) -> None:
    said = process.run([sys.executable, "-c", KILLED, tmp_path, kind], cwd=ROOT, check=False)
    assert said.code == -signal.SIGKILL
    (left,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert left.name == durable.PART
    if kind == "history":
        keep(tmp_path, START)
    else:
        Spool(tmp_path, 5, print).put({}, b"{}")
    (left,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert left.suffix == ".json"


MOMENTS = st.one_of(
    st.floats(-1e9, 4e9, allow_nan=False),
    st.integers(0, 100).map(lambda minutes: START + minutes * 60),
    st.integers(0, 100).map(lambda days: START + days * DAY),
)


@settings(max_examples=150)
@given(
    st.lists(st.tuples(MOMENTS, st.booleans()), max_size=40),
    st.integers(1, 15),
    st.integers(1, 40 * int(DAY)),
)
def test_whatever_the_clock_does_the_history_is_within_its_bounds(
    writes: list[tuple[float, bool]], number: int, age: int
) -> None:
    with tempfile.TemporaryDirectory() as place:
        out = Path(place)
        folder = out / "titan-13"
        folder.mkdir()
        for name in FOREIGN:
            (folder / name).write_text("mine")
        for now, killed in writes:
            if killed:
                (folder / durable.PART).write_text("half")
            before = set(files(folder)) - set(FOREIGN)
            new = keep(out, now, Limits(number, age)).name
            left = set(files(folder)) - set(FOREIGN)
            assert new in left <= {*before, new}
            assert durable.PART not in left
            assert min(10, number, len(before - {durable.PART}) + 1) <= len(left) <= number
        assert all((folder / name).read_text() == "mine" for name in FOREIGN)


@settings(max_examples=50)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=40), st.integers(1, 15))
def test_while_the_clock_goes_on_the_newest_are_kept(steps: list[int], number: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        now, made = START, []
        for step in steps:
            now += step
            made.append(keep(Path(place), now, Limits(number)).name)
        assert files(Path(place) / "titan-13") == made[-number:]


# --------------------------------------------------------------------------------------------- spool


@pytest.fixture
def lines() -> Iterator[list[str]]:
    said: list[str] = []
    yield said
    assert all(line.isprintable() for line in said)


def put(there: Spool, node: Node) -> None:
    snapshot = node.take("/", there.dropped())
    there.put(snapshot, bytes_of(snapshot))


def test_what_waits_is_given_oldest_first_whatever_the_clock(tmp_path: Path, lines: list[str]) -> None:
    there, node = Spool(tmp_path / "spool", 50, lines.append), Node()
    for _ in range(12):
        put(there, node)
    found = [there.read(name) for name in there.waiting()]
    assert [each.id for each in found if each] == node.ids
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in (tmp_path / "spool").iterdir())


def test_the_bytes_that_wait_are_bounded(
    tmp_path: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "BYTES", 1000)
    there, node = Spool(tmp_path, 50, lines.append), Node()
    for _ in range(20):
        put(there, node)
    sizes = [(tmp_path / name).stat().st_size for name in there.waiting()]
    assert 800 < sum(sizes) <= 1000
    assert len(lines) == 20 - len(sizes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"id": 5}',
        '{"id": "ABC"}',
        "[" * 100_000,
        '{"id": "' + "0" * 31 + '\n"}',
        "\x00\xff",
    ],
    ids=["empty", "truncated", "list", "null", "number", "no id", "deep", "newline", "binary"],
)
def test_what_is_no_snapshot_is_set_aside(tmp_path: Path, lines: list[str], text: str) -> None:
    (tmp_path / "000000000003.json").write_text(text)
    there = Spool(tmp_path, 50, lines.append)
    assert there.read("000000000003.json") is None
    assert files(tmp_path) == ["rejected/000000000003.json"]
    assert "it is no whole snapshot" in lines[0]
    put(there, Node())
    assert there.waiting() == ["000000000004.json"], "no number is given twice"


def test_few_of_those_set_aside_are_kept(tmp_path: Path, lines: list[str]) -> None:
    there, node = Spool(tmp_path, 50, lines.append), Node()
    for _ in range(30):
        put(there, node)
        there.reject(there.waiting()[0], "a test says so")
    assert files(tmp_path) == [f"rejected/{number:012}.json" for number in range(11, 31)]


def test_several_that_write_at_once_lose_nothing(tmp_path: Path, lines: list[str]) -> None:
    def write_some(_: int) -> None:
        for _ in range(5):
            put(Spool(tmp_path / "spool", 50, lines.append), Node())
            keep(tmp_path, START)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write_some, range(8)))
    assert len(files(tmp_path / "spool")) == len(files(tmp_path / "titan-13")) == 40


@pytest.mark.parametrize("text", ["", "-5", "x", "9" * 40, "\x00"])
def test_a_count_that_is_none_costs_no_snapshot(tmp_path: Path, lines: list[str], text: str) -> None:
    (tmp_path / "dropped").write_text(text)
    there, node = Spool(tmp_path, 1, lines.append), Node()
    for _ in range(3):
        put(there, node)
    assert there.waiting() == ["000000000003.json"]


ACTS = st.lists(st.sampled_from(["put", "put", "put", "deliver", "reject", "kill", "restart"]), max_size=40)


@settings(max_examples=150)
@given(ACTS, st.integers(1, 6))
def test_whatever_happens_the_spool_is_bounded_and_the_dropped_are_counted(
    acts: list[str], number: int
) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder, node, delivered, rejected = Path(place), Node(), 0, 0
        for name in (*FOREIGN, "000000000001.json.bak", "1.json"):
            (folder / name).write_text("mine")
        there, known = Spool(folder, number, lambda _: None), 0
        for act in acts:
            waiting = there.waiting()
            if act == "put":
                put(there, node)
                newest = there.read(there.waiting()[-1])
                assert newest
                assert newest.id == node.ids[-1]
            elif act == "kill":
                (folder / durable.PART).write_text("half")
            elif act == "restart":
                there = Spool(folder, number, lambda _: None)
            elif waiting and act == "deliver":
                known += json.loads((folder / waiting[0]).read_bytes())["dropped"]
                there.remove(waiting[0])
                delivered += 1
            elif waiting and act == "reject":
                there.reject(waiting[0], "a test says so")
                rejected += 1
            left = [json.loads((folder / name).read_bytes()) for name in there.waiting()]
            dropped = known + there.dropped() + sum(each["dropped"] for each in left)
            assert len(left) <= number
            assert [each["id"] for each in left] == node.ids[len(node.ids) - len(left) :]
            assert len(node.taken) == delivered + rejected + len(left) + dropped
        assert all((folder / name).read_text() == "mine" for name in FOREIGN)


def test_the_names_of_a_history_have_one_form() -> None:
    assert history._FORM.fullmatch(history._name(history._moment(START)))
