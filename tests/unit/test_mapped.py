"""Which bytes reach a card, on images with real file systems and on boot sectors that lie."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.machine import process
from pipeline.raw import disk, mapped, sparse
from pipeline.raw.ranges import BLOCK, Ranges, merged

MIB = 1 << 20
SIZE = 64 * MIB
START = MIB  # of the only partition
WHOLE = 61 * MIB  # its size
Make = Callable[[Path], None]


def image(folder: Path, make: Make | None = None, kind: str = "gpt") -> Path:
    """An image with one partition that holds what `make` puts into a file, at the place of its data only."""
    path = folder / "node.img"
    with path.open("wb") as file:
        file.truncate(SIZE)
    script = f"label: {kind}\nstart=2048, size={WHOLE // 512}\n"
    process.run(["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", path], stdin=script.encode())
    if make is None:
        return path
    part = folder / "part"
    with part.open("wb") as file:
        file.truncate(WHOLE)
    make(part)
    with part.open("rb") as source, path.open("rb+") as target:
        for start, end in sparse.extents(source.fileno()):
            target.seek(START + start)
            target.write(os.pread(source.fileno(), end - start, start))
    return path


def quietly(*argv: str | Path) -> None:
    process.run(argv)


def covers(ranges: Ranges, start: int, end: int) -> bool:
    return any(first <= start and end <= last for first, last in ranges)


def total(ranges: Ranges) -> int:
    return sum(end - start for start, end in ranges)


def data_extents(path: Path) -> Ranges:
    with path.open("rb") as file:
        return merged(sparse.extents(file.fileno()), SIZE)


def covers_all(ranges: Ranges, others: Ranges) -> bool:
    return all(covers(ranges, start, end) for start, end in others)


# --------------------------------------------------------------------------------------------- ranges

piece = st.tuples(st.integers(0, 40 * BLOCK), st.integers(0, 40 * BLOCK))


@given(st.lists(piece, max_size=12), st.integers(0, 40 * BLOCK))
def test_merged_ranges_are_what_the_pieces_touch(pieces: list[tuple[int, int]], size: int) -> None:
    ranges = merged(pieces, size)
    block = BLOCK
    touched = {
        number
        for start, end in pieces
        if start < min(end, size)
        for number in range(start // block, -(-min(end, size) // block))
    }
    assert {number for start, end in ranges for number in range(start // block, -(-end // block))} == touched
    assert all(start % block == 0 and (end % block == 0 or end == size) for start, end in ranges)
    assert all(before[1] < after[0] for before, after in pairwise(ranges))


# ------------------------------------------------------------------------------------------------ ext


def ext(*options: str) -> Make:
    def make(part: Path) -> None:
        (part.parent / "tree").mkdir(exist_ok=True)
        (part.parent / "tree/file").write_bytes(b"x" * (3 * MIB + 1))
        process.run(["mke2fs", "-q", *options, "-d", part.parent / "tree", part])

    return make


EXTS = {
    "ext2": ("-t", "ext2"),
    "ext3": ("-t", "ext3", "-b", "1024"),
    "ext4": ("-t", "ext4", "-b", "4096"),
    "1 KiB blocks": ("-t", "ext4", "-b", "1024"),
    "groups without bitmaps": ("-t", "ext4", "-b", "1024", "-G", "1", "-E", "lazy_itable_init=1"),
    "meta_bg": ("-t", "ext4", "-b", "1024", "-O", "meta_bg,^resize_inode,^flex_bg"),
    "no checksums": ("-t", "ext4", "-O", "^metadata_csum,^uninit_bg"),
    "bigalloc": ("-t", "ext4", "-b", "4096", "-O", "bigalloc", "-C", "65536"),
}


@pytest.mark.parametrize("options", EXTS.values(), ids=EXTS)
def test_allocated_blocks_of_ext_are_mapped(tmp_path: Path, options: tuple[str, ...]) -> None:
    path = image(tmp_path, ext(*options))
    ranges = mapped.ranges(path)
    assert covers_all(ranges, data_extents(path))
    assert total(ranges) < 24 * MIB
    # debugfs has its own way to ask for one block
    text = process.run(["dumpe2fs", "-h", f"{path}?offset={START}"]).out.decode()
    facts = dict(re.findall(r"^(Block size|Block count|First block): +(\d+)$", text, re.MULTILINE))
    size, count = int(facts["Block size"]), int(facts["Block count"])
    asked = range(int(facts["First block"]), count, 13)
    script = "\n".join(f"testb {number}" for number in asked)
    said = process.run(["debugfs", "-f", "-", f"{path}?offset={START}"], stdin=script.encode()).out.decode()
    used = [int(number) for number in re.findall(r"^Block (\d+) marked in use", said, re.MULTILINE)]
    assert len(used) > 50
    assert all(covers(ranges, START + number * size, START + (number + 1) * size) for number in used)


def test_free_blocks_of_a_used_file_system_are_not_mapped(tmp_path: Path) -> None:
    ranges = mapped.ranges(image(tmp_path, ext("-t", "ext4", "-b", "4096")))
    # all before the partition, 3 MiB of a file, 4 MiB of journal and some tables, the backup GPT
    assert total(ranges) < 16 * MIB


@pytest.mark.parametrize("command", ["feature needs_recovery", "ssv state 0", "ssv state 2"])
def test_all_of_an_unclean_ext_is_mapped(tmp_path: Path, command: str) -> None:
    path = image(tmp_path, ext("-t", "ext4"))
    process.run(["debugfs", "-w", "-R", command, f"{path}?offset={START}"])
    assert covers(mapped.ranges(path), 0, START + WHOLE)


def test_all_of_an_ext_with_a_damaged_bitmap_is_mapped(tmp_path: Path) -> None:
    path = image(tmp_path, ext("-t", "ext4", "-b", "4096"))
    text = process.run(["dumpe2fs", f"{path}?offset={START}"]).out.decode()
    bitmap = re.search(r"Block bitmap at (\d+)", text)
    assert bitmap is not None
    with path.open("rb+") as file:
        file.seek(START + int(bitmap[1]) * 4096)
        file.write(bytes(64))
    assert covers(mapped.ranges(path), 0, START + WHOLE)


def test_a_question_mark_in_the_name_reads_no_other_file(tmp_path: Path) -> None:
    path = image(tmp_path, ext("-t", "ext4"))
    odd = path.rename(tmp_path / "node.img?x")
    assert covers(mapped.ranges(odd), 0, START + WHOLE)
    folder = tmp_path / "what?"
    folder.mkdir()
    moved = odd.rename(folder / "node.img")
    assert total(mapped.ranges(moved)) < 24 * MIB


@pytest.mark.parametrize("label", ["x\nBlock size:  abc", "\nGroup 0", "\n  Free blocks: 9-"])
def test_a_volume_name_that_plays_a_field_does_no_harm(tmp_path: Path, label: str) -> None:
    path = image(tmp_path, ext("-t", "ext4"))
    process.run(["tune2fs", "-L", label[:16], f"{path}?offset={START}"])
    assert covers_all(mapped.ranges(path), data_extents(path))


# ------------------------------------------------------------------------------------------------ FAT


def fat(*options: str) -> Make:
    def make(part: Path) -> None:
        process.run(["mkfs.vfat", *options, part])
        for name in ("one", "two", "gone"):
            data = name.encode() * 100_000
            process.run(["mcopy", "-i", part, "-", f"::{name}"], stdin=data)
        process.run(["mdel", "-i", part, "::gone"])
        process.run(["mmd", "-i", part, "::folder"])

    return make


FATS = {
    "FAT12": ("-F", "12"),
    "FAT16": ("-F", "16"),
    "FAT32": ("-F", "32", "-s", "1"),
    "large sectors": ("-F", "16", "-S", "2048"),
    "one FAT": ("-F", "16", "-f", "1"),
}


@pytest.mark.parametrize("options", FATS.values(), ids=FATS)
def test_allocated_clusters_of_fat_are_mapped(tmp_path: Path, options: tuple[str, ...]) -> None:
    path = image(tmp_path, fat(*options))
    ranges = mapped.ranges(path)
    assert covers_all(ranges, data_extents(path))
    assert total(ranges) < 8 * MIB
    # what the table says, without the help of the data in the file
    used = mapped._fat(path, disk.read(path).partitions[0])
    assert used is not None
    allocated = merged(((START + a, START + b) for a, b in used), SIZE)
    with path.open("rb") as file:
        found = [
            at
            for at in range(START, START + WHOLE, BLOCK)
            if re.search(b"oneone|twotwo", os.pread(file.fileno(), BLOCK, at))
        ]
    assert len(found) > 100
    assert all(covers(allocated, at, at + BLOCK) for at in found)


def test_a_fat32_with_few_clusters_is_one_for_linux(tmp_path: Path) -> None:
    path = image(tmp_path, lambda part: quietly("mkfs.vfat", "-F", "32", "-s", "16", part))
    system, root = mapped._fat(path, disk.read(path).partitions[0]) or [(0, 0), (0, 0)]
    assert system[0] == 0
    assert root == (system[1], system[1] + 16 * 512)


GOOD = {"sector": 512, "per": 4, "reserved": 1, "fats": 2, "roots": 512, "small": 0, "short": 128}
GOOD |= {"large": 122880, "long": 0, "flags": 0}


def boot_sector(**changes: int) -> bytes:
    values = GOOD | changes
    data = bytearray(512)
    keys = "sector per reserved fats roots small short large long flags".split()
    mapped._BPB.pack_into(data, 0, *(values[key] for key in keys))
    return bytes(data)


def read_boot_sector(path: Path, data: bytes) -> list[tuple[int, int]] | None:
    with path.open("rb+") as file:
        file.seek(START)
        file.write(data)
    partition = disk.Partition(1, START, WHOLE, "", "", "vfat", None, None)
    return mapped._fat(path, partition)


@pytest.mark.parametrize(
    "changes",
    [
        {"sector": 0},
        {"sector": 513},
        {"per": 0},
        {"per": 3},
        {"reserved": 0},
        {"fats": 0},
        {"short": 1},
        {"short": 0, "long": 0},
        {"large": 0},
        {"large": 2**32 - 1},
        {"small": 65535, "short": 65535},
        {"short": 0, "long": 2**32 - 1, "roots": 0},
        {"short": 0, "long": 1024, "roots": 512},
        {"short": 0, "long": 1024, "roots": 0, "flags": 0x81},
        {"per": 1, "short": 512},
        {"fats": 255, "short": 65535},
    ],
    ids=str,
)
def test_all_is_mapped_where_a_boot_sector_lies(tmp_path: Path, changes: dict[str, int]) -> None:
    path = image(tmp_path)
    assert read_boot_sector(path, boot_sector()) == [(0, (1 + 256 + 32) * 512)]
    assert read_boot_sector(path, boot_sector(**changes)) is None


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return image(tmp_path_factory.mktemp("fat"))


@given(st.binary(min_size=64, max_size=64))
def test_no_boot_sector_leads_out_of_its_partition(scratch: Path, data: bytes) -> None:
    found = read_boot_sector(scratch, data)
    assert found is None or all(0 <= start <= end <= WHOLE for start, end in found)


@given(st.lists(st.integers(0, 0xFFF), min_size=1, max_size=50))
def test_entries_of_12_bits_are_found_in_their_bytes(entries: list[int]) -> None:
    packed = sum(entry << 12 * index for index, entry in enumerate(entries))
    table = packed.to_bytes(-(-len(entries) * 12 // 8), "little")
    assert list(mapped._entries(table, 12))[: len(entries)] == entries


def test_a_table_that_would_eat_the_memory_is_not_read(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped, "_LARGEST_TABLE", 1000)
    assert read_boot_sector(scratch, boot_sector()) is None


# --------------------------------------------------------------------------------------------- others


def test_of_swap_only_the_header_is_mapped(tmp_path: Path) -> None:
    ranges = mapped.ranges(image(tmp_path, lambda part: quietly("mkswap", part)))
    assert covers(ranges, 0, START + 4096)
    assert total(ranges) < 2 * MIB


def squash(part: Path) -> None:
    (part.parent / "tree").mkdir()
    process.run(["mksquashfs", part.parent / "tree", part, "-quiet", "-noappend"])
    os.truncate(part, WHOLE)


@pytest.mark.parametrize("make", [None, squash, lambda part: part.write_bytes(b"?" * 9000)])
def test_all_of_what_is_not_known_is_mapped(tmp_path: Path, make: Make | None) -> None:
    assert covers(mapped.ranges(image(tmp_path, make)), 0, START + WHOLE)


@pytest.mark.parametrize("kind", ["gpt", "dos"])
def test_tables_and_boot_loaders_are_mapped_with_their_zeros(tmp_path: Path, kind: str) -> None:
    path = image(tmp_path, ext("-t", "ext4"), kind)
    with path.open("rb+") as file:
        file.seek(START + WHOLE + MIB)
        file.write(b"left over")
    ranges = mapped.ranges(path)
    assert covers(ranges, 0, START)
    assert covers(ranges, START + WHOLE + MIB, START + WHOLE + MIB + 9)
    assert covers(ranges, SIZE - 33 * 512, SIZE) == (kind == "gpt")


def test_what_was_packed_is_what_is_read() -> None:
    offsets = {"sector": 11, "per": 13, "reserved": 14, "fats": 16, "roots": 17, "small": 19}
    offsets |= {"short": 22, "large": 32, "long": 36, "flags": 40}  # fatgen103, section 3
    for key, offset in offsets.items():
        assert boot_sector(**{key: 0x55})[offset] == 0x55
        assert struct.calcsize(mapped._BPB.format) == 42
