"""Every form of a golden becomes the same raw image, and what is wrong with one is a line."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import MetisError, RottenError
from pipeline.golden.unpack import unpack
from pipeline.machine import process
from pipeline.machine.progress import QuietReporter
from pipeline.raw import sparse

IMAGE = os.urandom(1 << 20) + bytes(4 << 20) + b"the end"
LIMIT = 64 << 20


def zstd(data: bytes) -> bytes:
    return process.run(["zstd", "-c"], stdin=data).out


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "raw": lambda data: data,
    "xz": lzma.compress,
    "gz": gzip.compress,
    "zst": zstd,
    "zst after a frame to skip": lambda data: b"\x50\x2a\x4d\x18\1\0\0\0x" + zstd(data),
    "xz in two streams": lambda data: lzma.compress(data[:1000]) + lzma.compress(data[1000:]),
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


def test_a_bomb_ends_at_the_limit(tmp_path: Path) -> None:
    with pytest.raises(MetisError, match="unpacks to more than"):
        unpacked(gzip.compress(bytes(256 << 20), 1), tmp_path, limit=1 << 20)


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
    with pytest.raises(MetisError, match="xz is not installed: run `make setup`"):
        unpacked(lzma.compress(b"x"), tmp_path)


def test_the_image_is_private(tmp_path: Path) -> None:
    assert unpacked(gzip.compress(b"x"), tmp_path).stat().st_mode & 0o777 == 0o600
