"""Snapshots in files and folders: the newest of each node, and a line for each thing that is no use.

Those in exported ConfigMaps are in test_facts_exported.
"""

from __future__ import annotations

import os
import re
import socket
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from metis_sentinel import history as sentinel
from pipeline.facts import listing, reading
from pipeline.facts.reading import LINES, Read, read
from pipeline.facts.snapshot import LARGEST
from tests.support.snapshots import NEWEST, NOW, file_name, history, put, small, snapshot, written

NODE, OTHER = "titan-13", "titan-7"
NAME = file_name(NEWEST)
SECOND = NEWEST.replace(microsecond=0)
HOUR = timedelta(hours=1)


def all_of(*places: Path, **options: Any) -> Read:
    found = read(places, NOW, **options)
    assert all(line.isprintable() and len(line) < 500 for line in found.skipped)
    return found


def times(found: Read) -> dict[str, datetime]:
    return {node: each.at for node, each in found.snapshots.items()}


def skipped(place: Path, *lines: str) -> None:
    """Nothing is used, and this is said of what is in the place."""
    found = all_of(place)
    assert not found.snapshots
    assert list(found.skipped) == [line.replace("PLACE", str(place)) for line in lines]


# ------------------------------------------------------------------------------------------ files alone


@pytest.mark.parametrize("name", ["titan-13.json", "snapshot", "a.b"])
def test_a_file_is_a_snapshot_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    found = all_of(put(tmp_path / name, snapshot(NODE)))
    assert times(found) == {NODE: SECOND}
    assert not found.skipped


def test_a_folder_has_files_each_with_a_snapshot(tmp_path: Path) -> None:
    put(tmp_path / "a.json", snapshot(NODE))
    put(tmp_path / "b.json", snapshot(OTHER))
    put(tmp_path / "README.md", "what is here")
    put(tmp_path / ".hidden.json", "half of one")
    put(tmp_path / ".folder/a.json", "nobody looks")
    found = all_of(tmp_path)
    assert [*found.snapshots] == [NODE, OTHER]
    assert not found.skipped


def test_places_may_be_links_as_somebody_named_them(tmp_path: Path) -> None:
    put(tmp_path / "there/a.json", small(NODE))
    put(tmp_path / "b.json", small(OTHER))
    (tmp_path / "folder").symlink_to("there")
    (tmp_path / "file").symlink_to("b.json")
    assert [*all_of(tmp_path / "folder", tmp_path / "file").snapshots] == [NODE, OTHER]


def test_of_several_places_the_newest_of_a_node_counts_and_the_same_one_counts_once(tmp_path: Path) -> None:
    old = put(tmp_path / "old.json", small(NODE, at=NEWEST - HOUR))
    new = put(tmp_path / "new.json", small(NODE))
    again = put(tmp_path / "again/new.json", small(NODE))
    for places in ([old, new, again], [again.parent, new, old]):
        found = all_of(*places)
        assert times(found) == {NODE: SECOND}
        assert not found.skipped


def test_one_node_is_kept_whole(tmp_path: Path) -> None:
    history(tmp_path, [NODE, OTHER], 1)
    found = all_of(tmp_path, whole=NODE)
    assert found.snapshots[NODE].raw == snapshot(NODE)
    assert not found.snapshots[OTHER].raw


# -------------------------------------------------------------------------------------------- histories


def test_of_a_history_only_the_newest_is_opened(tmp_path: Path) -> None:
    history(tmp_path, [NODE, OTHER], 3)
    for file in tmp_path.glob("*/*"):
        if file.name != NAME:
            put(file.with_suffix(".new"), "half of one").rename(file)
    found = all_of(tmp_path)
    assert times(found) == {NODE: SECOND, OTHER: SECOND}
    assert not found.skipped


def test_a_history_is_read_as_a_sentinel_writes_it(tmp_path: Path) -> None:
    for minutes in range(4):
        at = NEWEST - timedelta(minutes=minutes)
        sentinel.write(tmp_path, NODE, written(small(NODE, at=at)), sentinel.Limits(keep=3), at.timestamp())
    found = all_of(tmp_path)
    assert times(found) == {NODE: SECOND}
    assert not found.skipped


def test_a_history_of_one_node_may_be_named_itself(tmp_path: Path) -> None:
    history(tmp_path, [NODE], 3)
    (tmp_path / NODE).rename(tmp_path / "copied")
    found = all_of(tmp_path / "copied")
    assert times(found) == {NODE: SECOND}
    assert not found.skipped


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("20261129T022000Z.json", "20261129T022001Z.json"),
        ("20261129T022000Z.json", "20261129T022000.000001Z.json"),
        ("20261129T022000.123456Z.json", "2026-11-29T02:20:01Z.json"),
        ("2026-11-29T02:19:59Z.json", "20261129T022000Z.json"),
        ("2026-11-29T02:20:00Z.json", "20261129T022000.5Z.json"),
        ("19700101T000000Z.json", "20200101T000000Z.json"),
    ],
)
def test_times_in_names_are_compared_however_they_are_written(tmp_path: Path, older: str, newer: str) -> None:
    put(tmp_path / NODE / older, "half of one")
    put(tmp_path / NODE / newer, small(NODE))
    found = all_of(tmp_path)
    assert times(found) == {NODE: SECOND}
    assert not found.skipped


