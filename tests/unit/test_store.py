"""The store gives out only what is still what it was named for."""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path

import pytest

from pipeline.cache import store as store_module
from pipeline.cache.contents import (
    Rotten,
    contents,
    drop_file,
    drop_rotten,
    drop_unfinished,
    recipes,
)
from pipeline.cache.policy import Contents, Held
from pipeline.cache.store import BusyError, Store
from pipeline.errors import UsageError
from pipeline.machine.progress import QuietReporter

CONTENT = b"a golden"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = hashlib.sha256(b"").hexdigest()


@pytest.fixture
def notes() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def store(tmp_path: Path, notes: io.StringIO) -> Store:
    return Store(tmp_path / "cache", QuietReporter(notes))


@pytest.fixture
def held(store: Store) -> Path:
    part = store.partial(SHA256) / "golden"
    part.write_bytes(CONTENT)
    path = store.admit(part, SHA256)
    store.drop_partial(SHA256)
    return path


def test_what_is_admitted_is_found(store: Store, held: Path) -> None:
    assert store.find(SHA256) == held
    assert held.read_bytes() == CONTENT


def test_what_is_not_there_is_not_found(store: Store) -> None:
    assert store.find(SHA256) is None


def test_everything_in_the_store_is_private(store: Store, held: Path) -> None:
    with store.lock(SHA256, "testing"):
        store.remember(OTHER, SHA256)
    modes = {path.stat().st_mode & 0o777 for path in store.root.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (store.root, *store.root.glob("*/"))} == {0o700}


