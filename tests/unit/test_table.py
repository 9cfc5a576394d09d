"""Partition tables fitted to cards: what sfdisk would make of them, and nothing where anything is strange."""

from __future__ import annotations

import json
import os
import struct
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.card.table import BACKUP, SECTOR, Table, fitted
from pipeline.machine import process
from pipeline.raw import disk
from tests.support.rendering import program

MIB = 1 << 20
GIB = 1 << 30
IMAGE = 24 * MIB
GPT = (
    "label: gpt\nstart=2048, size=8192, type=uefi, name=boot, attrs=LegacyBIOSBootable\n"
    "size=16384, type=linux, name=root\n"
)
MBR = "label: dos\nstart=2048, size=8192, type=c, bootable\nsize=16384, type=83\n"
OUT_OF_ORDER = "\n1: start=20480, size=8192\n2: start=2048, size=8192\n3: start=10240, size=10240\n"


def image(folder: Path, script: str, size: int = IMAGE) -> Path:
    path = folder / "node.img"
    with path.open("wb") as file:
        file.truncate(size)
    process.run(["sfdisk", "--quiet", path], stdin=script.encode())
    return path


def put(path: Path, offset: int, data: bytes) -> None:
    with path.open("rb+") as file:
        file.seek(offset)
        file.write(data)


