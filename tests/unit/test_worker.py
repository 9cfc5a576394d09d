"""Where a worker makes images: on a disk of its own where it has one; nothing of a dead one stays there."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.cache.store import Store
from pipeline.errors import RottenError
from pipeline.golden.fetch import Fetched
from pipeline.golden.unpack import unpack
from pipeline.inject.direct import DirectInjector
from pipeline.lab import worker
from pipeline.machine import durable
from pipeline.machine.progress import QuietReporter
from pipeline.model import Manifest
from pipeline.raw import sparse
from pipeline.steps import build, receipts
from pipeline.steps.artifacts import receipt_of
from pipeline.steps.ids import BaseManifest
from pipeline.steps.orders import BaseOrder, ImageOrder, Place
from tests.support import goldens
from tests.support.workers import other_disk

QUIET = QuietReporter()


@pytest.fixture
def order(tmp_path: Path, tiny_golden: Path) -> ImageOrder:
    base, part = tmp_path / "base.img", tmp_path / "part"
    sparse.copy(tiny_golden, part)
    receipts.finish(part, base, "base", {}, {"root": 1, "boot": None}, QUIET)
    place = Place(tmp_path, tmp_path, tmp_path, tmp_path)
    return ImageOrder(place, {}, base, {}, {}, None)


@pytest.fixture
def apart() -> Iterator[Path]:
    with other_disk() as folder:
        yield folder


@pytest.fixture
def has_own_disk(monkeypatch: pytest.MonkeyPatch, order: ImageOrder) -> Callable[[Path], bool]:
    """Whether a worker with that cache, for two orders at a time, makes an image on a disk of its own."""

    def asked(cache: Path) -> bool:
        monkeypatch.setattr(worker, "own_lab", lambda: SimpleNamespace(store=Store(cache, QUIET)))
        monkeypatch.setattr(worker, "this_worker", lambda: SimpleNamespace(state=SimpleNamespace(nthreads=2)))
        return worker._has_own_disk(order)

    return asked


def test_a_cache_on_another_disk_is_one(apart: Path, has_own_disk: Callable[[Path], bool]) -> None:
    assert has_own_disk(apart / "cache")


def test_a_cache_beside_the_artifacts_is_none(tmp_path: Path, has_own_disk: Callable[[Path], bool]) -> None:
    assert not has_own_disk(tmp_path / "cache")


def test_a_disk_without_room_for_all_that_is_made_at_once_is_none(
    apart: Path, has_own_disk: Callable[[Path], bool], order: ImageOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = receipts.read(order.base)
    assert receipt is not None
    for free, is_enough in ((6 * receipt.mapped, False), (6 * receipt.mapped + 1, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        assert has_own_disk(apart) == is_enough


def test_a_cache_that_cannot_be_written_to_is_none(apart: Path, has_own_disk: Callable[[Path], bool]) -> None:
    (apart / "cache").touch()
    assert not has_own_disk(apart / "cache")


def test_of_a_base_without_a_receipt_nobody_knows_how_much_room_it_takes(
    apart: Path, has_own_disk: Callable[[Path], bool], order: ImageOrder
) -> None:
    receipt_of(order.base).unlink()
    assert not has_own_disk(apart)


@pytest.fixture
def unpacked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_golden: Path
) -> Callable[[Store, Store], Path]:
    """What a worker unpacks whose own cache has a golden that rotted on its disk, for a run with a cache.

    It makes no more of a base than that.
    """
    sha256, target = goldens.sha256(tiny_golden), tmp_path / "unpacked"

    def unpacks(golden: Fetched, _wanted: object, target: Path, limit: int, _tools: object) -> None:
        unpack(golden.path, target, golden.sha256, QUIET, limit)

    def made(own: Store, run: Store) -> Path:
        for store, start in ((run, b""), (own, b"rot")):
            part = store.partial(sha256) / "part"
            sparse.copy(tiny_golden, part)
            with part.open("r+b") as file:
                file.write(start)
            store.admit(part, sha256)
        monkeypatch.setattr(worker, "own_lab", lambda: SimpleNamespace(store=own, reporter=QUIET))
        monkeypatch.setattr(build, "make_base", unpacks)
        order = BaseOrder(Place(tmp_path, tmp_path, run.root, tmp_path), {}, sha256, 1 << 40)
        wanted = BaseManifest(Manifest("base", (), ""), 0, {})
        worker._make_base(order, wanted, target, build.Tools(DirectInjector(), lambda _: BytesIO(), QUIET))
        return target

    return made


def test_of_a_golden_that_rotted_in_the_worker_s_own_cache_the_one_of_the_run_is_taken(
    unpacked: Callable[[Store, Store], Path], tmp_path: Path, tiny_golden: Path
) -> None:
    own, run = Store(tmp_path / "own", QUIET), Store(tmp_path / "run", QUIET)
    assert unpacked(own, run).read_bytes() == tiny_golden.read_bytes()
    assert not own.path(goldens.sha256(tiny_golden)).exists()


def test_from_the_run_s_own_cache_a_worker_removes_nothing(
    unpacked: Callable[[Store, Store], Path], tmp_path: Path, tiny_golden: Path
) -> None:
    shared = Store(tmp_path / "shared", QUIET)
    with pytest.raises(RottenError):
        unpacked(shared, shared)
    assert shared.path(goldens.sha256(tiny_golden)).exists()


def test_what_a_kill_has_left_goes_and_what_another_worker_makes_stays(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", QUIET)
    images = durable.make_private(store.root / "images")
    left = images / ".n-1-x.part"
    left.mkdir()
    (left / ".lock").touch()
    (left / "n-1.img").write_bytes(b"secret")
    with durable.own_folder(images, "n-2") as held, worker.at_work(store, QUIET):
        assert list(images.iterdir()) == [held]
