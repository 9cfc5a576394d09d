"""Block maps: our words, bmaptool's reading of them, used cards, and files that mean harm."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import MetisError, MismatchError
from pipeline.machine import process
from pipeline.raw import bmap, hashing, mapped, sparse
from pipeline.raw.ranges import BLOCK, Ranges, merged, outside, split

MIB = 1 << 20
ROOT = 5 * MIB  # where the ext4 file system of `card` lies
# bmaptool empties a target that is a file; its library writes to whatever is open, as to a device.
ONTO_USED_CARD = """
import sys
from bmaptools import BmapCopy
image, bmap, target = (open(path, mode) for path, mode in zip(sys.argv[1:], ("rb", "rb", "rb+")))
BmapCopy.BmapCopy(image, target, bmap, image_size=None).copy(verify=True)
"""


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with a FAT and an ext4; each has a file of zeros that is a hole in the image."""
    folder = tmp_path_factory.mktemp("card")
    path = folder / "node.img"
    with path.open("wb") as file:
        file.truncate(40 * MIB)
    script = "label: dos\nstart=2048, size=8192, type=c\nsize=65536, type=83\n"
    process.run(["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", path], stdin=script.encode())
    process.run(["mkfs.vfat", "--offset=2048", path, "4096"])
    (folder / "zeros").write_bytes(bytes(MIB))
    (folder / "text").write_bytes(b"not zeros\n" * 1000)
    for name in ("zeros", "text"):
        process.run(["mcopy", "-i", f"{path}@@{MIB}", folder / name, f"::{name}"])
    process.run(["mke2fs", "-q", "-t", "ext4", "-b", "4096", "-E", f"offset={ROOT}", path, "32M"])
    commands = f"write {folder / 'text'} text\nwrite {folder / 'text'} zeros\n"
    process.run(["debugfs", "-w", "-f", "-", f"{path}?offset={ROOT}"], stdin=commands.encode())
    # debugfs writes no blocks of zeros: give the second file's blocks their zeros as holes
    for start, end in blocks_of(path, "zeros"):
        punch(path, start, end)
    process.run(["fallocate", "--dig-holes", path])
    return path


def blocks_of(path: Path, name: str) -> list[tuple[int, int]]:
    said = process.run(["debugfs", "-R", f"blocks {name}", f"{path}?offset={ROOT}"]).out.decode()
    return [(ROOT + int(number) * BLOCK, ROOT + (int(number) + 1) * BLOCK) for number in said.split()]


def punch(path: Path, start: int, end: int) -> None:
    words = ["--punch-hole", "--offset", str(start), "--length", str(end - start)]
    process.run(["fallocate", *words, path])


def data_extents(path: Path) -> Ranges:
    with path.open("rb") as file:
        return merged(sparse.extents(file.fileno()), path.stat().st_size)


def used_card(path: Path, size: int) -> Path:
    """A target that was full of other things before."""
    path.write_bytes(b"\xff" * size)
    return path


def burn(image: Path, described: bmap.Bmap, target: Path) -> None:
    described_in = target.with_suffix(".bmap")
    described_in.write_bytes(described.to_xml())
    process.run(["/usr/bin/python3", "-c", ONTO_USED_CARD, image, described_in, target])


def read_file(card: Path, name: str) -> bytes:
    return process.run(["debugfs", "-R", f"cat {name}", f"{card}?offset={ROOT}"]).out


def read_boot_file(card: Path, name: str) -> bytes:
    return process.run(["mtype", "-i", f"{card}@@{MIB}", f"::{name}"]).out


# ------------------------------------------------------------------------------------------- on cards


def test_zeros_that_are_allocated_are_zeros_on_a_used_card(card: Path, tmp_path: Path) -> None:
    described = bmap.describe(card, mapped.ranges(card))
    target = used_card(tmp_path / "target", card.stat().st_size)
    burn(card, described, target)
    assert read_file(target, "zeros") == bytes(10_000)
    assert read_file(target, "text") == b"not zeros\n" * 1000
    assert read_boot_file(target, "zeros") == bytes(MIB)
    assert read_boot_file(target, "text") == b"not zeros\n" * 1000
    whole = tmp_path / "root"
    whole.write_bytes(target.read_bytes()[ROOT : ROOT + 32 * MIB])
    process.run(["e2fsck", "-fn", whole])
    assert process.run(["sfdisk", "--verify", target]).code == 0
    assert described.mapped < card.stat().st_size // 2
    assert b"\xff" * BLOCK in target.read_bytes()


def test_a_map_of_the_data_alone_would_leave_old_bytes(card: Path, tmp_path: Path) -> None:
    target = used_card(tmp_path / "target", card.stat().st_size)
    burn(card, bmap.describe(card, data_extents(card)), target)
    assert read_file(target, "zeros") == b"\xff" * 10_000
    assert read_boot_file(target, "zeros") != bytes(MIB)
    assert read_file(target, "text") == b"not zeros\n" * 1000