def taken(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        return os.pread(file.fileno(), length, offset)


class Heads(dict[str, bytes]):
    """The first bytes of images by their scripts, which a report of a failure need not show."""

    def __repr__(self) -> str:
        return "heads"


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("heads")
    return Heads((script, taken(image(folder, script), 0, 64 << 10)) for script in (GPT, MBR))


def table(path: Path, size: int) -> Table:
    return fitted(taken(path, 0, MIB), path.stat().st_size, size)


def burned(path: Path, size: int) -> Path:
    """The image on a card of so many bytes."""
    patches = table(path, size).patches
    card = path.with_name("card.img")
    process.run(["cp", "--sparse=always", path, card])
    os.truncate(card, size)
    for patch in patches:
        put(card, patch.start, patch.data)
    return card


def described(path: Path) -> dict[str, Any]:
    """What sfdisk reads, without the name of the file."""
    said = process.run(["sfdisk", "--json", path]).out.decode().replace(str(path), "disk")
    found: dict[str, Any] = json.loads(said)["partitiontable"]
    return found


def assert_sound(card: Path) -> None:
    """No program that knows such tables finds anything wrong."""
    process.run(["sfdisk", "--verify", "--quiet", card])
    if described(card)["label"] == "gpt":
        said = process.run([program("sgdisk", "gdisk"), "--verify", card]).out.decode()
        assert "No problems found" in said


# ---------------------------------------------------------------------------------- as sfdisk would do it

LARGER = {
    "a MiB": IMAGE + MIB,
    "an odd sector": IMAGE + 3 * MIB + SECTOR,
    "beyond the cylinders": 32 * GIB,
}


@pytest.mark.parametrize("size", LARGER.values(), ids=LARGER.keys())
@pytest.mark.parametrize(
    "script",
    [GPT, MBR, f"label: gpt{OUT_OF_ORDER}", f"label: dos{OUT_OF_ORDER}"],
    ids=["gpt", "mbr", "gpt out of order", "mbr out of order"],
)
def test_the_table_is_the_one_that_sfdisk_makes_byte_for_byte(tmp_path: Path, script: str, size: int) -> None:
    path = image(tmp_path, script)
    put(path, 0, b"\xfa\x33\xc0boot code")
    put(path, 446, b"\x80")
    card = burned(path, size)
    last = max(disk.read(path).partitions, key=lambda each: each.start).number
    disk.grow_last(path, last, size - IMAGE)
    assert taken(card, 0, MIB) == taken(path, 0, MIB)
    if "gpt" in script:
        assert taken(card, size - BACKUP, BACKUP) == taken(path, size - BACKUP, BACKUP)
        assert not any(taken(card, IMAGE - BACKUP, min(BACKUP, size - IMAGE)))
    assert_sound(card)


@pytest.mark.parametrize(("size", "end"), [(2 << 40, 2 << 40), (5 << 40, 2 << 40)], ids=["2 TiB", "5 TiB"])
def test_an_mbr_ends_where_its_numbers_do(tmp_path: Path, size: int, end: int) -> None:
    card = burned(image(tmp_path, MBR), size)
    assert disk.read(card).partitions[-1].end == end - MIB
    assert_sound(card)


def test_a_gpt_has_no_such_end_and_its_protective_mbr_says_the_most_it_can(tmp_path: Path) -> None:
    card = burned(image(tmp_path, GPT), 5 << 40)
    assert disk.read(card).partitions[-1].end == (5 << 40) - MIB
    assert taken(card, 446 + 12, 4) == b"\xff" * 4
    assert_sound(card)


@pytest.mark.parametrize("more", [SECTOR, 5 * SECTOR, 33 * SECTOR, MIB - SECTOR])
def test_a_little_more_room_moves_a_gpt_and_grows_nothing(tmp_path: Path, more: int) -> None:
    """The two places of the backup may overlap."""
    path = image(tmp_path, GPT + "size=22495\n")  # up to the backup's first sector
    card = burned(path, IMAGE + more)
    assert_sound(card)
    before, now = described(path), described(card)
    assert now.pop("lastlba") == before.pop("lastlba") + more // SECTOR
    assert now == before
    assert table(image(tmp_path, MBR + "size=22528\n"), IMAGE + more).patches == ()


@pytest.mark.parametrize("script", [GPT, MBR])
@pytest.mark.parametrize("size", [IMAGE, IMAGE + 511, IMAGE - MIB, 0])
def test_a_card_that_has_no_sector_more_gets_the_table_as_it_is(
    heads: dict[str, bytes], script: str, size: int
) -> None:
    assert fitted(heads[script], IMAGE, size).patches == ()


def test_a_table_that_begins_elsewhere_and_one_with_few_entries_are_known(tmp_path: Path) -> None:
    """Boards whose loader lies at sector 2 have their entries behind it."""
    moved = image(tmp_path, GPT)
    process.run([program("sgdisk", "gdisk"), "--move-main-table=1000", moved])
    assert_sound(burned(moved, 2 * IMAGE))
    assert disk.read(burned(moved, 2 * IMAGE)).partitions[-1].end == 2 * IMAGE - MIB
    few = image(tmp_path, "label: gpt\ntable-length: 4\nstart=2048, size=8192\nstart=10240, size=8192\n")
    card = burned(few, 2 * IMAGE)
    process.run(["sfdisk", "--verify", "--quiet", card])
    assert not any(taken(card, IMAGE - 2 * SECTOR, 2 * SECTOR))
    assert disk.read(card).partitions[-1].end == 2 * IMAGE - MIB


def test_the_second_table_alone_brings_the_first_back(tmp_path: Path) -> None:
    card = burned(image(tmp_path, GPT), 2 * IMAGE)
    whole = described(card)
    put(card, SECTOR, bytes(SECTOR))
    assert described(card) == whole


def test_a_gpt_that_leaves_no_room_for_the_larger_copy_stays_as_it_is(tmp_path: Path) -> None:
    path = image(tmp_path, "label: gpt\ntable-length: 4\nstart=2048, size=47102\n")
    assert table(path, IMAGE + SECTOR).patches == ()
    assert_sound(burned(path, IMAGE + 40 * SECTOR))


def test_a_gpt_whose_copy_is_not_at_the_images_end_is_fitted_too(tmp_path: Path) -> None:
    path = image(tmp_path, GPT)
    os.truncate(path, IMAGE + 2 * MIB)
    card = burned(path, 2 * IMAGE)
    assert_sound(card)
    assert not any(taken(card, IMAGE - BACKUP, BACKUP))


def test_an_empty_gpt_has_only_its_copy_to_move(tmp_path: Path) -> None:
    assert_sound(burned(image(tmp_path, "label: gpt\n"), 2 * IMAGE))


# --------------------------------------------------------------------------------- left as it is


def sealed(head: bytearray) -> bytes:
    """A GPT with the CRCs of what it says now."""
    struct.pack_into("<I", head, SECTOR + 88, zlib.crc32(head[2 * SECTOR : 34 * SECTOR]))
    return header_sealed(head)


def header_sealed(head: bytearray) -> bytes:
    length = min(struct.unpack_from("<I", head, SECTOR + 12)[0], SECTOR)
    struct.pack_into("<I", head, SECTOR + 16, 0)
    struct.pack_into("<I", head, SECTOR + 16, zlib.crc32(head[SECTOR : SECTOR + length]))
    return bytes(head)


def changed(head: bytes, offset: int, data: bytes) -> bytearray:
    result = bytearray(head)
    result[offset : offset + len(data)] = data
    return result


def quad(number: int) -> bytes:
    return struct.pack("<Q", number)


HEADERS = {
    "another revision": (8, b"\0\0\2\0"),
    "another own place": (24, quad(2)),
    "a copy beyond the image": (32, quad(1 << 50)),
    "a copy within its own partitions": (32, quad(4096)),
    "a copy at the start": (32, quad(1)),
    "room that begins before the entries end": (40, quad(3)),
    "no room at all": (40, quad(1 << 40)),
    "room up to the copy's header": (48, quad(IMAGE // SECTOR - 2)),
    "room far beyond": (48, quad(2**64 - 1)),
    "entries over the header": (72, quad(1)),
    "entries at the start": (72, quad(0)),
    "entries out of sight": (72, quad(2**63)),
    "no entries": (80, struct.pack("<I", 0)),
    "entries without number": (80, struct.pack("<I", 2**32 - 1)),
    "small entries": (84, struct.pack("<I", 64)),
    "large entries": (84, struct.pack("<I", 2**31)),
    "another CRC of the entries": (88, b"\1\2\3\4"),
}


@pytest.mark.parametrize(("offset", "data"), HEADERS.values(), ids=HEADERS.keys())
def test_a_header_that_makes_no_sense_is_left_alone_though_its_crc_is_right(
    heads: dict[str, bytes], offset: int, data: bytes
) -> None:
    assert fitted(heads[GPT], IMAGE, 2 * IMAGE).patches
    head = header_sealed(changed(heads[GPT], SECTOR + offset, data))
    assert fitted(head, IMAGE, 2 * IMAGE).patches == ()


ENTRIES = {
    "a partition before the first": (32, quad(3)),
    "a partition that ends before it begins": (40, quad(100)),
    "a partition of all there is": (128 + 40, quad(2**64 - 1)),
    "a partition over another": (128 + 32, quad(4096)),
}


@pytest.mark.parametrize(("offset", "data"), ENTRIES.values(), ids=ENTRIES.keys())
def test_partitions_that_make_no_sense_are_left_alone(
    heads: dict[str, bytes], offset: int, data: bytes
) -> None:
    head = sealed(changed(heads[GPT], 2 * SECTOR + offset, data))
    assert fitted(head, IMAGE, 2 * IMAGE).patches == ()


def logical(path: Path) -> None:
    image(
        path.parent,
        "label: dos\nstart=2048, size=2048, type=83\nstart=4096, size=20480, type=f\nstart=6144, size=8192\n",
    )


def last_is_no_container(path: Path) -> None:
    image(path.parent, "label: dos\nstart=2048, size=4096, type=5\nstart=8192, size=8192, type=83\n")


def hybrid(path: Path) -> None:
    process.run([program("sgdisk", "gdisk"), "--hybrid=1", path])


def larger_array(path: Path) -> None:
    image(path.parent, GPT.replace("gpt\n", "gpt\ntable-length: 256\n"))


STRANGE = {
    "a hybrid": hybrid,
    "logical partitions": logical,
    "an empty container": last_is_no_container,
    "more entries than usual": larger_array,
    "no table": lambda path: put(path, 0, bytes(MIB)),
    "a flipped bit in the header": lambda path: put(path, SECTOR + 60, b"\x01"),
    "a flipped bit in the entries": lambda path: put(path, 2 * SECTOR + 60, b"\x01"),
    "a protective MBR alone": lambda path: put(path, SECTOR, bytes(MIB)),
    "a GPT with another MBR": lambda path: put(path, 450, b"\x83"),
    "a GPT without an MBR": lambda path: put(path, 0, bytes(SECTOR)),
    "a GPT without the MBR's signature": lambda path: put(path, 510, b"\0\0"),
    "a file system": lambda path: process.run(["mkfs.vfat", "-I", path]),
}


@pytest.mark.parametrize("make", STRANGE.values(), ids=STRANGE.keys())
def test_what_is_not_just_one_sound_table_is_left_alone(tmp_path: Path, make: Any) -> None:
    path = image(tmp_path, GPT)
    make(path)
    assert table(path, 2 * IMAGE).patches == ()


MBRS = {
    "a strange flag": (446, b"\x7f"),
    "a partition at the start": (446 + 8, struct.pack("<I", 0)),
    "an empty partition": (446 + 12, struct.pack("<I", 0)),
    "a partition over another": (446 + 12, struct.pack("<I", 8193)),
    "a partition beyond the image": (462 + 12, struct.pack("<I", IMAGE // SECTOR)),
    "no signature": (510, b"\0\0"),
}


@pytest.mark.parametrize(("offset", "data"), MBRS.values(), ids=MBRS.keys())
def test_an_mbr_that_makes_no_sense_is_left_alone(heads: dict[str, bytes], offset: int, data: bytes) -> None:
    assert fitted(heads[MBR], IMAGE, 2 * IMAGE).patches
    assert fitted(bytes(changed(heads[MBR], offset, data)), IMAGE, 2 * IMAGE).patches == ()


def test_an_image_that_ends_within_a_sector_is_left_alone(heads: dict[str, bytes]) -> None:
    assert fitted(heads[MBR], IMAGE + 100, 2 * IMAGE).patches == ()


# --------------------------------------------------------------------------------- what was there before


@pytest.mark.parametrize("script", [GPT, MBR])
def test_the_ends_of_partitions_and_of_the_card_are_cleared(heads: dict[str, bytes], script: str) -> None:
    size = 64 * MIB + 3 * SECTOR
    end = 63 * MIB if script == GPT else 64 * MIB
    assert set(fitted(heads[script], IMAGE, size).stale) == {
        (MIB, 2 * MIB),
        (4 * MIB, 5 * MIB),
        (5 * MIB, 6 * MIB),
        (end - MIB, end),
        (size - MIB, size),
    }


def test_short_partitions_and_short_cards_are_cleared_as_far_as_they_go(tmp_path: Path) -> None:
    path = image(tmp_path, "label: dos\nstart=2048, size=8\n", 2 * MIB)
    assert table(path, 2 * MIB).stale == ((MIB, MIB + 4096), (MIB, MIB + 4096), (MIB, 2 * MIB))
    assert fitted(bytes(4096), 4096, 8192).stale == ((0, 8192),)
    assert fitted(b"", 0, 0).stale == ()


def test_nothing_older_is_found_in_a_partition_that_was_cleared(tmp_path: Path) -> None:
    """Where a partition lies that the image leaves empty, the card has an xfs, the end of an md array, and in
    the middle of it, where nobody looks, more."""
    size = 128 * MIB
    card = tmp_path / "card.img"
    with card.open("wb") as file:
        file.truncate(size)
    old = tmp_path / "xfs.img"
    with old.open("wb") as file:
        file.truncate(512 * MIB)
    process.run([program("mkfs.xfs", "xfsprogs"), "-q", old])
    put(card, 5 * MIB, taken(old, 0, 2 * MIB))
    put(card, 7 * MIB, taken(old, 0, 2 * MIB))
    md = struct.pack("<IIII", 0xA92B4EFC, 1, 0, 0)
    put(card, size - 8192, md.ljust(128, b"\0"))
    put(card, 0, taken(path := image(tmp_path, MBR), 0, MIB))
    made = table(path, size)
    for patch in made.patches:
        put(card, patch.start, patch.data)
    assert disk.read(card).partitions[-1].filesystem is not None
    for start, end in made.stale:
        put(card, start, bytes(end - start))
    assert disk.read(card).partitions[-1].filesystem is None
    assert taken(card, 7 * MIB, 4) == b"XFSB"


# ------------------------------------------------------------------------------------------- hostile heads


def assert_harmless(found: Table, image_size: int, size: int) -> None:
    places = sorted((patch.start, patch.end) for patch in found.patches)
    assert all(0 <= start < end <= size for start, end in (*places, *found.stale))
    assert all(before[1] <= after[0] for before, after in pairwise(places))
    assert not found.patches or size > image_size
    assert len(found.stale) <= 2 * 128 + 1
    assert all(end - start <= MIB for start, end in found.stale)


SIZES = st.integers(0, 64 * MIB) | st.integers(0, 1 << 50) | st.sampled_from([IMAGE, IMAGE + SECTOR])


@given(st.binary(max_size=3 * SECTOR), SIZES, SIZES)
def test_a_head_of_anything_does_no_harm(head: bytes, image_size: int, size: int) -> None:
    assert_harmless(fitted(head, image_size, size), image_size, size)


NUMBERS = st.sampled_from([0, 1, 2, 33, 34, 2047, 2048, 49118, 49119, 49151, 1 << 31, (1 << 32) - 1, 1 << 63])


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.sampled_from([8, 12, 24, 32, 40, 48, 72, 80, 84]), NUMBERS), max_size=3),
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0, 32, 40]), NUMBERS), max_size=3),
    st.integers(IMAGE - MIB, 3 * IMAGE),
)
def test_a_gpt_with_absurd_numbers_and_right_sums_does_no_harm(
    heads: dict[str, bytes],
    header: list[tuple[int, int]],
    entries: list[tuple[int, int, int]],
    size: int,
) -> None:
    head = bytearray(heads[GPT])
    for number, offset, value in entries:
        struct.pack_into("<Q", head, 2 * SECTOR + 128 * number + offset, value)
    sealed(head)
    for offset, value in header:
        if offset in {8, 12, 80, 84}:
            struct.pack_into("<I", head, SECTOR + offset, value % (1 << 32))
        else:
            struct.pack_into("<Q", head, SECTOR + offset, value)
    assert_harmless(fitted(header_sealed(head), IMAGE, size), IMAGE, size)


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 4, 8, 12]), NUMBERS), max_size=4),
    st.integers(0, 3 * IMAGE) | st.integers(1 << 40, 1 << 43),
)
def test_an_mbr_with_absurd_numbers_does_no_harm(
    heads: dict[str, bytes], changes: list[tuple[int, int, int]], size: int
) -> None:
    head = bytearray(heads[MBR])
    for number, offset, value in changes:
        at = 446 + 16 * number + offset
        if offset in {0, 4}:
            head[at] = value % 256
        else:
            struct.pack_into("<I", head, at, value % (1 << 32))
    assert_harmless(fitted(bytes(head), IMAGE, size), IMAGE, size)


@given(st.integers(0, 8 * 34 * SECTOR - 1), st.sampled_from([GPT, MBR]))
def test_a_flipped_bit_does_no_harm_and_a_gpt_sees_it(heads: dict[str, bytes], bit: int, script: str) -> None:
    head = bytearray(heads[script])
    head[bit // 8] ^= 1 << bit % 8
    found = fitted(bytes(head), IMAGE, 2 * IMAGE)
    assert_harmless(found, IMAGE, 2 * IMAGE)
    in_table = SECTOR <= bit // 8 < SECTOR + 92 or bit // 8 >= 2 * SECTOR
    if script == GPT and in_table:
        assert found.patches == ()