def test_an_untouched_file_is_not_hashed_again(
    store: Store, held: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(store_module, "digest")
    assert store.find(SHA256) == held


@pytest.mark.parametrize("touch", ["times", "mode", "no stamp", "odd stamp"])
def test_a_file_that_only_looks_different_is_hashed_once(
    store: Store, held: Path, monkeypatch: pytest.MonkeyPatch, touch: str
) -> None:
    stamp = held.with_name(f"{held.name}.json")
    match touch:
        case "times":
            os.utime(held, (1, 1))
        case "mode":
            held.chmod(0o400)
        case "no stamp":
            stamp.unlink()
        case _:
            stamp.write_bytes(b"\xff[")
    assert store.find(SHA256) == held
    monkeypatch.delattr(store_module, "digest")
    assert store.find(SHA256) == held


@pytest.mark.parametrize("rotten", [b"a gulden", b"a gold", b""])
def test_a_file_that_rotted_is_removed_and_said_to_be(
    store: Store, held: Path, notes: io.StringIO, rotten: bytes
) -> None:
    held.write_bytes(rotten)
    assert store.find(SHA256) is None
    assert list(held.parent.iterdir()) == []
    assert "rotted in the cache" in notes.getvalue()


def test_rot_is_found_even_when_the_time_is_put_back(store: Store, held: Path) -> None:
    before = held.stat()
    held.write_bytes(CONTENT[::-1])
    os.utime(held, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.find(SHA256) is None


def test_what_came_in_place_of_a_rotten_file_while_that_was_looked_at_is_found(
    store: Store, held: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held.write_bytes(b"a g0lden")

    def digest(path: Path, *_: object) -> str:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != SHA256:  # another thread has found the same, and is faster
            store.remove(SHA256)
            part = store.partial(SHA256) / "golden"
            part.write_bytes(CONTENT)
            store.admit(part, SHA256)
        return found

    monkeypatch.setattr(store_module, "digest", digest)
    assert store.find(SHA256) == held
    assert held.read_bytes() == CONTENT


def test_what_is_unfinished_is_never_found(store: Store) -> None:
    (store.partial(SHA256) / "golden").write_bytes(CONTENT)
    assert store.find(SHA256) is None


def test_what_is_unfinished_can_be_dropped_twice(store: Store) -> None:
    (store.partial(SHA256) / "golden").write_bytes(CONTENT)
    store.drop_partial(SHA256)
    store.drop_partial(SHA256)
    assert list((store.root / "partial").iterdir()) == []


def test_a_recipe_leads_to_what_it_made(store: Store) -> None:
    assert store.recall(OTHER) is None
    store.remember(OTHER, SHA256)
    assert store.recall(OTHER) == SHA256


def test_a_damaged_memory_is_none(store: Store) -> None:
    store.remember(OTHER, SHA256)
    (store.root / "names" / OTHER).write_bytes(b"../../etc/passwd\xff")
    assert store.recall(OTHER) is None


@pytest.mark.parametrize(
    "key", ["", "..", "../../etc/passwd", "a" * 63, "A" * 64, "a" * 65, "g" * 64, "a" * 64 + "\n"]
)
def test_only_a_hash_becomes_a_path(store: Store, key: str) -> None:
    asks = [
        store.path,
        store.find,
        store.about,
        store.remove,
        store.partial,
        store.drop_partial,
        store.recall,
    ]
    for ask in asks:
        with pytest.raises(UsageError, match="is not a SHA-256"):
            ask(key)
    with pytest.raises(UsageError), store.lock(key, "testing"):
        pass
    with pytest.raises(UsageError):
        store.remember(SHA256, key)


# ------------------------------------------------------------------------------ what is known of a file


def side_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def test_where_a_file_came_from_is_kept_with_it(store: Store) -> None:
    part = store.partial(SHA256) / "golden"
    part.write_bytes(CONTENT)
    path = store.admit(part, SHA256, "file:golden.img")
    path.chmod(0o400)  # looks different: its stamp is written again
    assert store.find(SHA256) == path
    about = store.about(SHA256)
    assert about is not None
    assert (about.key, about.size, about.origin) == (SHA256, len(CONTENT), "file:golden.img")


def test_a_file_whose_stamp_names_no_source_is_not_hashed_again(
    store: Store, held: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "origin" not in json.loads(side_of(held).read_bytes())
    monkeypatch.delattr(store_module, "digest")
    assert store.find(SHA256) == held
    assert store.about(SHA256) == Held(SHA256, len(CONTENT), side_of(held).stat().st_mtime)


@pytest.mark.parametrize("written", ["[]", "3", '{"origin": ["x"]}', '{"origin": null}', "{", "\udcff"])
def test_a_stamp_of_another_shape_names_no_source(store: Store, held: Path, written: str) -> None:
    side_of(held).write_bytes(written.encode(errors="surrogateescape"))
    about = store.about(SHA256)
    assert about is not None
    assert about.origin == ""
    assert store.find(SHA256) == held


def test_use_is_marked_and_leaves_the_file_as_it_looked(store: Store, held: Path) -> None:
    os.utime(side_of(held), (1, 1))
    before = store_module.stamp(held)
    assert store.find(SHA256) == held
    about = store.about(SHA256)
    assert about is not None
    assert about.used > 1
    assert store_module.stamp(held) == before


def test_where_use_cannot_be_marked_the_file_is_found_all_the_same(
    store: Store, held: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(os, "utime", refuse)
    assert store.find(SHA256) == held


def test_a_link_has_no_use_marked_on_what_it_leads_to(store: Store, held: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    side_of(held).rename(elsewhere)
    side_of(held).symlink_to(elsewhere)
    os.utime(elsewhere, (1, 1))
    assert store.find(SHA256) == held
    assert elsewhere.stat().st_mtime == 1


# --------------------------------------------------------------------------------------- what leaves it


def test_where_there_is_no_store_there_is_nothing_in_it(store: Store) -> None:
    assert contents(store) == Contents((), ())
    assert recipes(store) == {}
    assert not store.root.exists()


def test_what_is_there_is_listed_by_its_keys(store: Store, held: Path) -> None:
    part = store.partial(OTHER)
    (part / "tree").mkdir()
    (part / "golden").write_bytes(b"half")
    (part / "tree" / "more").write_bytes(b"1")
    (part / "out").symlink_to("/etc/passwd")
    for path, moment in ((part / "golden", 5), (part / "tree" / "more", 9), (part / "tree", 3), (part, 4)):
        os.utime(path, (moment, moment))
    os.utime(part / "out", (7, 7), follow_symlinks=False)
    found = contents(store)
    assert found.files == (Held(SHA256, len(CONTENT), side_of(held).stat().st_mtime),)
    assert found.unfinished == (Held(OTHER, 5, 9.0),)
    assert found.size == len(CONTENT) + 5


def test_what_has_no_business_in_the_store_is_not_listed(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"x")
    for folder in ("sha256", "partial"):
        (store.root / folder).mkdir(parents=True, mode=0o700)
        (store.root / folder / "README").write_bytes(b"x")
        (store.root / folder / f"{OTHER}.part").write_bytes(b"x")
    (store.root / "sha256" / SHA256).symlink_to(outside / "file")
    (store.root / "sha256" / OTHER).mkdir()
    (store.root / "partial" / SHA256).symlink_to(outside)
    (store.root / "partial" / OTHER).write_bytes(b"x")
    os.mkfifo(store.root / "sha256" / ("a" * 64))
    assert contents(store) == Contents((), ())


def test_the_recipes_of_a_file_are_known_by_its_hash(store: Store, held: Path) -> None:
    for recipe in (OTHER, "a" * 64):
        store.remember(recipe, SHA256)
    store.remember("b" * 64, "c" * 64)
    assert recipes(store) == {SHA256: ("a" * 64, OTHER), "c" * 64: ("b" * 64,)}


def test_a_file_and_a_download_can_be_dropped(store: Store, held: Path) -> None:
    (store.partial(OTHER) / "golden").write_bytes(b"half")
    there = contents(store)
    assert drop_file(store, there.files[0], (OTHER,))
    assert drop_unfinished(store, there.unfinished[0])
    assert contents(store) == Contents((), ())
    assert list(held.parent.iterdir()) == []


@pytest.mark.parametrize("locked", [SHA256, OTHER])
def test_what_somebody_works_on_is_not_dropped_and_not_waited_for(
    store: Store, held: Path, notes: io.StringIO, locked: str
) -> None:
    (store.partial(locked) / "golden").write_bytes(b"half")
    there = contents(store)
    with store.lock(locked, "testing"):
        assert not drop_file(store, there.files[0], (OTHER,))
        assert not drop_unfinished(store, there.unfinished[0])
    assert contents(store) == there
    assert notes.getvalue() == ""


def test_what_was_used_or_written_to_meanwhile_is_not_dropped(store: Store, held: Path) -> None:
    part = store.partial(OTHER) / "golden"
    part.write_bytes(b"half")
    os.utime(side_of(held), (1, 1))
    there = contents(store)
    store.find(SHA256)
    part.write_bytes(b"more of it")
    assert not drop_file(store, there.files[0], ())
    assert not drop_unfinished(store, there.unfinished[0])
    assert held.exists()
    assert part.exists()


def test_what_is_gone_already_is_not_dropped(store: Store, held: Path) -> None:
    (store.partial(OTHER) / "golden").write_bytes(b"half")
    there = contents(store)
    store.remove(SHA256)
    store.drop_partial(OTHER)
    assert not drop_file(store, there.files[0], ())
    assert not drop_unfinished(store, there.unfinished[0])
    assert drop_rotten(store, there.files[0], lambda _: None) is None


def test_a_link_in_a_download_is_removed_and_not_followed(store: Store, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(b"x")
    (store.partial(OTHER) / "out").symlink_to(tmp_path / "outside")
    assert drop_unfinished(store, contents(store).unfinished[0])
    assert (tmp_path / "outside" / "file").exists()


def test_a_lock_that_is_free_is_taken_and_one_that_is_not_is_refused(store: Store) -> None:
    with store.lock_if_free(SHA256), pytest.raises(BusyError), store.lock_if_free(SHA256):
        pass


def test_a_whole_file_is_not_rotten_however_it_looks(store: Store, held: Path) -> None:
    os.utime(held, (1, 1))
    os.utime(side_of(held), (1, 1))
    (there,) = contents(store).files
    done: list[int] = []
    assert drop_rotten(store, there, done.append) is None
    assert sum(done) == len(CONTENT)
    assert contents(store).files == (there,)


def test_rot_that_the_stamp_does_not_show_is_found(store: Store, held: Path) -> None:
    held.write_bytes(b"a gulden")
    side_of(held).write_bytes(json.dumps(store_module.stamp(held)).encode())
    assert store.find(SHA256) == held
    (there,) = contents(store).files
    found = hashlib.sha256(b"a gulden").hexdigest()
    assert drop_rotten(store, there, lambda _: None) == Rotten(there, found)
    assert list(held.parent.iterdir()) == []


def test_a_file_that_came_in_place_of_a_rotten_one_stays(store: Store, held: Path) -> None:
    held.write_bytes(b"a gulden")
    (there,) = contents(store).files

    def fetched_again(_count: int) -> None:
        part = store.partial(SHA256) / "golden"
        part.write_bytes(CONTENT)
        store.admit(part, SHA256)

    assert drop_rotten(store, there, fetched_again) is None
    assert held.read_bytes() == CONTENT
