"""What a card must hold, byte by byte, against a plain model; and no image that is not what its map says."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.card.burn_plan import HEAD, BurnPlan, Extent, ReadImage, make, with_record
from pipeline.card.table import BACKUP, SECTOR, Patch, fitted
from pipeline.errors import MetisError, MismatchError, RefusedError
from pipeline.machine import process
from pipeline.raw.bmap import Bmap, Range
from pipeline.raw.ranges import BLOCK, merged, split

MIB = 1 << 20
SIZE = 6 * MIB
GPT = "label: gpt\nstart=2048, size=2048\nsize=4096\n"
MBR = "label: dos\nstart=2048, size=2048\nsize=8192\n"


@cache
def noise(length: int) -> bytes:
    return random.Random(7).randbytes(length)


def table_of(folder: Path, script: str) -> bytes:
    path = folder / "node.img"
    with path.open("wb") as file:
        file.truncate(SIZE)
    process.run(["sfdisk", "--quiet", path], stdin=script.encode())
    return path.read_bytes()[: 34 * SECTOR]


class Named(dict[str, bytes]):
    """Bytes by their names, which a report of a failure need not show."""

    def __repr__(self) -> str:
        return f"<{', '.join(self)}>"


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("tables")
    return Named(gpt=table_of(folder, GPT), mbr=table_of(folder, MBR), none=bytes(34 * SECTOR))


def image_of(table: bytes, size: int = SIZE) -> bytes:
    return (table + noise(size))[:size]


def bmap_of(image: bytes, places: Iterable[tuple[int, int]]) -> Bmap:
    ranges = [Range(start, end, hashlib.sha256(image[start:end]).hexdigest()) for start, end in places]
    return Bmap(len(image), tuple(ranges))


def whole(image: bytes) -> Bmap:
    return bmap_of(image, split([(0, len(image))]))


def reader(image: bytes) -> ReadImage:
    return lambda start, end: image[start:end]


def content(extent: Extent, image: bytes) -> bytes:
    return image[extent.start : extent.end] if extent.data is None else extent.data


def assert_is_a_plan(plan: BurnPlan, image: bytes) -> None:
    """What the engine relies on."""
    extents = plan.extents
    assert all(before.end <= after.start for before, after in pairwise(extents))
    for each in extents:
        assert 0 <= each.start < each.end <= plan.size
        assert each.start // MIB == (each.end - 1) // MIB
        assert each.start % BLOCK == 0
        assert each.end % BLOCK == 0 or each.end == plan.size
        held = content(each, image)
        assert len(held) == each.size
        assert hashlib.sha256(held).hexdigest() == each.sha256
    backup = plan.size // SECTOR * SECTOR - BACKUP
    assert all(each.start < HEAD for each in plan.head)
    assert all(each.start >= HEAD and each.end <= backup for each in plan.body)
    assert all(each.start >= HEAD and each.end > backup for each in plan.tail)
    assert plan.mapped == sum(each.size for each in extents)


PLACES = st.lists(st.tuples(st.integers(0, SIZE), st.integers(1, 2 * MIB)), max_size=8)
MORE = st.sampled_from([0, 1, 511, SECTOR, 3 * SECTOR, BLOCK, MIB]) | st.integers(0, 4 * MIB)
SECTORS = st.sampled_from([0, 1, 7, 8, 9, 2048])


@settings(max_examples=150)
@given(st.sampled_from(["gpt", "mbr", "none"]), SECTORS, PLACES, MORE)
def test_a_card_must_hold_the_image_with_the_fitted_table_and_zeros_at_stale_places(
    tables: dict[str, bytes], table: str, sectors: int, places: list[tuple[int, int]], more: int
) -> None:
    image = image_of(tables[table], SIZE + sectors * SECTOR)
    size = len(image) + more
    ranges = list(split(merged(((start, start + length) for start, length in places), len(image))))
    plan = make(bmap_of(image, ranges), size, reader(image))
    assert_is_a_plan(plan, image)

    changes = fitted(image[:MIB], len(image), size)
    expected = bytearray(size)
    for start, end in ranges:
        expected[start:end] = image[start:end]
    for patch in changes.patches:
        expected[patch.start : patch.end] = patch.data
    for each in plan.extents:
        assert content(each, image) == expected[each.start : each.end]
        own = any(start <= each.start and each.end <= end for start, end in ranges)
        patched = any(patch.start < each.end and each.start < patch.end for patch in changes.patches)
        assert (each.data is None) == (own and not patched)

    wanted = [*ranges, *changes.stale, *((patch.start, patch.end) for patch in changes.patches)]
    held = merged(((each.start, each.end) for each in plan.extents), size)
    assert held == merged(wanted, size)


def test_no_more_is_read_of_an_image_than_its_start_and_what_is_patched(tables: dict[str, bytes]) -> None:
    image = image_of(tables["gpt"])
    asked: list[tuple[int, int]] = []

    def read(start: int, end: int) -> bytes:
        asked.append((start, end))
        return image[start:end]

    make(whole(image), 2 * SIZE, read)
    assert asked == [(0, MIB), (0, MIB), (5 * MIB, SIZE)]


def test_the_content_of_an_image_is_not_kept_and_zeros_only_once(tables: dict[str, bytes]) -> None:
    """The plan of a large image must not be large."""
    image = image_of(tables["gpt"])
    plan = make(whole(image), 64 * MIB, reader(image))
    kept = [each.start for each in plan.extents if each.start < SIZE and each.data is not None]
    assert kept == [0, 5 * MIB]
    zeros = [each.data for each in make(bmap_of(image, []), 64 * MIB + BLOCK, reader(image)).extents]
    full = [data for data in zeros if data is not None and len(data) == MIB and not any(data)]
    assert len(full) > 1
    assert len({id(data) for data in full}) == 1


def test_the_tail_is_what_a_second_table_could_be_in(tables: dict[str, bytes]) -> None:
    image = image_of(tables["mbr"])
    assert [(each.start, each.end) for each in make(whole(image), SIZE, reader(image)).tail] == [
        (5 * MIB, SIZE)
    ]
    tail = make(whole(image), 8 * MIB + SECTOR, reader(image)).tail  # the last sectors lie in two MiB
    assert [(each.start, each.end) for each in tail] == [(7 * MIB, 8 * MIB), (8 * MIB, 8 * MIB + SECTOR)]


def test_a_card_of_less_than_a_mib_is_all_head() -> None:
    image = noise(64 << 10)
    plan = make(whole(image), 128 << 10, reader(image))
    assert_is_a_plan(plan, image)
    assert (plan.body, plan.tail) == ((), ())


# -------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize("place", [100, 5 * MIB + 100])
def test_an_image_whose_patched_places_are_not_as_its_map_says_is_noticed(
    tables: dict[str, bytes], place: int
) -> None:
    image = bytearray(image_of(tables["gpt"]))
    described = whole(bytes(image))
    image[place] ^= 1
    with pytest.raises(MismatchError, match=f"at byte {place // MIB * MIB}:"):
        make(described, 2 * SIZE, reader(bytes(image)))


def test_a_short_read_is_noticed(tables: dict[str, bytes]) -> None:
    image = image_of(tables["gpt"])
    with pytest.raises(MismatchError):
        make(whole(image), 2 * SIZE, reader(image[: SIZE - 1]))


def test_an_image_that_ends_within_a_sector_is_refused(tables: dict[str, bytes]) -> None:
    image = image_of(tables["mbr"], SIZE + 1)
    with pytest.raises(MetisError) as caught:
        make(whole(image), 2 * SIZE, reader(image))
    assert str(caught.value) == (
        f"the image ends within a sector: it has {SIZE + 1} bytes, and sectors have 512: "
        "it is cut off, or no image of a disk: make it again"
    )


def test_a_card_that_is_smaller_than_the_image_is_refused(tables: dict[str, bytes]) -> None:
    image = image_of(tables["mbr"])
    with pytest.raises(RefusedError, match=f"the card has {SIZE - 1} bytes, and the image {SIZE}"):
        make(whole(image), SIZE - 1, reader(image))


def test_a_map_of_ranges_that_are_too_long_is_refused(tables: dict[str, bytes]) -> None:
    image = image_of(tables["mbr"])
    with pytest.raises(MetisError, match="a range across 1048576"):
        make(bmap_of(image, [(BLOCK, MIB + BLOCK)]), SIZE, reader(image))


# -------------------------------------------------------------------------------------------- the record


@given(st.integers(0, SIZE - BLOCK), st.integers(1, BLOCK), st.booleans())
def test_a_record_changes_the_extents_that_hold_it_and_no_other(
    tables: dict[str, bytes], place: int, length: int, twice: bool
) -> None:
    image = image_of(tables["gpt"])
    plan = make(whole(image), 2 * SIZE, reader(image))
    patch = Patch(place, b"r" * length)
    if twice:
        plan, _ = with_record(plan, replace(patch, data=b"s" * length), reader(image))
    after, changed = with_record(plan, patch, reader(image))
    assert_is_a_plan(after, image)
    places = [(each.start, each.end) for each in plan.extents]
    assert [(each.start, each.end) for each in after.extents] == places
    others = [new is old for new, old in zip(after.extents, plan.extents, strict=True) if new not in changed]
    assert all(others)
    expected = bytearray(2 * SIZE)
    for each in plan.extents:
        expected[each.start : each.end] = content(each, image)
    expected[place : place + length] = patch.data
    assert 1 <= len(changed) <= 2
    for each in changed:
        assert each in after.extents
        assert content(each, image) == expected[each.start : each.end]


@pytest.mark.parametrize("place", [SIZE - BLOCK + 1, SIZE, 64 * MIB])
def test_a_record_lies_on_the_card(tables: dict[str, bytes], place: int) -> None:
    image = image_of(tables["mbr"])
    plan = make(whole(image), SIZE, reader(image))
    with pytest.raises(MetisError, match=f"no 4096 bytes for the record at {place}"):
        with_record(plan, Patch(place, bytes(BLOCK)), reader(image))


def test_a_record_lies_where_the_image_has_something(tables: dict[str, bytes]) -> None:
    image = image_of(tables["none"])
    plan = make(bmap_of(image, [(0, MIB)]), SIZE, reader(image))
    with pytest.raises(MetisError, match="for the record"):
        with_record(plan, Patch(3 * MIB, bytes(BLOCK)), reader(image))


def test_an_image_that_changed_before_its_record_was_written_is_noticed(tables: dict[str, bytes]) -> None:
    image = image_of(tables["mbr"])
    plan = make(whole(image), SIZE, reader(image))
    with pytest.raises(MismatchError):
        with_record(plan, Patch(3 * MIB, bytes(BLOCK)), lambda start, end: bytes(end - start))