BAD: Mapping[str, tuple[object, str]] = {
    "truncated": (written(small(NODE))[:-9], "is no JSON, or not all of it"),
    "empty": (b"", "is empty"),
    "not UTF-8": (b'{"node":"\xff"}', "is no JSON, or not all of it"),
    "NUL bytes": (bytes(4096), "is no JSON, or not all of it"),
    "deep": (b"[" * 100_000, "is no JSON, or not all of it"),
    "something else": ({"a": 1}, "is no snapshot"),
    "of a newer format": ({"format": 2}, "is of format 2, and this Metis reads 1: upgrade Metis"),
    "too large": (bytes(LARGEST + 1), "is larger than 4 MiB"),
    "of another node": (
        small(OTHER),
        'says that it is of titan-7, and its folder says "titan-13"',
    ),
    "of 2090": (
        small(NODE, at=datetime(2090, 1, 1, tzinfo=UTC)),
        "is of 2090-01-01T00:00:00Z, which has not come: the clock of the node, or of this machine, is wrong",
    ),
}
ALONE = {name: case for name, case in BAD.items() if name != "of another node"}


@pytest.mark.parametrize(("content", "why"), BAD.values(), ids=BAD.keys())
def test_the_next_newest_is_taken_for_one_that_cannot_be_used(
    tmp_path: Path, content: object, why: str
) -> None:
    put(tmp_path / NODE / NAME, content)
    put(tmp_path / NODE / file_name(NEWEST - HOUR), small(NODE, at=NEWEST - HOUR))
    found = all_of(tmp_path)
    assert times(found) == {NODE: SECOND - HOUR}
    assert list(found.skipped) == [f'{tmp_path}: "{NODE}/{NAME}" {why}']


@pytest.mark.parametrize(("content", "why"), ALONE.values(), ids=ALONE.keys())
def test_a_file_that_cannot_be_used_costs_a_line_and_not_its_neighbour(
    tmp_path: Path, content: object, why: str
) -> None:
    put(tmp_path / "bad.json", content)
    put(tmp_path / "good.json", small(OTHER))
    found = all_of(tmp_path)
    assert [*found.snapshots] == [OTHER]
    assert list(found.skipped) == [f'{tmp_path}: "bad.json" {why}']
    skipped(tmp_path / "bad.json", f"PLACE {why}")


def test_no_more_than_five_are_tried(tmp_path: Path) -> None:
    history(tmp_path, [NODE], 7)
    for number in range(5):
        file = tmp_path / NODE / file_name(NEWEST - number * HOUR)
        file.unlink()
        file.touch()
    found = all_of(tmp_path)
    assert not found.snapshots
    assert len(found.skipped) == 6
    assert found.skipped[-1] == f'{tmp_path}: "{NODE}": of its snapshots only the newest 5 were tried'


def test_snapshots_of_times_to_come_hide_none_behind_them(tmp_path: Path) -> None:
    history(tmp_path, [NODE], 1)
    for number in range(9):
        put(tmp_path / NODE / file_name(datetime(2090, 1, 1, tzinfo=UTC) + number * HOUR), small(NODE))
    found = all_of(tmp_path)
    assert times(found) == {NODE: SECOND}
    assert list(found.skipped) == [
        f'{tmp_path}: "{NODE}" holds 9 snapshots of times to come: '
        "the clock of the node, or of this machine, is wrong"
    ]


def test_a_clock_may_be_ahead_by_less_than_a_day(tmp_path: Path) -> None:
    ahead = NOW + 23 * HOUR
    put(tmp_path / NODE / file_name(ahead), small(NODE, at=ahead))
    found = all_of(tmp_path)
    assert times(found) == {NODE: ahead}
    assert not found.skipped


NEVER_SET = datetime(1970, 1, 1, 0, 5, tzinfo=UTC)


def test_a_clock_that_was_never_set_is_better_than_nothing(tmp_path: Path) -> None:
    put(tmp_path / NODE / NAME, small(NODE, at=NEVER_SET))
    found = all_of(tmp_path)
    assert times(found) == {NODE: NEVER_SET}
    assert list(found.skipped) == [
        "titan-13: its newest snapshot is of 1970-01-01T00:05:00Z: set the node's clock"
    ]


