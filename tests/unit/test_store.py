"""The store gives out only what is still what it was named for."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import pytest

from pipeline import store as store_module
from pipeline.errors import UsageError
from pipeline.progress import QuietReporter
from pipeline.store import Store

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
    return store.admit(part, SHA256)


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
    asks = [store.path, store.find, store.remove, store.partial, store.drop_partial, store.recall]
    for ask in asks:
        with pytest.raises(UsageError, match="is not a SHA-256"):
            ask(key)
    with pytest.raises(UsageError), store.lock(key, "testing"):
        pass
    with pytest.raises(UsageError):
        store.remember(SHA256, key)