def test_bmaptool_reads_our_map(card: Path, tmp_path: Path) -> None:
    described = tmp_path / "node.img.bmap"
    described.write_bytes(bmap.describe(card, mapped.ranges(card)).to_xml())
    target = tmp_path / "target"
    process.run(["bmaptool", "--quiet", "copy", "--bmap", described, card, target])
    assert target.read_bytes() == card.read_bytes()


def test_bmaptool_notices_a_changed_image_and_a_changed_map(card: Path, tmp_path: Path) -> None:
    copy, described = tmp_path / "copy", tmp_path / "copy.bmap"
    sparse.copy(card, copy)
    xml = bmap.describe(card, mapped.ranges(card)).to_xml()
    argv: list[str | Path] = ["bmaptool", "--quiet", "copy", "--bmap", described, copy, tmp_path / "target"]
    described.write_bytes(xml.replace(b" 0-", b" 1-", 1))
    assert process.run(argv, check=False).code != 0
    described.write_bytes(xml)
    assert process.run(argv, check=False).code == 0
    change(copy, 100, b"?")
    assert process.run(argv, check=False).code != 0


def test_we_read_the_map_of_bmaptool(card: Path, tmp_path: Path) -> None:
    made = tmp_path / "theirs.bmap"
    process.run(["bmaptool", "--quiet", "create", "-o", made, card])
    theirs = bmap.parse(made.read_bytes())
    assert theirs.size == card.stat().st_size
    assert merged(((each.start, each.end) for each in theirs.ranges), theirs.size) == data_extents(card)
    assert bmap.difference(card, theirs) is None
    assert bmap.parse(theirs.to_xml()) == theirs


# ------------------------------------------------------------------------------ describing, comparing


def change(path: Path, offset: int, data: bytes) -> None:
    with path.open("rb+") as file:
        file.seek(offset)
        file.write(data)


def test_every_range_has_its_hash_and_is_told_of_once(card: Path) -> None:
    told: list[int] = []
    ranges = mapped.ranges(card)
    described = bmap.describe(card, ranges, told.append)
    data = card.read_bytes()
    assert all(
        each.sha256 == hashlib.sha256(data[each.start : each.end]).hexdigest() for each in described.ranges
    )
    assert all(0 < each.end - each.start <= MIB for each in described.ranges)
    assert merged(((each.start, each.end) for each in described.ranges), len(data)) == ranges
    assert sum(told) == described.mapped == sum(end - start for start, end in ranges)


