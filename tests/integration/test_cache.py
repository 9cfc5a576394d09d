"""`metis cache`: what the inventory needs stays, the rest goes as asked, and what rotted is found."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.cache.store import Store
from pipeline.golden.debian.recipe import recipe_key
from pipeline.golden.fetch import fetched
from pipeline.golden.source import Wanted
from pipeline.machine.progress import QuietReporter
from tests.support.fetching import means
from tests.support.lab import Lab, Report

DAY = 86_400
NAMES = "own parent spare file state override receipt made stranger".split()
"""Files of the lab by who needs them; nobody does the last."""
NEEDED_BY = {
    "own": ["class pi"],
    "parent": ["class base", "class heir"],
    "spare": ["class spare"],
    "file": ["class pi"],
    "state": ["node alone"],
    "override": ["class pi"],
    "receipt": ["class demo"],
    "made": ["class demo"],
    "stranger": [],
}
OVERRIDE = {"METIS_IMAGE_PI": "file:override"}


@dataclass(frozen=True, slots=True)
class Cache:
    """A lab whose cache holds what the test has put there."""

    lab: Lab
    store: Store

    def put(self, name: str, *, size: int = 1000, days: float = 0) -> str:
        """Fetch a file that was last used so many days ago; gives its hash."""
        content = name.encode().ljust(size)
        sha256 = hashlib.sha256(content).hexdigest()
        self.lab.write(name, "").write_bytes(content)
        fetched(Wanted(f"file:{name}", sha256, "amd64"), means(self.lab.inventory, self.store.root))
        moment = time.time() - days * DAY
        os.utime(self.store.path(sha256).with_name(f"{sha256}.json"), (moment, moment))
        return sha256

    def begin(self, key: str, *, size: int = 500, days: float = 0) -> Path:
        """Leave a download unfinished that was last written to so many days ago."""
        part = self.store.partial(key) / "golden"
        part.write_bytes(bytes(size))
        moment = time.time() - days * DAY
        for path in (part, part.parent):
            os.utime(path, (moment, moment))
        return part.parent

    def there(self) -> set[str]:
        """The hashes of the files that are in the cache."""
        names = os.listdir(self.store.root / "sha256")  # noqa: PTH208
        return {name for name in names if not name.endswith(".json")}

    def metis(self, *words: str, **extra: str) -> Report:
        return self.lab.metis("cache", *words, **extra)

    def data(self, *words: str, **extra: str) -> Any:
        report = self.metis(*words, "--json", **extra)
        assert report.code == 0, report.err
        return json.loads(report.out)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """A lab of one class, whose golden is in the cache: `own`."""
    lab = Lab(tmp_path, {"METIS_CACHE": str(tmp_path / "cache")})
    cache = Cache(lab, Store(tmp_path / "cache", QuietReporter()))
    lab.write("nodes/one.yaml", "class: pi\n")
    lab.write("classes/pi.yaml", class_of(cache.put("own", days=100)))
    return cache


def class_of(sha256: str, more: str = "") -> str:
    return f"arch: arm64\nos: debian\nimage: {{source: 'file:own', sha256: {sha256}}}\n{more}"


@pytest.fixture
def hashes(cache: Cache) -> dict[str, str]:
    """An inventory that needs all but one of the files in its cache, each in another way."""
    found = {name: cache.put(name, days=100) for name in NAMES}
    files = f"[{{path: /opt/file, source: 'file:file', sha256: {found['file']}}}]"
    image = "image: {{source: 'file:x', sha256: {}}}\n"
    restore = f"{{database: 'file:state', sha256: {found['state']}}}"
    for file, text in {
        "cluster.yaml": "k3s: {datastore: sqlite}\n",
        "classes/pi.yaml": class_of(found["own"], f"files: {files}\n"),
        "classes/base.yaml": "abstract: true\n" + image.format(found["parent"]),
        "classes/heir.yaml": "extends: base\narch: amd64\nos: debian\n",
        "classes/spare.yaml": "abstract: true\n" + image.format(found["spare"]),
        "classes/demo.yaml": "arch: amd64\nos: debian\nimage: {source: 'debian:bookworm'}\n",
        "nodes/alone.yaml": f"class: pi\nk3s: {{role: server, restore: {restore}}}\n",
    }.items():
        cache.lab.write(file, text)
    receipt = cache.lab.artifacts / "golden" / "demo.receipt.json"
    receipt.parent.mkdir(parents=True)
    receipt.write_text(json.dumps({"sha256": found["receipt"]}))
    cache.store.remember(recipe_key("bookworm"), found["made"])
    cache.lab.environment |= OVERRIDE | {"METIS_IMAGE_PI_SHA256": found["override"]}
    return found


# ---------------------------------------------------------------------------------------------- list


def test_the_list_says_who_uses_each_file(cache: Cache, hashes: Mapping[str, str]) -> None:
    listed = {item["key"]: item for item in cache.data("list")["files"]}
    assert {name: listed[sha256]["used_by"] for name, sha256 in hashes.items()} == NEEDED_BY


def test_the_list_says_how_large_and_how_old_things_are_and_where_they_came_from(cache: Cache) -> None:
    key = cache.put("stranger", size=3 << 20, days=3)
    cache.begin("ab" * 32, size=2048)
    report = cache.metis("list")
    assert report.code == 0
    assert report.err == ""
    lines = [line.split("  ") for line in report.out.splitlines()]
    rows = [[cell.strip() for cell in line if cell] for line in lines]
    assert [key[:12], "3.0 MiB", "3 days ago", "nobody", "file:stranger"] in rows
    assert ["abababababab", "2.0 KiB", "less than a minute ago", "nobody", "unfinished"] in rows
    total = f"{cache.store.root}: 2 files and 1 unfinished download, 3.0 MiB"
    assert report.out.splitlines()[-1] == total


def test_the_list_for_machines_holds_the_same(cache: Cache) -> None:
    key = cache.put("stranger")
    cache.begin("ab" * 32)
    data = cache.data("list")
    (stranger,) = [item for item in data["files"] if item["key"] == key]
    assert (stranger["size"], stranger["origin"], stranger["used_by"]) == (1000, "file:stranger", [])
    assert [(item["key"], item["size"]) for item in data["unfinished"]] == [("ab" * 32, 500)]
    assert (data["size"], data["cache"]) == (2500, str(cache.store.root))


@pytest.mark.parametrize("words", [["list"], ["prune", "--unused", "--dry-run"]], ids="-".join)
def test_what_only_tells_changes_nothing(cache: Cache, words: list[str]) -> None:
    cache.put("stranger", days=9)
    cache.begin("ab" * 32, days=9)
    before = dict(looks(cache.lab.root))
    assert cache.metis(*words).code == 0
    assert dict(looks(cache.lab.root)) == before


def looks(folder: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    for path in folder.rglob("*"):
        about = path.lstat()
        yield str(path), (about.st_ctime_ns, about.st_ino)


@pytest.mark.parametrize("words", [["list"], ["verify"], ["prune", "--older-than", "1d"]], ids=" ".join)
def test_a_cache_that_is_not_there_holds_nothing_and_is_not_made(cache: Cache, words: list[str]) -> None:
    elsewhere = cache.lab.root / "nowhere"
    report = cache.metis(*words, METIS_CACHE=str(elsewhere))
    assert (report.code, report.err) == (0, "")
    assert "0 files, 0 bytes" in report.out
    assert not elsewhere.exists()


def test_what_a_source_is_called_cannot_move_the_terminal(cache: Cache) -> None:
    key = cache.put("stranger")
    side = cache.store.path(key).with_name(f"{key}.json")
    side.write_text(json.dumps(json.loads(side.read_text()) | {"origin": "\x1b[2J\nown"}))
    assert "\\x1b[2J own" in cache.metis("list").out


# -------------------------------------------------------------------------------------- what is needed


@pytest.mark.parametrize("limit", [["--unused"], ["--older-than", "1d"], ["--max-size", "0"]], ids=" ".join)
def test_nothing_goes_that_the_inventory_needs(
    cache: Cache, hashes: Mapping[str, str], limit: list[str]
) -> None:
    data = cache.data("prune", *limit)
    assert [item["key"] for item in data["removed"]["files"]] == [hashes["stranger"]]
    assert cache.there() == set(hashes.values()) - {hashes["stranger"]}
    assert data["left"] == data["needed"] == 1000 * len(cache.there())


def test_without_its_variable_the_golden_that_it_named_is_not_needed(
    cache: Cache, hashes: Mapping[str, str]
) -> None:
    for name in ("METIS_IMAGE_PI", "METIS_IMAGE_PI_SHA256"):
        del cache.lab.environment[name]
    removed = cache.data("prune", "--unused")["removed"]["files"]
    assert {item["key"] for item in removed} == {hashes["stranger"], hashes["override"]}


BROKEN = {
    "a class": ("classes/pi.yaml", "arch: [\n"),
    "a class that nobody uses": ("classes/other.yaml", "extends: nothing\n"),
    "a node": ("nodes/one.yaml", "class: pi\nk3s: {role: boss}\n"),
    "a name": ("nodes/é.yaml", "class: pi\n"),
}


@pytest.mark.parametrize(("file", "text"), BROKEN.values(), ids=BROKEN)
def test_an_inventory_that_is_invalid_lets_nothing_go(cache: Cache, file: str, text: str) -> None:
    cache.put("stranger", days=100)
    cache.begin("ab" * 32, days=100)
    cache.lab.write(file, text)
    before = dict(looks(cache.store.root))
    report = cache.metis("prune", "--unused")
    assert (report.code, report.out) == (2, "")
    assert "nothing is removed, as what the inventory needs cannot be told" in report.err
    assert f"metis: {file}" in report.err
    assert dict(looks(cache.store.root)) == before


def test_where_there_is_no_inventory_nothing_goes(cache: Cache) -> None:
    before = dict(looks(cache.store.root))
    report = cache.metis("prune", "--unused", METIS_INVENTORY=str(cache.lab.root / "nowhere"))
    assert (report.code, report.out) == (2, "")
    assert dict(looks(cache.store.root)) == before


def test_a_receipt_that_cannot_be_read_lets_nothing_go(cache: Cache) -> None:
    receipt = cache.lab.artifacts / "golden" / "pi.receipt.json"
    receipt.parent.mkdir(parents=True)
    receipt.write_text("[]")
    before = dict(looks(cache.store.root))
    report = cache.metis("prune", "--unused")
    assert report.code == 1
    assert f"metis: {receipt} names no golden: remove it and run again" in report.err
    assert dict(looks(cache.store.root)) == before


def test_of_an_invalid_inventory_the_list_says_what_it_can(cache: Cache) -> None:
    key = cache.put("stranger")
    cache.lab.write("classes/other.yaml", "extends: nothing\n")
    report = cache.metis("list")
    assert report.code == 0
    assert "not all that the inventory uses can be told:\nclasses/other.yaml:1: " in report.err
    (row,) = [line.split() for line in report.out.splitlines() if line.startswith(key[:12])]
    assert row[-2:] == ["?", "file:stranger"]
    assert {tuple(item["used_by"] or "?") for item in cache.data("list")["files"]} == {("?",), ("class pi",)}


# ------------------------------------------------------------------------------------- by age and by size


@pytest.mark.parametrize(
    ("limits", "gone"),
    [
        (["--older-than", "30d"], ["older", "old"]),
        (["--older-than", "1200h"], ["older"]),
        (["--max-size", "3K"], ["older"]),
        (["--max-size", "2K"], ["older", "old"]),
        (["--older-than", "50d", "--max-size", "2K"], ["older", "old"]),
        (["--older-than", "90d"], []),
    ],
    ids=str,
)
def test_what_was_used_least_recently_goes_first(cache: Cache, limits: list[str], gone: list[str]) -> None:
    hashes = {name: cache.put(name, days=days) for name, days in (("new", 1), ("old", 40), ("older", 60))}
    data = cache.data("prune", *limits)
    assert [item["key"] for item in data["removed"]["files"]] == [hashes[name] for name in gone]
    assert data["removed"]["size"] == 1000 * len(gone)
    assert data["left"] == 4000 - data["removed"]["size"]
    assert len(cache.there()) == 4 - len(gone)


def test_what_a_build_has_used_is_not_old(cache: Cache) -> None:
    key = cache.put("stranger", days=40)
    assert cache.store.find(key)
    assert cache.data("prune", "--older-than", "1h")["removed"]["files"] == []


def test_what_goes_is_said_with_its_size_and_what_is_left(cache: Cache) -> None:
    key = cache.put("stranger", size=2048, days=40)
    report = cache.metis("prune", "--older-than", "30d", "--dry-run")
    assert report.out.splitlines() == [
        f"{key[:12]}  2.0 KiB  40 days ago  file:stranger",
        "would be removed: 1 file, 2.0 KiB; 1000 bytes left",
    ]
    assert cache.metis("prune", "--older-than", "30d").out == report.out.replace("would be ", "")


def test_a_limit_that_cannot_be_reached_is_said_with_what_is_needed(cache: Cache) -> None:
    cache.put("stranger")
    report = cache.metis("prune", "--max-size", "500")
    assert report.code == 0
    assert "removed: 1 file, 1000 bytes; 1000 bytes left" in report.out
    assert report.err == "1000 bytes is more than 500 bytes: the inventory needs 1000 bytes of it\n"


@pytest.mark.parametrize(
    ("limits", "gone"),
    [
        (["--unused"], ["days"]),
        (["--max-size", "1G"], ["days"]),
        (["--older-than", "1h"], ["days", "hours"]),
        (["--older-than", "30d"], []),
    ],
    ids=str,
)
def test_downloads_that_nobody_goes_on_with_are_removed(
    cache: Cache, limits: list[str], gone: Iterable[str]
) -> None:
    keys = {"days": "ab" * 32, "hours": "cd" * 32}
    for name, days in (("days", 2), ("hours", 0.1)):
        cache.begin(keys[name], days=days)
    data = cache.data("prune", *limits)
    assert [item["key"] for item in data["removed"]["unfinished"]] == [keys[name] for name in gone]
    left = {path.name for path in (cache.store.root / "partial").iterdir()}
    assert left == {keys[name] for name in keys if name not in gone}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing says what is to go: say --older-than 30d, --max-size 20G, or --unused"),
        (["--dry-run"], "nothing says what is to go"),
        (["--unused", "--older-than", "1d"], "--unused is for all ages and sizes"),
        (["--older-than", "30"], "--older-than is '30': write it as 30d, 12h or 90m"),
        (["--older-than", ""], "--older-than is ''"),
        (["--max-size", "many"], "--max-size is 'many': write it as 20G or 500M"),
        (["--max-size", "-1"], "--max-size is '-1'"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_removes_nothing(cache: Cache, words: list[str], said: str) -> None:
    cache.put("stranger", days=99)
    report = cache.metis("prune", *words)
    assert (report.code, report.out, report.err.count("\n")) == (2, "", 1)
    assert said in report.err
    assert len(cache.there()) == 2


# ------------------------------------------------------------------------------------------- in use, and odd


@pytest.mark.parametrize("held", ["its hash", "its recipe"])
def test_what_another_process_works_on_stays(cache: Cache, held: str) -> None:
    key, recipe = cache.put("stranger", days=99), "ef" * 32
    cache.store.remember(recipe, key)
    lock = key if held == "its hash" else recipe
    cache.begin(lock, days=99)
    with cache.store.lock(lock, "testing"):
        report = cache.metis("prune", "--unused")
    assert report.code == 0
    assert "removed: 0 files, 0 bytes; 2.4 KiB left" in report.out
    assert report.err == f"{key[:12]} is in use, and stays\n{lock[:12]} is in use, and stays\n"
    assert key in cache.there()
    assert (cache.store.root / "partial" / lock).exists()


def test_what_is_strange_in_the_cache_is_neither_touched_nor_followed(cache: Cache) -> None:
    outside = cache.lab.root / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"precious")
    os.utime(outside / "file", (1, 1))
    (cache.store.root / "partial").mkdir(exist_ok=True)
    for folder in ("sha256", "partial"):
        (cache.store.root / folder / "notes.txt").write_bytes(b"mine")
        (cache.store.root / folder / ("ab" * 32)).symlink_to(outside)
        (cache.store.root / folder / ("cd" * 32)).symlink_to(outside / "file")
        (cache.store.root / folder / ("ef" * 32)).symlink_to("nowhere")
    (cache.store.root / "sha256" / ("0" * 64)).mkdir()
    before = dict(looks(cache.lab.root))
    for words in (["list"], ["prune", "--unused"], ["prune", "--older-than", "0d"], ["verify"]):
        report = cache.metis(*words)
        assert (report.code, report.err) == (0, "")
    assert dict(looks(cache.lab.root)) == before


def test_what_cannot_be_removed_is_said_and_keeps_nothing_else_back(cache: Cache) -> None:
    keys = sorted(cache.put(name) for name in ("one", "other"))
    lock = cache.store.root / "locks" / keys[0]
    lock.unlink()
    lock.mkdir()
    report = cache.metis("prune", "--unused")
    assert (report.code, report.err) == (1, f"metis: {lock}: is a directory\n")
    assert cache.there() & set(keys) == {keys[0]}


# ---------------------------------------------------------------------------------------------- verify


def test_what_rotted_is_named_and_removed(cache: Cache) -> None:
    key = cache.put("stranger")
    cache.store.path(key).write_bytes(b"rot")
    report = cache.metis("verify")
    assert (report.code, report.out) == (4, "")
    rot = hashlib.sha256(b"rot").hexdigest()
    assert report.err == (
        f"metis: {cache.store.path(key)} rotted in the cache and is removed: its SHA-256 is {rot} now: "
        "whoever needs it fetches it again\n"
    )
    assert key not in cache.there()
    after = cache.metis("verify")
    assert (after.code, after.out) == (0, f"{cache.store.root}: 1 file, 1000 bytes: nothing has rotted\n")


def test_each_file_that_rotted_has_its_line_and_its_place_in_the_json(cache: Cache) -> None:
    keys = sorted(cache.put(name) for name in ("one", "other"))
    for key in keys:
        cache.store.path(key).write_bytes(b"rot")
    report = cache.metis("verify", "--json")
    assert (report.code, report.err.count("\n")) == (4, 2)
    data = json.loads(report.out)
    assert data["checked"] == 3
    assert [item["key"] for item in data["rotten"]] == keys
    assert {item["found"] for item in data["rotten"]} == {hashlib.sha256(b"rot").hexdigest()}


def test_rot_that_cannot_be_removed_is_named_all_the_same(cache: Cache) -> None:
    key = cache.put("stranger")
    cache.store.path(key).write_bytes(b"rot")
    lock = cache.store.root / "locks" / key
    lock.unlink()
    lock.mkdir()
    report = cache.metis("verify", "--json")
    assert report.code == 4
    assert f"{key} rotted in the cache and cannot be removed: its SHA-256 is " in report.err
    assert report.err.endswith(f" now: {lock}: is a directory\n")
    assert [item["removed"] for item in json.loads(report.out)["rotten"]] == [False]


def test_verifying_counts_as_no_use(cache: Cache) -> None:
    key = cache.put("stranger", days=40)
    assert cache.metis("verify", METIS_INVENTORY=str(cache.lab.root / "nowhere")).code == 0
    removed = cache.data("prune", "--older-than", "30d")["removed"]["files"]
    assert [item["key"] for item in removed] == [key]