def test_a_clock_that_was_never_set_gives_way_to_any_other(tmp_path: Path) -> None:
    put(tmp_path / "h" / NODE / NAME, small(NODE, at=NEVER_SET))
    put(tmp_path / "h" / NODE / file_name(NEWEST - HOUR), small(NODE, at=NEWEST - HOUR))
    put(tmp_path / "a.json", small(NODE, at=NEVER_SET))
    found = all_of(tmp_path / "h", tmp_path / "a.json")
    assert times(found) == {NODE: SECOND - HOUR}
    assert not found.skipped


def test_folders_without_snapshots_are_named(tmp_path: Path) -> None:
    (tmp_path / "titan-1").mkdir()
    put(tmp_path / "titan-2/latest.json", small("titan-2"))
    put(tmp_path / "titan-3" / NAME, small("titan-3"))
    put(tmp_path / "titan-3/latest.json", small("titan-3"))
    found = all_of(tmp_path)
    assert [*found.snapshots] == ["titan-3"]
    assert list(found.skipped) == [
        f'{tmp_path}: "titan-1" holds no snapshots that are named by their times',
        f'{tmp_path}: "titan-2" holds no snapshots that are named by their times',
        f'{tmp_path}: "titan-3" holds 1 more thing, not named by times',
    ]


# ------------------------------------------------------------------------------- what lies where files should


def a_folder(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        folder = os.open(path.parent, os.O_PATH)  # the path itself may be too long for a socket
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)


def a_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def a_circle(path: Path) -> None:
    path.symlink_to(path.name)


def a_link_out(path: Path) -> None:
    top = path.parents[1] if path.parent.name == NODE else path.parent
    path.symlink_to(put(top.parent / "outside.json", small(NODE)))


def a_link_out_by_dots(path: Path) -> None:
    a_link_out(path)
    path.unlink()
    path.symlink_to(("../../" if path.parent.name == NODE else "../") + "outside.json")


def a_link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


NO_FILES: Mapping[Callable[[Path], None], str] = {
    a_folder: "is a folder",
    a_pipe: "is no regular file",
    a_socket: "cannot be read: no such device or address",
    a_dangling_link: "is a link to nothing",
    a_circle: "cannot be read: too many levels of symbolic links",
    a_link_out: "is a link that leads out of the folder, and is not followed",
    a_link_out_by_dots: "is a link that leads out of the folder, and is not followed",
    a_link_to_a_device: "is a link that leads out of the folder, and is not followed",
}


@pytest.mark.parametrize("name", ["a.json", f"{NODE}/{NAME}"], ids=["flat", "history"])
@pytest.mark.parametrize(("make", "why"), NO_FILES.items(), ids=[make.__name__ for make in NO_FILES])
def test_what_is_no_file_of_the_place_is_skipped(
    tmp_path: Path, make: Callable[[Path], None], why: str, name: str
) -> None:
    place = tmp_path / "place"
    (place / name).parent.mkdir(parents=True)
    make(place / name)
    skipped(place, f'PLACE: "{name}" {why}')


@pytest.mark.parametrize(
    ("make", "why"), [(a_pipe, "is no regular file"), (a_dangling_link, "is not there: name files")]
)
def test_a_place_that_is_no_place_is_skipped(tmp_path: Path, make: Callable[[Path], None], why: str) -> None:
    make(tmp_path / "a.json")
    (line,) = all_of(tmp_path / "a.json").skipped
    assert line.startswith(f"{tmp_path}/a.json {why}")


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    put(tmp_path / "outside" / NAME, small(NODE))
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / NODE).symlink_to("../outside")
    skipped(
        tmp_path / "place", f'PLACE: "{NODE}" is a link to something else than a file, and is not followed'
    )


def mounted(place: Path, names: Mapping[str, object]) -> None:
    """Files as Kubernetes mounts a ConfigMap."""
    real = place / "..2026_11_29_02_20_00.123456789"
    for name, content in names.items():
        put(real / name, content)
        (place / name).symlink_to(f"..data/{name}")
    (place / "..data").symlink_to(real.name)


@pytest.mark.parametrize("name", ["titan-13.json", NAME])
def test_a_mounted_configmap_is_a_folder_of_files(tmp_path: Path, name: str) -> None:
    mounted(tmp_path, {name: small(NODE)})
    found = all_of(tmp_path)
    assert times(found) == {NODE: SECOND}
    assert not found.skipped


def test_a_mounted_configmap_may_lie_in_a_linked_folder(tmp_path: Path) -> None:
    mounted(tmp_path / "there", {"titan-13.json": small(NODE)})
    (tmp_path / "place").symlink_to("there")
    assert [*all_of(tmp_path / "place").snapshots] == [NODE]