def test_the_last_block_may_be_a_part_of_one(tmp_path: Path) -> None:
    path = tmp_path / "odd"
    path.write_bytes(b"x" * (MIB + 100))
    described = bmap.describe(path, merged([(MIB, MIB + 1)], MIB + 100))
    assert described.ranges == (bmap.Range(MIB, MIB + 100, hashlib.sha256(b"x" * 100).hexdigest()),)
    assert bmap.parse(described.to_xml()) == described
    assert bmap.difference(path, described) == 0


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """4 MiB: data at 1 MiB and from 2.5 to 2.6 MiB, holes elsewhere."""
    path = tmp_path / "small"
    with path.open("wb") as file:
        file.truncate(4 * MIB)
    change(path, MIB, b"a" * BLOCK)
    change(path, 2 * MIB + MIB // 2, b"b" * 100_000)
    return path


@pytest.mark.parametrize(
    ("offset", "data", "expected"),
    [
        (0, b"", None),
        (MIB, b"a", None),
        (MIB + 7, b"A", MIB),
        (2 * MIB + MIB // 2, b"B", 2 * MIB + MIB // 2),
        (3 * MIB + 5, b"stray", 3 * MIB + 5),
        (8 * BLOCK, bytes(BLOCK), None),
        (4 * MIB - 1, b"\x01", 4 * MIB - 1),
        (MIB + BLOCK + 1, b"stray", MIB + BLOCK + 1),
        (4 * MIB, b"longer", 4 * MIB),
    ],
)
def test_the_first_difference_is_found(small: Path, offset: int, data: bytes, expected: int | None) -> None:
    described = bmap.describe(small, data_extents(small))
    change(small, offset, data)
    assert bmap.difference(small, described) == expected


def test_a_stray_byte_before_a_wrong_range_is_the_first(small: Path) -> None:
    described = bmap.describe(small, data_extents(small))
    change(small, MIB + 1, b"A")
    change(small, 77, b"stray")
    assert bmap.difference(small, described) == 77
    os.truncate(small, 100)
    assert bmap.difference(small, described) == 100


def test_an_image_that_cannot_be_read_is_one_line(small: Path) -> None:
    described = bmap.describe(small, data_extents(small))
    with pytest.raises(MetisError, match=f"{small} ends before"):
        bmap.describe(small, [(4 * MIB, 5 * MIB)])
    small.unlink()
    for call in (lambda: bmap.describe(small, []), lambda: bmap.difference(small, described)):
        with pytest.raises(MetisError, match=f"cannot read {small}: no such file"):
            call()


def test_an_image_that_shrinks_meanwhile_is_an_error(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_is_hole", lambda *_: False)
    monkeypatch.setattr(os, "preadv", lambda *_: 0)
    with pytest.raises(MetisError, match="became shorter"):
        bmap.describe(small, [(0, MIB)])


pieces = st.lists(st.tuples(st.integers(0, 9 * MIB), st.integers(0, 9 * MIB)), max_size=8)


@given(pieces, st.integers(1, 9 * MIB))
def test_split_ranges_are_short_and_lose_nothing(pieces: list[tuple[int, int]], size: int) -> None:
    ranges = merged(pieces, size)
    parts = list(split(ranges))
    assert merged(parts, size) == ranges
    assert sum(end - start for start, end in parts) == sum(end - start for start, end in ranges)
    assert all(start < end and start // MIB == (end - 1) // MIB for start, end in parts)


@given(pieces, pieces, st.integers(1, 9 * MIB))
def test_outside_is_the_rest(left: list[tuple[int, int]], right: list[tuple[int, int]], size: int) -> None:
    extents, places = merged(left, size), merged(right, size)
    parts = list(split(places))
    rest = list(outside(extents, parts))
    assert merged([*rest, *places], size) == merged([*extents, *places], size)
    assert all(end <= first or last <= start for start, end in rest for first, last in parts)


# ----------------------------------------------------------------------------------------- the format


@st.composite
def maps(draw: st.DrawFn) -> bmap.Bmap:
    size = draw(st.integers(1, 64 * MIB))
    places = split(merged(draw(pieces), size))
    ranges = (bmap.Range(start, end, hashlib.sha256(b"%d" % start).hexdigest()) for start, end in places)
    return bmap.Bmap(size, tuple(ranges))


@given(maps())
def test_a_map_survives_its_text(value: bmap.Bmap) -> None:
    assert bmap.parse(value.to_xml()) == value


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    with pytest.raises(MetisError):
        bmap.parse(data)


XML = bmap.Bmap(MIB + 1, (bmap.Range(0, BLOCK, "ab" * 32), bmap.Range(MIB // 2, MIB, "cd" * 32))).to_xml()


@given(st.integers(0, len(XML)), st.integers(0, 20), st.binary(max_size=20))
def test_no_change_of_a_map_does_more_than_be_refused(at: int, length: int, put: bytes) -> None:
    data = XML[:at] + put + XML[at + length :]
    if data != XML:
        with pytest.raises(MetisError):
            bmap.parse(data)


def sealed(data: bytes) -> bytes:
    """The map with a checksum that is right, so that only the rest of it is judged."""
    zeroed = re.sub(rb"(<BmapFileChecksum> )[0-9a-f]{64}", rb"\g<1>" + b"0" * 64, data)
    checksum = hashlib.sha256(zeroed).hexdigest().encode()
    return re.sub(rb"(<BmapFileChecksum> )[0-9a-f]{64}", rb"\g<1>" + checksum, data)


def test_a_sealed_map_is_read() -> None:
    assert sealed(XML) == XML
    assert bmap.parse(sealed(XML.replace(b"<BlockMap>", b"<More> 1 </More><BlockMap>"))) == bmap.parse(XML)


Change = Callable[[bytes], bytes]


def swap(old: bytes, new: bytes) -> Change:
    return lambda data: data.replace(old, new, 1)


BOMB = b'<!DOCTYPE bmap [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><bmap version="2.0">&b;'
ranges = re.findall(rb" *<Range.*\n", XML)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (swap(b'<bmap version="2.0">', BOMB), "document type"),
        (
            swap(b'<bmap version="2.0">', b'<!DOCTYPE bmap SYSTEM "file:///etc/passwd">\n<bmap>'),
            "document type",
        ),
        (swap(b'version="2.0"', b'version="1.3"'), "version 2.0"),
        (swap(b"<bmap ", b"<map "), "mismatched tag|no place"),
        (swap(b"<BlockMap>", b"<BlockMap>" + b"<a>" * 1000), "no place"),
        (swap(b"</bmap>", b""), "no element found"),
        (swap(b"257", b"258"), "counts of blocks"),
        (swap(b"Count> 129", b"Count> 130"), "counts of blocks"),
        (swap(b"<ImageSize> 1048577 </ImageSize>", b""), "no ImageSize"),
        (swap(b"1048577", b"-1"), "not a count"),
        (swap(b"1048577", b"9" * 5000), "not a count"),
        (swap(b"1048577", "١٢".encode()), "not a count"),
        (swap(b"</ImageSize>", b"</ImageSize><ImageSize> 1 </ImageSize>"), "two of ImageSize"),
        (swap(b"> 4096 <", b"> 512 <"), "blocks of 4096"),
        (swap(b"sha256", b"sha512"), "only SHA-256"),
        (swap(b"128-255", b"255-128"), "is empty"),
        (swap(b"128-255", b"128-257"), "leaves the image"),
        (swap(b"128-255", b"128-255-256"), "not a count"),
        (swap(b"128-255", b""), "not a count"),
        (swap(b"128-255", b" " * 9000), "text without end"),
        (swap(b"128-255", b"<![CDATA[" + b"<" * 9000 + b"]]>"), "text without end"),
        (swap(b"<Range", b"<Range " + b"a" * (1 << 16)), "tag or a text without end"),
        (swap(b"<BlockMap>", b"".join(b"<x%d/>" % i for i in range(99)) + b"<BlockMap>"), "not known"),
        (swap(b"<Range", b"<Range " + b" ".join(b"x%d=''" % i for i in range(99))), "not known"),
        (swap(b"> 0 <", b"> 128 <"), "overlap"),
        (swap(ranges[0] + ranges[1], ranges[1] + ranges[0]), "not in order"),
        (swap(b' chksum="' + b"ab" * 32 + b'"', b""), "no SHA-256"),
        (swap(b"ab" * 32, b"AB" * 32), "no SHA-256"),
        (swap(b"BmapFileChecksum", b"BmapFileChecksun"), "mismatched tag"),
        (lambda data: data.decode().encode("utf-16"), "no SHA-256 of its own"),
        (lambda data: data.replace(b"BmapFileChecksum", b"Other"), "no SHA-256 of its own"),
        (lambda _: b" " * (bmap.LARGEST_FILE + 1), "larger than 32 MiB"),
    ],
)
def test_a_map_that_is_none_is_refused(spoil: Change, said: str) -> None:
    data = spoil(XML)
    assert data != XML
    with pytest.raises(MetisError, match=said):
        bmap.parse(sealed(data))


def test_a_wrong_checksum_is_a_mismatch() -> None:
    with pytest.raises(MismatchError, match="checksum"):
        bmap.parse(XML.replace(b"> 0 <", b"> 1 <"))


# --------------------------------------------------------------------------------------- what it costs

MEMORY = 150 << 20
PARSE_AND_TELL = """
import sys
from pathlib import Path
from pipeline.raw import bmap
from pipeline.errors import MetisError
try:
    print(len(bmap.parse(Path(sys.argv[1]).read_bytes()).ranges))
except MetisError as error:
    print(error)
(peak,) = (line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(int(peak.split()[1]) * 1024)
"""
ROOM = bmap.LARGEST_FILE - (1 << 12)
"""Bytes for what is repeated in a map."""


def largest() -> bytes:
    """As many ranges as a map has room for."""
    line = '<Range chksum="{:064x}">{}</Range>'
    count = ROOM // len(line.format(0, 10_000_000))
    lines = "".join(line.format(number, 2 * number) for number in range(count))
    small = bmap.Bmap(2 * count * BLOCK, ()).to_xml().decode()
    return (
        small.replace("MappedBlocksCount> 0", f"MappedBlocksCount> {count}")
        .replace("<BlockMap>\n", f"<BlockMap>{lines}")
        .encode()
    )


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "ranges": (largest, r"\d{6}"),
    "names": (
        lambda: swap(b"</bmap>", b"".join(b"<%x/>" % n for n in range(0xA00000, 0xA00000 + ROOM // 9)))(XML),
        "says too much that is not known",
    ),
    "attributes": (
        lambda: swap(b"<Range", b"<Range " + b"".join(b" a%x=''" % n for n in range(ROOM // 12)))(XML),
        "tag or a text without end",
    ),
    "text": (
        lambda: swap(b"</bmap>", b"<x><![CDATA[" + b"<" * ROOM + b"]]></x></bmap>")(XML),
        "tag or a text without end",
    ),
    "a comment": (lambda: swap(b"</bmap>", b"<!-- " + b"<" * ROOM + b" --></bmap>")(XML), "2"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_no_map_takes_more_memory_than_an_honest_one(tmp_path: Path, case: str) -> None:
    make, said = HOSTILE[case]
    file = tmp_path / "map"
    file.write_bytes(sealed(make()))
    out = process.run([sys.executable, "-c", PARSE_AND_TELL, file]).out.decode()
    told, peak = out.splitlines()
    assert re.search(said, told), told
    assert int(peak) < MEMORY
