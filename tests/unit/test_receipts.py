"""Receipts: an image counts as whole when it is, whatever happened to its file, and only then."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.cache.store import stamp
from pipeline.errors import MetisError, MismatchError, RefusedError
from pipeline.machine.progress import Advance
from pipeline.raw import sparse
from pipeline.steps import receipts
from pipeline.steps.artifacts import bmap_of, receipt_of
from pipeline.steps.burnable import opened
from pipeline.steps.export import export

MADE_FROM = {"golden": "ab" * 32, "headroom": 0}


class Steps:
    """Remembers what was worked on, as hashing is what a fresh stamp saves."""

    def __init__(self) -> None:
        self.labels: list[str] = []

    @contextmanager
    def step(self, label: str, total: int | None = None) -> Iterator[Advance]:
        self.labels.append(label)
        yield lambda _: None

    def note(self, line: str) -> None:
        self.labels.append(line)


@pytest.fixture
def steps() -> Steps:
    return Steps()


@pytest.fixture
def image(tmp_path: Path, tiny_golden: Path, steps: Steps) -> Path:
    """An image with its block map and receipt, as a build leaves them."""
    part = tmp_path / "part"
    target = tmp_path / "titan-13.img"
    sparse.copy(tiny_golden, part)
    receipts.finish(part, target, "titan-13", MADE_FROM, {"root": 1, "boot": None}, steps)
    steps.labels.clear()
    return target


def is_whole(image: Path, steps: Steps, *, deep: bool = False) -> bool:
    return receipts.is_whole(image, deep=deep, reporter=steps)


def a_mapped_place(image: Path) -> int:
    """The offset of a byte that is not zero, somewhere in the middle."""
    with image.open("rb") as file:
        start, end = next(extent for extent in sparse.extents(file.fileno()) if extent[0] > 1 << 20)
        data = os.pread(file.fileno(), end - start, start)
    return start + len(data) - len(data.lstrip(b"\0"))


def flip(image: Path, place: int) -> None:
    with image.open("r+b") as file:
        file.seek(place)
        old = file.read(1)
        file.seek(place)
        file.write(bytes([old[0] ^ 0xFF]))


def keep_times(image: Path, change: Callable[[], object]) -> None:
    before = image.stat()
    change()
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))


# --------------------------------------------------------------------------------------- what it says


def test_a_receipt_says_what_the_image_was_made_from_and_what_it_is(image: Path) -> None:
    receipt = receipts.read(image)
    assert receipt is not None
    assert (receipt.subject, dict(receipt.made_from)) == ("titan-13", MADE_FROM)
    assert receipt.size == image.stat().st_size
    assert 0 < receipt.mapped < receipt.size
    assert receipt.stamp == stamp(image)
    assert receipt.bmap_sha256 == hashlib.sha256(bmap_of(image).read_bytes()).hexdigest()


def test_nothing_unfinished_is_left(image: Path) -> None:
    assert {file.name for file in image.parent.iterdir()} == {
        "titan-13.img",
        "titan-13.img.bmap",
        "titan-13.receipt.json",
    }
    assert {file.stat().st_mode & 0o777 for file in image.parent.iterdir()} == {0o600}


# --------------------------------------------------------------------------------------------- whole


def test_an_untouched_image_is_whole_and_is_not_hashed(image: Path, steps: Steps) -> None:
    assert is_whole(image, steps)
    assert steps.labels == []


def touch(image: Path) -> None:
    os.utime(image, ns=(0, 0))


def copy_and_replace(image: Path) -> None:
    """cp to a new file without holes, which takes the name."""
    copy = image.with_name("copy")
    copy.write_bytes(image.read_bytes())
    copy.replace(image)


def restore_with_times(image: Path) -> None:
    copy = image.with_name("copy")
    shutil.copy2(image, copy)
    image.unlink()
    copy.rename(image)


def change_and_change_back(image: Path) -> None:
    place = a_mapped_place(image)
    flip(image, place)
    flip(image, place)


@pytest.mark.parametrize(
    "disturb", [touch, copy_and_replace, restore_with_times, change_and_change_back, lambda i: i.chmod(0o644)]
)
def test_an_image_that_only_looks_different_is_hashed_once_and_counts(
    image: Path, steps: Steps, disturb: Callable[[Path], None]
) -> None:
    disturb(image)
    assert is_whole(image, steps)
    assert steps.labels == ["titan-13.img: checking its hashes"]
    receipt = receipts.read(image)
    assert receipt is not None
    assert receipt.stamp == stamp(image)
    assert is_whole(image, steps)
    assert len(steps.labels) == 1, "the second look is cheap again"


def test_deep_hashes_whatever_the_stamp_says(image: Path, steps: Steps) -> None:
    before = receipt_of(image).read_bytes()
    assert is_whole(image, steps, deep=True)
    assert steps.labels == ["titan-13.img: checking its hashes"]
    assert receipt_of(image).read_bytes() == before


class Meanwhile(Steps):
    """Has something happen while the hashes of an image are looked at."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__()
        self._happens = happens

    @contextmanager
    def step(self, label: str, total: int | None = None) -> Iterator[Advance]:
        try:
            with super().step(label, total) as advance:
                yield advance
        finally:
            if label.endswith("checking its hashes"):
                self._happens()