def test_a_link_that_is_turned_away_meanwhile_leads_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at where it leads and the opening, a folder on the way becomes a link out."""
    place = tmp_path / "place"
    mounted(place, {"titan-13.json": small(NODE)})
    put(tmp_path / "outside/titan-13.json", small(NODE))
    real, realpath = place / "..2026_11_29_02_20_00.123456789", os.path.realpath

    def turned(path: str, *, strict: bool = False) -> str:
        found = realpath(path, strict=strict)
        if strict:
            real.rename(tmp_path / "away")
            real.symlink_to(tmp_path / "outside")
        return found

    monkeypatch.setattr(os.path, "realpath", turned)
    found = all_of(place)
    assert not found.snapshots
    assert "titan-13.json" in found.skipped[0]


def test_a_file_that_goes_away_meanwhile_costs_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history(tmp_path, [NODE], 2)
    look = listing.listed

    def pruned(folder: int, until: str) -> listing.Listing:
        found = look(folder, until)
        (tmp_path / NODE / NAME).unlink()
        return found

    monkeypatch.setattr(reading, "listed", pruned)
    found = all_of(tmp_path / NODE)
    assert times(found) == {NODE: SECOND - HOUR}
    assert list(found.skipped) == [f'{tmp_path}/{NODE}: "{NAME}" went away meanwhile']


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize(
    "closed", [f"{NODE}/{NAME}", NODE, "a.json"], ids=["a snapshot", "a history", "a file"]
)
def test_what_may_not_be_read_costs_a_line(open_to_all: Path, closed: str) -> None:
    put(open_to_all / NODE / NAME, small(NODE))
    put(open_to_all / "a.json", small(OTHER))
    (open_to_all / closed).chmod(0)
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        found = all_of(open_to_all)
    finally:
        os.seteuid(was)
    (open_to_all / closed).chmod(0o755)
    assert [*found.snapshots] == [NODE if closed == "a.json" else OTHER]
    assert list(found.skipped) == [f'{open_to_all}: "{closed}" cannot be read: permission denied']


HOSTILE_NAMES = {
    "what a terminal obeys": "\x1b]0;x\x07\n.json",
    "markup": "<img src=x onerror=alert(1)>.json",
    "not UTF-8": os.fsdecode(b"\xff\xfe.json"),
    "right to left": "\u202egnp.json",
    "long": "a" * 250 + ".json",
}


@pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES.keys())
@pytest.mark.parametrize("where", ["file", "folder", "link"])
def test_hostile_names_are_escaped_and_cut(tmp_path: Path, name: str, where: str) -> None:
    path = tmp_path / (name if where == "file" else name.removesuffix(".json"))
    if where == "file":
        path.touch()
    elif where == "folder":
        path.mkdir()
    else:
        path.symlink_to("nowhere")
    (line,) = all_of(tmp_path).skipped
    said = line.removeprefix(f"{tmp_path}: ")
    assert said.isascii() or "…" in said
    assert len(re.findall(r'^"(.*)"', said)[0]) < 100


# ---------------------------------------------------------------------------------------- many of them


def test_a_long_history_is_looked_through_in_little_memory(tmp_path: Path) -> None:
    """The names alone would take more than two MiB."""
    history(tmp_path, [NODE], 20_000)
    read([], NOW)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        found = all_of(tmp_path)
        assert tracemalloc.get_traced_memory()[1] - before < 1 << 20
    finally:
        tracemalloc.stop()
    assert times(found) == {NODE: SECOND}
    assert list(found.skipped) == [
        f'{tmp_path}: "{NODE}" holds 20,000 snapshots: let the sentinel keep fewer, --keep'
    ]


def test_of_very_many_files_the_rest_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MOST", 3)
    monkeypatch.setattr(reading, "MOST", 3)
    for number in range(8):
        put(tmp_path / f"{number}.json", small(f"titan-{number}"))
    found = all_of(tmp_path)
    assert len(found.snapshots) == 3
    assert list(found.skipped) == [
        f"{tmp_path} holds more than 3 files or folders: 5 more were not looked at"
    ]


def test_lines_are_bounded(tmp_path: Path) -> None:
    for number in range(LINES + 20):
        put(tmp_path / f"{number:03}.json", b"")
    found = all_of(tmp_path)
    assert len(found.skipped) == LINES + 1
    assert found.skipped[-1] == "and 20 more"


def test_all_together_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "a.json", small(NODE, at=NEWEST - HOUR))
    put(tmp_path / "b.json", small(NODE))
    put(tmp_path / "c.json", small(OTHER))
    monkeypatch.setattr(reading, "LARGEST_OF_ALL", len(written(small(NODE))) + 100)
    found = all_of(tmp_path)
    assert times(found) == {NODE: SECOND}
    assert len(found.skipped) == 1
    assert '"c.json" is left out' in found.skipped[0]
