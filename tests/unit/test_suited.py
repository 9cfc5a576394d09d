"""What the direct injector leaves alone, by the bytes of a superblock and a boot sector."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.inject.suited import FAT_HEAD, SUPERBLOCK, has_extents, why_not_ext, why_not_fat
from pipeline.machine import process

SIZE = 8 << 20


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The superblocks that mke2fs(8) writes, by its options."""
    image = tmp_path_factory.mktemp("suited") / "image"
    found = {}
    for options in (
        "-t ext2",
        "-t ext3",
        "-t ext4",
        "-t ext4 -b 4096",
        "-t ext4 -O quota",
        "-t ext4 -O ^64bit",
    ):
        image.write_bytes(bytes(SIZE))
        process.run(["mke2fs", "-q", "-F", *options.split(), image])
        found[options] = image.read_bytes()[SUPERBLOCK[0] :][: SUPERBLOCK[1]]
    return found


@pytest.mark.parametrize("options", ["-t ext2", "-t ext3", "-t ext4", "-t ext4 -b 4096", "-t ext4 -O ^64bit"])
def test_what_mke2fs_makes_by_itself_is_taken(made: dict[str, bytes], options: str) -> None:
    assert why_not_ext(made[options], SIZE) == ""
    assert has_extents(made[options]) == ("ext4" in options)


REFUSED: dict[str, tuple[int, str, Callable[[int], int], str]] = {
    "a journal to replay": (0x60, "<I", lambda old: old | 0x4, "its journal waits to be replayed"),
    "mounted when the power went": (0x3A, "<H", lambda old: old & ~1, "it was not put away well"),
    "errors": (0x3A, "<H", lambda old: old | 2, "it was not put away well"),
    "orphans in a list": (0xE8, "<I", lambda _: 13, "files without a name wait to be removed"),
    "orphans in a file": (0x64, "<I", lambda old: old | 0x10000, "files without a name wait to be removed"),
    "quota": (0x64, "<I", lambda old: old | 0x100, "it has quota"),
    "encryption and inline data": (0x60, "<I", lambda old: old | 0x18000, "it has inline_data, encrypt"),
    "clusters": (0x64, "<I", lambda old: old | 0x200, "it has bigalloc"),
    "case folding": (0x60, "<I", lambda old: old | 0x20000, "it has casefold"),
    "what nobody knows yet": (0x60, "<I", lambda old: old | 1 << 30, "it has incompat feature 0x40000000"),
    "a journal elsewhere": (0xE4, "<I", lambda _: 0x801, "its journal is on another device"),
    "a journal that is to be looked for": (0xE0, "<I", lambda _: 0, "its journal is on another device"),
    "Hurd": (0x48, "<I", lambda _: 1, "it is not of Linux, or as old as the first ext2"),
    "the first ext2": (0x4C, "<I", lambda _: 0, "it is not of Linux, or as old as the first ext2"),
    "more blocks than room": (0x4, "<I", lambda old: old + 8, "it is larger than its partition"),
    "blocks beyond 32 bits": (0x150, "<I", lambda _: 1, "it is larger than its partition"),
    "absurd blocks": (0x18, "<I", lambda _: 0xFFFF_FFFF, "it is larger than its partition"),
    "no magic": (0x38, "<H", lambda _: 0, "it has no superblock"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_only_a_kernel_does_is_refused_with_its_reason(made: dict[str, bytes], case: str) -> None:
    offset, form, change, reason = REFUSED[case]
    data = bytearray(made["-t ext4"])
    (old,) = struct.unpack_from(form, data, offset)
    struct.pack_into(form, data, offset, change(old))
    assert why_not_ext(bytes(data), SIZE) == reason


def test_what_mke2fs_makes_on_demand_is_refused_by_its_name(made: dict[str, bytes]) -> None:
    assert why_not_ext(made["-t ext4 -O quota"], SIZE) == "it has quota"


@given(st.binary(max_size=SUPERBLOCK[1] + 1), st.integers(0, 1 << 50))
def test_any_bytes_give_an_answer(data: bytes, size: int) -> None:
    assert isinstance(why_not_ext(data, size), str)
    assert isinstance(why_not_fat(data, size), str)


@pytest.fixture(scope="module", params=["16", "32"])
def fat(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A boot sector of mkfs.vfat(8)."""
    image = Path(tmp_path_factory.mktemp("fat") / "image")
    image.write_bytes(bytes(SIZE))
    process.run(["mkfs.vfat", "-F", request.param, "-s", "1", image])
    return image.read_bytes()[:FAT_HEAD]


def test_a_fat_is_taken_unless_it_was_in_use_or_does_not_fit(fat: bytes) -> None:
    assert why_not_fat(fat, SIZE) == ""
    assert why_not_fat(fat, SIZE - 512) == "it is larger than its partition"
    assert why_not_fat(bytes(FAT_HEAD), SIZE) == "it has no boot sector"
    in_use = bytearray(fat)
    in_use[0x25 if struct.unpack_from("<H", fat, 22)[0] else 0x41] |= 1
    assert why_not_fat(bytes(in_use), SIZE) == "it was not put away well"