def build_another(image: Path) -> None:
    part = image.with_name("part")
    sparse.copy(image, part)
    flip(part, a_mapped_place(part))
    receipts.finish(part, image, "titan-13", {**MADE_FROM, "headroom": 1}, {"root": 1}, Steps())


def test_who_looks_at_an_image_leaves_the_receipt_of_what_is_built_meanwhile(image: Path) -> None:
    touch(image)
    receipts.is_whole(image, deep=False, reporter=Meanwhile(lambda: build_another(image)))
    assert receipts.is_current(image, {**MADE_FROM, "headroom": 1})
    assert is_whole(image, Steps(), deep=True)


def test_an_image_is_whole_also_where_its_new_looks_cannot_be_noted(
    image: Path, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a full disk, or one that is read-only."""
    touch(image)
    before = receipt_of(image).read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert is_whole(image, steps)
    assert receipt_of(image).read_bytes() == before


@pytest.mark.parametrize("disturb", [touch, lambda _: None], ids=["looks otherwise", "looks well"])
def test_a_burn_of_an_image_that_is_built_anew_meanwhile_is_of_the_old_or_none(
    image: Path, disturb: Callable[[Path], None]
) -> None:
    disturb(image)
    before, hashes = image.read_bytes(), Meanwhile(lambda: build_another(image))
    with opened(image, hashes, deep=True) as what:
        assert what.image.read(0, what.image.size) == before


def test_a_burn_that_found_the_receipt_of_another_build_is_to_be_tried_again(image: Path) -> None:
    """It looks into an image that has just got its name, while its receipt is still to come."""
    made = image.with_name("made")
    sparse.copy(image, made)
    build_another(made)
    made.replace(image)

    def finish() -> None:
        receipt_of(made).replace(receipt_of(image))

    what = opened(image, Meanwhile(finish), deep=True)
    with pytest.raises(MetisError, match="was built anew meanwhile: run again"), what:
        pass


# ----------------------------------------------------------------------------------------- not whole


def truncate(image: Path) -> None:
    os.truncate(image, image.stat().st_size - 1)


def truncate_in_disguise(image: Path) -> None:
    """The end is lost and filled with a hole, and the time is put back."""
    size = image.stat().st_size

    def change() -> None:
        os.truncate(image, a_mapped_place(image))
        os.truncate(image, size)

    keep_times(image, change)


def lengthen(image: Path) -> None:
    os.truncate(image, image.stat().st_size + 4096)


def damage(image: Path) -> None:
    flip(image, a_mapped_place(image))


def damage_in_disguise(image: Path) -> None:
    keep_times(image, lambda: damage(image))


def write_into_a_hole(image: Path) -> None:
    flip(image, image.stat().st_size - (1 << 20) - 4096)


def replace_by_another(image: Path) -> None:
    other = image.with_name("other")
    with other.open("wb") as file:
        file.truncate(image.stat().st_size)
    other.replace(image)


def remove(image: Path) -> None:
    image.unlink()


def make_a_folder(image: Path) -> None:
    image.unlink()
    image.mkdir()


def lose_the_bmap(image: Path) -> None:
    bmap_of(image).unlink()


def lose_the_receipt(image: Path) -> None:
    receipt_of(image).unlink()


@pytest.mark.parametrize(
    "harm",
    [
        truncate,
        truncate_in_disguise,
        lengthen,
        damage,
        damage_in_disguise,
        write_into_a_hole,
        replace_by_another,
        remove,
        make_a_folder,
        lose_the_bmap,
        lose_the_receipt,
    ],
)
@pytest.mark.parametrize("deep", [False, True], ids=["", "deep"])
def test_an_image_that_is_not_what_was_built_is_not_whole(
    image: Path, steps: Steps, harm: Callable[[Path], None], deep: bool
) -> None:
    harm(image)
    assert not is_whole(image, steps, deep=deep)
    assert not is_whole(image, steps, deep=deep), "and asking does not make it so"


def test_damage_that_leaves_no_trace_in_the_stamp_is_found_by_deep(image: Path, steps: Steps) -> None:
    """A medium that lost a bit: here the receipt is made to agree with the stamp."""
    damage(image)
    data = json.loads(receipt_of(image).read_bytes())
    receipt_of(image).write_text(json.dumps({**data, "stamp": stamp(image)}))
    assert is_whole(image, steps)
    assert not is_whole(image, steps, deep=True)


def test_a_bmap_of_another_image_proves_nothing(image: Path, steps: Steps) -> None:
    text = bmap_of(image).read_text()
    bmap_of(image).write_text(text.replace("<!--", "<!-- another;", 1))
    touch(image)
    assert not is_whole(image, steps)


def test_a_build_that_was_cut_off_before_its_receipt_does_not_count(
    image: Path, tmp_path: Path, steps: Steps
) -> None:
    """The new image has its name already; beside it lies what the build before left."""
    part = tmp_path / "part"
    sparse.copy(image, part)
    damage(part)
    part.replace(image)
    assert not is_whole(image, steps)
    assert not receipts.is_current(image, MADE_FROM)


# ------------------------------------------------------------------------------- receipts that are none

BAD_VALUES: dict[str, tuple[object, ...]] = {
    "subject": (5, ["x"], "", "\x1b[2Jx", "two\nlines", "\u202ex", "\ud800", "x" * 256),
    "id": ([1], "ab", "x" * 64, None),
    "bmap_sha256": (7, "ab" * 33, "AB" * 32),
    "size": ("x", -1, True, 1.5, 1 << 64, None),
    "mapped": ("\ud800", -1, [], 1 << 1000, None),
    "secrets": ({"node": "\ud800"}, {"\ud800": "1"}),
    "made_from": ({"x": [[[[[[[[[]]]]]]]]]},),
}
BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda good: good[: len(good) // 2],
    "empty": lambda _: b"",
    "a list": lambda _: b"[]",
    "null": lambda _: b"null",
    "another format": lambda good: json.dumps({**json.loads(good), "format": 2}).encode(),
    "a field more": lambda good: json.dumps({**json.loads(good), "colour": "red"}).encode(),
    "a field less": lambda good: json.dumps(
        {key: value for key, value in json.loads(good).items() if key != "id"}
    ).encode(),
    **{
        f"a slot of {value!r}": lambda good, value=value: json.dumps(  # type: ignore[misc]
            {**json.loads(good), "slot": value}
        ).encode()
        for value in (-1, "4096", True, 1.5, [4096])
    },
    **{
        f"{field} of {str(value)[:20]!r}": lambda good, field=field, value=value: json.dumps(  # type: ignore[misc]
            {**json.loads(good), field: value}
        ).encode()
        for field, values in BAD_VALUES.items()
        for value in values
    },
    "more than a receipt has": lambda good: json.dumps(
        {**json.loads(good), "made_from": {"x": "x" * receipts.LARGEST}}
    ).encode(),
    "maps that are none": lambda good: json.dumps(
        {**json.loads(good), "made_from": [], "places": 5, "stamp": None}
    ).encode(),
}


@pytest.mark.parametrize("breaking", BROKEN, ids=list(BROKEN))
def test_a_receipt_that_cannot_be_read_is_none(image: Path, steps: Steps, breaking: str) -> None:
    receipt_of(image).write_bytes(BROKEN[breaking](receipt_of(image).read_bytes()))
    assert receipts.read(image) is None
    assert not is_whole(image, steps)
    assert not receipts.is_current(image, MADE_FROM)


def test_a_receipt_of_the_time_before_burns_were_recorded_is_one(image: Path, steps: Steps) -> None:
    data = json.loads(receipt_of(image).read_bytes())
    del data["slot"]
    receipt_of(image).write_text(json.dumps(data))
    receipt = receipts.read(image)
    assert receipt is not None
    assert receipt.slot is None
    assert is_whole(image, steps)


def test_the_place_of_the_record_goes_with_the_image(image: Path, tmp_path: Path, steps: Steps) -> None:
    data = json.loads(receipt_of(image).read_bytes())
    receipt_of(image).write_text(json.dumps({**data, "slot": 7 << 20}))
    touch(image)
    assert is_whole(image, steps)
    export(image, tmp_path / "elsewhere/card.img", steps)
    for each in (image, tmp_path / "elsewhere/card.img"):
        receipt = receipts.read(each)
        assert receipt is not None
        assert receipt.slot == 7 << 20


# -------------------------------------------------------------------------------------- current, export


def test_an_image_is_current_when_it_was_made_from_just_this(image: Path, steps: Steps) -> None:
    assert receipts.is_current(image, MADE_FROM)
    assert receipts.is_current(image, dict(reversed(MADE_FROM.items())))
    assert not receipts.is_current(image, {**MADE_FROM, "headroom": 1})
    touch(image)
    assert not receipts.is_current(image, MADE_FROM), "a plan hashes nothing, so it says build"
    assert steps.labels == []


def test_an_exported_image_is_whole_where_it_is(image: Path, tmp_path: Path, steps: Steps) -> None:
    target = tmp_path / "elsewhere/card.img"
    export(image, target, steps)
    assert target.read_bytes() == image.read_bytes()
    steps.labels.clear()
    assert is_whole(target, steps)
    assert is_whole(image, steps)
    assert steps.labels == []
    assert {file.name for file in target.parent.iterdir()} == {
        "card.img",
        "card.img.bmap",
        "card.receipt.json",
    }
    assert {file.stat().st_mode & 0o077 for file in target.parent.iterdir()} == {0}


def test_an_export_over_an_earlier_one_leaves_no_mixture(image: Path, tmp_path: Path, steps: Steps) -> None:
    target = tmp_path / "elsewhere/card.img"
    export(image, target, steps)
    target.write_bytes(b"old")
    bmap_of(target).write_bytes(b"old")
    export(image, target, steps)
    assert is_whole(target, steps, deep=True)


def yaml_file(target: Path) -> None:
    target.write_text("class: pi\n")


def image_of_another(target: Path) -> None:
    target.write_bytes(b"precious")
    receipt = json.loads((target.parents[1] / "titan-13.receipt.json").read_bytes())
    receipt_of(target).write_text(json.dumps({**receipt, "subject": "titan-15"}))


def device_node(target: Path) -> None:
    os.mkfifo(target)


def link_to_an_export(target: Path) -> None:
    export(target.parents[1] / "titan-13.img", target.with_name("real.img"), Steps())
    shutil.copy(receipt_of(target.with_name("real.img")), receipt_of(target))
    target.symlink_to("real.img")


def link_to_nothing(target: Path) -> None:
    target.symlink_to("nothing")


@pytest.mark.parametrize(
    "there", [yaml_file, image_of_another, device_node, link_to_an_export, link_to_nothing]
)
def test_an_export_over_anything_else_is_refused(
    image: Path, tmp_path: Path, steps: Steps, there: Callable[[Path], None]
) -> None:
    target = tmp_path / "elsewhere/card.img"
    target.parent.mkdir()
    there(target)
    before = {file.name: file.lstat() for file in target.parent.iterdir()}
    with pytest.raises(RefusedError, match=r"is no image of titan-13"):
        export(image, target, steps)
    after = {file.name: file.lstat() for file in target.parent.iterdir()}
    assert {name: about.st_ino for name, about in after.items()} == {
        name: about.st_ino for name, about in before.items()
    }
    assert steps.labels == []


@pytest.mark.parametrize("name", ["metis-typo", "shm/metis-typo.img"])
def test_an_export_below_dev_is_refused(image: Path, tmp_path: Path, steps: Steps, name: str) -> None:
    (tmp_path / "link").symlink_to(f"/dev/{name}")
    for target in (Path("/dev") / name, tmp_path / "link", tmp_path / "../../../../../../dev" / name):
        with pytest.raises(RefusedError, match=r"below /dev: .*metis burn"):
            export(image, target, steps)
    assert not (Path("/dev") / name).exists()


# ------------------------------------------------------------------------------ what others have finished


def test_what_was_finished_elsewhere_gets_its_place_whole(image: Path, steps: Steps, tmp_path: Path) -> None:
    target = tmp_path / "place" / "titan-13.img"
    target.parent.mkdir()
    receipts.adopt(image, target, MADE_FROM, steps)
    assert steps.labels == []
    assert receipts.is_current(target, MADE_FROM)
    assert is_whole(target, steps, deep=True)
    assert not image.exists()


def other_bytes(image: Path) -> None:
    flip(image, a_mapped_place(image))


@pytest.mark.parametrize(
    "happens",
    [
        lambda image: receipt_of(image).unlink(),
        lambda image: bmap_of(image).write_bytes(b""),
        lambda image: bmap_of(image).unlink(),
        lambda image: os.truncate(image, 1 << 20),
        lambda image: image.unlink(),
        other_bytes,
    ],
    ids="no-receipt another-map no-map too-short no-image other-bytes".split(),
)
def test_half_an_image_gets_no_place(
    image: Path, steps: Steps, tmp_path: Path, happens: Callable[[Path], object]
) -> None:
    happens(image)
    with pytest.raises(MismatchError, match="is not what was asked for"):
        receipts.adopt(image, tmp_path / "place" / "titan-13.img", MADE_FROM, steps)
    assert not (tmp_path / "place").exists()


def test_an_image_of_something_else_gets_no_place(image: Path, steps: Steps, tmp_path: Path) -> None:
    with pytest.raises(MismatchError):
        receipts.adopt(image, tmp_path / "place" / "titan-13.img", {**MADE_FROM, "headroom": 1}, steps)
