"""Every form of a golden becomes the same raw image, and what is wrong with one is a line."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import os
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import MetisError, RottenError
from pipeline.golden.unpack import unpack
from pipeline.machine import process
from pipeline.machine.progress import QuietReporter
from pipeline.raw import sparse

IMAGE = os.urandom(1 << 20) + bytes(4 << 20) + b"the end"
LIMIT = 64 << 20


def zstd(data: bytes) -> bytes:
    return process.run(["zstd", "-c"], stdin=data).out


def xz_in_blocks(data: bytes) -> bytes:
    """As several threads pack and unpack it: each block says at its start how long it is."""
    return process.run(["xz", "-c", "-0", "-T2", "--block-size=1MiB"], stdin=data).out


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "raw": lambda data: data,
    "xz": lzma.compress,
    "gz": gzip.compress,
    "zst": zstd,
    "zst after a frame to skip": lambda data: b"\x50\x2a\x4d\x18\1\0\0\0x" + zstd(data),
    "xz in two streams": lambda data: lzma.compress(data[:1000]) + lzma.compress(data[1000:]),
    "xz in blocks": xz_in_blocks,
    "xz in blocks, two streams": lambda data: (
        xz_in_blocks(data[:3000]) + bytes(8) + xz_in_blocks(data[3000:])
    ),
    "gz in two members": lambda data: gzip.compress(data[:1000], 1) + gzip.compress(data[1000:], 1),
    "zst in two frames": lambda data: zstd(data[:1000]) + zstd(data[1000:]),
}
PACKED = [form for form in FORMS if form != "raw"]


def unpacked(packed: bytes, folder: Path, *, sha256: str = "", limit: int = LIMIT) -> Path:
    """Unpack through a file whose name says nothing."""
    (folder / "packed").write_bytes(packed)
    declared = sha256 or hashlib.sha256(packed).hexdigest()
    size = unpack(folder / "packed", folder / "raw", declared, QuietReporter(io.StringIO()), limit)
    assert size == (folder / "raw").stat().st_size
    return folder / "raw"


@pytest.fixture(scope="module")
def forms() -> dict[str, bytes]:
    return {form: pack(IMAGE) for form, pack in FORMS.items()}


@pytest.mark.parametrize("form", FORMS)
def test_an_image_comes_out_byte_for_byte_whatever_its_form(
    tmp_path: Path, forms: dict[str, bytes], form: str
) -> None:
    assert unpacked(forms[form], tmp_path).read_bytes() == IMAGE


@pytest.mark.parametrize("form", FORMS)
def test_zeros_are_holes_whatever_the_form(tmp_path: Path, forms: dict[str, bytes], form: str) -> None:
    assert sparse.mapped_bytes(unpacked(forms[form], tmp_path)) < 2 << 20


@pytest.mark.parametrize("form", FORMS)
def test_rot_is_a_mismatch_whatever_the_form_and_leaves_nothing(
    tmp_path: Path, forms: dict[str, bytes], form: str
) -> None:
    declared = hashlib.sha256(forms[form]).hexdigest()
    rotten = bytearray(forms[form])
    rotten[len(rotten) // 2] ^= 1
    with pytest.raises(RottenError, match="rotted in the cache"):
        unpacked(bytes(rotten), tmp_path, sha256=declared)
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize("form", PACKED)
def test_a_golden_published_truncated_is_one_line(tmp_path: Path, forms: dict[str, bytes], form: str) -> None:
    with pytest.raises(MetisError, match=r"cannot unpack .*/packed: (xz|gzip|zstd) failed: ") as caught:
        unpacked(forms[form][: len(forms[form]) // 2], tmp_path)
    assert not isinstance(caught.value, RottenError)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize("form", PACKED)
def test_a_golden_published_with_damage_is_one_line(
    tmp_path: Path, forms: dict[str, bytes], form: str
) -> None:
    damaged = bytearray(forms[form])
    damaged[len(damaged) // 2 : len(damaged) // 2 + 64] = bytes(64)
    with pytest.raises(MetisError, match="cannot unpack"):
        unpacked(bytes(damaged), tmp_path)


@pytest.mark.parametrize("form", FORMS)
def test_an_image_that_is_too_large_is_one_line(tmp_path: Path, forms: dict[str, bytes], form: str) -> None:
    with pytest.raises(MetisError, match=f"more than {len(IMAGE) - 1} bytes: raise card.max_size"):
        unpacked(forms[form], tmp_path, limit=len(IMAGE) - 1)
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize("form", PACKED)
def test_what_follows_a_golden_that_is_none_of_it_is_one_line(
    tmp_path: Path, forms: dict[str, bytes], form: str
) -> None:
    with pytest.raises(MetisError, match="cannot unpack"):
        unpacked(forms[form] + b"garbage!", tmp_path)
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize("pack", [lambda data: gzip.compress(data, 1), lzma.compress, zstd, xz_in_blocks])
def test_a_bomb_ends_at_the_limit(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    with pytest.raises(MetisError, match="unpacks to more than"):
        unpacked(pack(bytes(16 << 20)), tmp_path, limit=1 << 20)
    assert not (tmp_path / "raw").exists()


def test_a_bomb_that_writes_nothing_is_ended_long_before_its_end(tmp_path: Path) -> None:
    """A frame of blocks that repeat one byte (RFC 8878, 3.1.1.2): 128 KiB of zeros of each four bytes."""
    blocks = 1 << 20
    block = ((128 << 10) << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    bomb = bytes.fromhex("28b52ffd 00 38") + block * blocks
    # It has no end: who comes so far tells of that, and not of the length.
    with pytest.raises(MetisError, match="unpacks to more than"):
        unpacked(bomb, tmp_path, limit=1 << 30)


def promise(packed: bytes, said: int, held: int) -> bytes:
    """An .xz file of one block whose header and index say another length (The .xz File Format, 3.1, 4.3)."""

    def number(value: int) -> bytes:
        return bytes([*(value >> shift & 0x7F | 0x80 for shift in (0, 7, 14)), value >> 21])

    header = packed[12 : 12 + packed[12] * 4 + 4]
    index = packed[-12 - (int.from_bytes(packed[-8:-4], "little") + 1) * 4 : -12]
    assert header.count(number(held)) == index.count(number(held)) == 1
    result = packed
    for part in (header, index):
        changed = part[:-4].replace(number(held), number(said))
        result = result.replace(part, changed + zlib.crc32(changed).to_bytes(4, "little"))
    return result


@pytest.mark.parametrize("said", [(2 << 20) + 1, (15 << 20) + 1])
def test_a_file_that_holds_another_length_than_it_says_is_no_image(tmp_path: Path, said: int) -> None:
    held = 8 << 20
    packed = process.run(["xz", "-c", "-0", "-T2", "--block-size=8MiB"], stdin=bytes(held)).out
    with pytest.raises(MetisError, match=r"cannot unpack .*xz failed: .*corrupt"):
        unpacked(promise(packed, said, held), tmp_path, limit=16 << 20)
    assert not (tmp_path / "raw").exists()


def wide_xz(data: bytes) -> bytes:
    """An .xz file that asks for 4 GiB of memory (The .xz File Format, 5.3.1)."""
    packed = lzma.compress(data)
    header = packed[12 : 12 + packed[12] * 4 + 4]
    changed = header[:-4].replace(bytes.fromhex("2101") + header[4:5], bytes.fromhex("210128"))
    return packed.replace(header, changed + zlib.crc32(changed).to_bytes(4, "little"))


def wide_zstd(data: bytes) -> bytes:
    """A .zst file that asks for 2 GiB of memory."""
    return process.run(["zstd", "-c", "--long=31"], stdin=data).out


@pytest.mark.parametrize("pack", [wide_xz, wide_zstd])
def test_a_golden_that_wants_too_much_memory_is_one_line(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(MetisError, match=r"cannot unpack .*(limit|memory)"):
        unpacked(pack(IMAGE), tmp_path)


MOST_ZEROS = 36 << 10
"""Bytes: zstd(1) looks for zeros in pieces of 32 KiB, xz(1) of 8, and blocks have 4."""


@pytest.mark.parametrize("pack", [zstd, xz_in_blocks])
@settings(max_examples=8)
@given(
    pieces=st.lists(
        st.tuples(st.sampled_from([b"\0", b"\0", b"x"]), st.integers(0, 200_000)), min_size=1, max_size=8
    )
)
def test_who_writes_by_itself_keeps_every_byte_and_writes_no_zeros(
    pack: Callable[[bytes], bytes], pieces: list[tuple[bytes, int]]
) -> None:
    content = b"".join(fill * count for fill, count in pieces)
    with tempfile.TemporaryDirectory() as folder:
        raw = unpacked(pack(content), Path(folder))
        assert raw.read_bytes() == content
        with raw.open("rb") as file:
            for start, end in sparse.extents(file.fileno()):
                assert bytes(MOST_ZEROS) not in content[start:end]


@pytest.mark.parametrize(
    ("start", "form"), [(b"PK\x03\x04", "zip"), (b"BZh9", "bzip2"), (b"7z\xbc\xaf\x27\x1c", "7z")]
)
def test_archives_that_are_not_supported_are_named(tmp_path: Path, start: bytes, form: str) -> None:
    with pytest.raises(MetisError, match=f"is a {form} archive, which is not supported: publish"):
        unpacked(start + bytes(100), tmp_path)


def test_what_is_no_image_is_for_others_to_judge(tmp_path: Path) -> None:
    assert unpacked(b"<html>", tmp_path).read_bytes() == b"<html>"


def test_a_filter_that_is_missing_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MetisError, match="xz is not installed: install the package that has it"):
        unpacked(lzma.compress(b"x"), tmp_path)


def test_the_image_is_private(tmp_path: Path) -> None:
    assert unpacked(gzip.compress(b"x"), tmp_path).stat().st_mode & 0o777 == 0o600
