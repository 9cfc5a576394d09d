"""An image made on another disk arrives as it was made, by few bytes where nothing speaks against that."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO

import pytest

from pipeline.cache.policy import DAY
from pipeline.cache.store import Store
from pipeline.errors import MetisError, MismatchError
from pipeline.inject import stream
from pipeline.inject.direct import DirectInjector
from pipeline.inject.sources import no_secrets
from pipeline.machine import process
from pipeline.machine.progress import Advance
from pipeline.model import Blob, Edit, File, Manifest, Placed, Text
from pipeline.raw import sparse
from pipeline.raw.ranges import BLOCK, PIECE
from pipeline.secrets.keyring import Revealed
from pipeline.steps import build, delivery, receipts
from pipeline.steps.artifacts import bmap_of, receipt_of

NOW = 1_796_000_000
"""A time, in seconds since 1970."""
PLACES = {"root": 1, "boot": None}


class Steps:
    """Counts the bytes of each step."""

    def __init__(self) -> None:
        self.bytes: dict[str, int] = {}

    @contextmanager
    def step(self, label: str, total: int | None = None) -> Iterator[Advance]:
        name = label.partition(": ")[2]
        self.bytes.setdefault(name, 0)

        def advance(count: int) -> None:
            self.bytes[name] += count

        yield advance

    def note(self, line: str) -> None:
        raise AssertionError(line)


@pytest.fixture
def steps() -> Steps:
    return Steps()


@pytest.fixture
def base(tmp_path: Path, tiny_golden: Path) -> Path:
    """A base where its run has it."""
    return made(tiny_golden, tmp_path / "far/base.img")


@pytest.fixture
def store(tmp_path: Path, steps: Steps) -> Store:
    """The cache of a worker."""
    return Store(tmp_path / "near", steps)


def made(source: Path, target: Path, *changes: tuple[int, bytes]) -> Path:
    """A copy with its block map and receipt, as a build leaves them, that was written to in some places."""
    target.parent.mkdir(exist_ok=True)
    part = target.with_name("part")
    sparse.copy(source, part)
    write(part, *changes)
    receipts.finish(part, target, target.stem, {"golden": "ab" * 32}, PLACES, Steps())
    return target


def write(file: Path, *changes: tuple[int, bytes]) -> None:
    with file.open("r+b") as opened:
        for place, data in changes:
            opened.seek(place)
            opened.write(data)


def is_whole(image: Path) -> bool:
    return receipts.is_whole(image, deep=True, reporter=Steps())


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


# ----------------------------------------------------------------------------------------- the base


def test_a_base_is_fetched_once_and_private(base: Path, store: Store, steps: Steps) -> None:
    own = delivery.fetched(base, store, steps)
    assert own.read_bytes() == base.read_bytes()
    assert is_whole(own)
    assert {path.stat().st_mode & 0o777 for path in (own, bmap_of(own), receipt_of(own))} == {0o600}
    assert own.parent.stat().st_mode & 0o777 == 0o700
    steps.bytes.clear()
    assert delivery.fetched(base, store, steps) == own
    assert steps.bytes == {}


def test_a_base_that_was_made_again_is_another(base: Path, store: Store, steps: Steps) -> None:
    """Its id says what it was made from; its file systems have new times all the same."""
    first = delivery.fetched(base, store, steps)
    again = made(base, base, (2 * PIECE, b"later"))
    second = delivery.fetched(again, store, steps)
    assert second != first
    assert second.read_bytes() == again.read_bytes()


def test_a_copy_that_rotted_is_fetched_again(base: Path, store: Store, steps: Steps) -> None:
    own = delivery.fetched(base, store, steps)
    write(own, (2 * PIECE, b"rot"))
    assert delivery.fetched(base, store, steps) == own
    assert own.read_bytes() == base.read_bytes()


def test_a_base_that_is_not_what_its_map_says_is_not_kept(base: Path, store: Store, steps: Steps) -> None:
    write(base, (2 * PIECE, b"rot"))
    with pytest.raises(MismatchError, match="is not what its block map says"):
        delivery.fetched(base, store, steps)
    assert names(store.root / "bases") == set()


def test_a_base_without_a_receipt_is_none(base: Path, store: Store, steps: Steps) -> None:
    receipt_of(base).unlink()
    with pytest.raises(MetisError, match="has no receipt"):
        delivery.fetched(base, store, steps)


@pytest.mark.parametrize(("days", "stays"), [(1, True), (3, False)])
def test_what_was_not_used_for_two_days_makes_room(
    base: Path, store: Store, steps: Steps, *, days: int, stays: bool
) -> None:
    old = delivery.fetched(base, store, steps)
    for file in (receipt_of(old), old):
        when = file.stat().st_mtime - days * DAY
        os.utime(file, (when, when))
    new = delivery.fetched(made(base, base, (2 * PIECE, b"later")), store, steps)
    files = {path.name for own in (old, new) for path in (own, bmap_of(own), receipt_of(own))}
    if not stays:
        files = {path.name for path in (new, bmap_of(new), receipt_of(new))}
    assert names(new.parent) == files


# ---------------------------------------------------------------------------------------- the image


CHANGES = [(2 * PIECE + 17, b"other"), (3 * PIECE, bytes(PIECE)), (9 * PIECE - 2, b"over the edge")]


@pytest.fixture
def image(base: Path, store: Store, steps: Steps, tmp_path: Path) -> Path:
    """An image of a worker, made of its copy of the base."""
    (tmp_path / "far/order").mkdir()
    return made(delivery.fetched(base, store, steps), tmp_path / "near/node.img", *CHANGES)


def delivered(image: Path, base: Path, store: Store, steps: Steps) -> Path:
    (own,) = (store.root / "bases").glob("*.img")
    target = base.parent / "order/node.img"
    delivery.deliver(image, own, base, target, steps)
    return target


def nothing(_: Path) -> None:
    pass


def touch(base: Path) -> None:
    os.utime(base, ns=(0, 0))


def rot(base: Path) -> None:
    write(base, (5 * PIECE, b"rot"))


def replace(base: Path) -> None:
    made(base, base, (5 * PIECE, b"later"))


def lose(base: Path) -> None:
    receipt_of(base).unlink()
    base.unlink()


@pytest.mark.parametrize(
    ("happens", "is_little"), [(nothing, True), *((each, False) for each in (touch, rot, replace, lose))]
)
def test_an_image_arrives_as_it_was_made_whatever_became_of_the_base(
    image: Path, base: Path, store: Store, steps: Steps, happens: Callable[[Path], None], *, is_little: bool
) -> None:
    happens(base)
    target = delivered(image, base, store, steps)
    assert target.read_bytes() == image.read_bytes()
    assert bmap_of(target).read_bytes() == bmap_of(image).read_bytes()
    receipt = receipts.read(target)
    assert receipt is not None
    assert receipts.looks_as(target, receipt)
    assert is_whole(target)
    assert names(target.parent) == {path.name for path in (target, bmap_of(target), receipt_of(target))}
    assert (steps.bytes["delivering"] <= 4 * BLOCK + PIECE) == is_little


def test_it_is_what_would_have_been_made_where_it_belongs(
    base: Path, store: Store, steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = process.environment
    # Else files, and the file systems themselves, say when they were written to.
    clock = {"E2FSPROGS_FAKE_TIME": str(NOW)}
    monkeypatch.setattr(process, "environment", lambda extra=None: {**real(extra), **clock})
    monkeypatch.setattr(stream, "time", SimpleNamespace(time=lambda: NOW))
    entries = (
        File("/etc/issue", (Text("ash\n"),)),
        File("/srv/large", (Text("x" * PIECE),)),
        Edit("/etc/hosts", "hosts", (("names", "node"),)),
    )
    manifest = Manifest("node", tuple(Placed(entry, "node") for entry in entries), "")
    tools = build.Tools(DirectInjector(), no_blobs, steps)
    nothing = Revealed(no_secrets, {}, {})
    there, here = base.with_name("node.img"), tmp_path / "near/node.img"
    own = delivery.fetched(base, store, steps)
    build.make_image(manifest, base, there, nothing, tools)
    build.make_image(manifest, own, here, nothing, tools)
    (base.parent / "order").mkdir()
    target = delivered(here, base, store, steps)
    assert target.read_bytes() == there.read_bytes() != base.read_bytes()
    assert bmap_of(target).read_bytes() == bmap_of(there).read_bytes()


def no_blobs(blob: Blob) -> BinaryIO:
    raise AssertionError(blob)


def test_an_image_whose_run_is_over_makes_no_folder(
    image: Path, base: Path, store: Store, steps: Steps
) -> None:
    shutil.rmtree(base.parent / "order")
    with pytest.raises(FileNotFoundError):
        delivered(image, base, store, steps)
    assert not (base.parent / "order").exists()
