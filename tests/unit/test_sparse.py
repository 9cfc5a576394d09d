"""Sparse files keep every byte and gain no data where there was none."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.raw import sparse

FEW = settings(max_examples=40)
# Pieces around the grain at which zeros are looked for, and a byte to fill each with.
PIECES = st.lists(
    st.tuples(st.sampled_from([b"\0", b"\0", b"x"]), st.integers(0, 3 * sparse.GRAIN + 7)), max_size=8
)


def content_of(pieces: list[tuple[bytes, int]]) -> bytes:
    return b"".join(fill * count for fill, count in pieces)


def mapped_blocks(path: Path) -> int:
    return -(-sparse.mapped_bytes(path) // sparse.GRAIN)


def split_at(grain: int, pieces: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for start, end in pieces:
        yield from ((place, min(place + grain, end)) for place in range(start, end, grain))


@FEW
@given(PIECES, st.integers(1, 2 * sparse.GRAIN))
def test_a_stream_is_written_byte_for_byte_however_it_is_cut(
    pieces: list[tuple[bytes, int]], cut: int
) -> None:
    content = content_of(pieces)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "raw")
        chunks = (content[start : start + cut] for start in range(0, len(content), cut))
        assert sparse.write_stream(chunks, target, len(content)) == len(content)
        assert target.read_bytes() == content
        with target.open("rb") as file:
            written = list(sparse.extents(file.fileno()))
        for start, end in split_at(sparse.GRAIN, written):
            assert content[start:end].strip(b"\0")


@FEW
@given(PIECES)
def test_a_copy_has_every_byte_and_the_bar_is_filled(pieces: list[tuple[bytes, int]]) -> None:
    content = content_of(pieces)
    with tempfile.TemporaryDirectory() as folder:
        source, target, advanced = Path(folder, "source"), Path(folder, "target"), list[int]()
        sparse.write_stream([content], source, len(content))
        sparse.copy(source, target, advanced.append)
        assert target.read_bytes() == content
        assert sum(advanced) == sparse.mapped_bytes(source)


PARTS = st.tuples(*[st.integers(0, 2).map(lambda blocks: blocks * sparse.GRAIN)] * 3)


@FEW
@given(PIECES, PIECES, PARTS)
def test_a_part_becomes_what_the_other_file_has_there_and_no_more_data(
    new: list[tuple[bytes, int]], old: list[tuple[bytes, int]], part: tuple[int, int, int]
) -> None:
    """Where there was data and the other file has a hole, too."""
    start, size, to = part
    before = content_of(old).ljust(to + size, b"\0")
    wanted = content_of(new)[start : start + size]
    with tempfile.TemporaryDirectory() as folder:
        names = Path(folder, "source"), Path(folder, "target")
        for name, content in zip(names, (content_of(new), before), strict=True):
            sparse.write_stream([content], name, len(content))
        blocks = sum(map(mapped_blocks, names))
        with names[0].open("rb") as source, names[1].open("rb+") as target:
            sparse.copy_part(source.fileno(), start, size, target.fileno(), to)
        assert names[1].read_bytes() == before[:to] + wanted + before[to + len(wanted) :]
        assert mapped_blocks(names[1]) <= blocks


def test_zeros_become_holes(tmp_path: Path) -> None:
    chunks = [bytes(sparse.CHUNK)] * 8 + [b"end"]
    sparse.write_stream(chunks, tmp_path / "raw", 1 << 30)
    assert sparse.mapped_bytes(tmp_path / "raw") <= sparse.GRAIN


def test_a_copy_keeps_holes(tmp_path: Path) -> None:
    with (tmp_path / "raw").open("wb") as file:
        file.truncate(1 << 30)
        file.seek(1 << 29)
        file.write(b"x")
    sparse.copy(tmp_path / "raw", tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_size == 1 << 30
    assert sparse.mapped_bytes(tmp_path / "copy") <= sparse.GRAIN


def test_a_disk_that_does_not_take_a_copy_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "source").write_bytes(bytes(sparse.CHUNK) * 20)
    monkeypatch.setattr(os, "fdatasync", refuse)
    monkeypatch.setattr(sparse, "_FICLONE", 0)
    with pytest.raises(OSError, match="No space left"):
        sparse.copy(tmp_path / "source", tmp_path / "target")


@pytest.mark.parametrize("refusal", [errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM])
def test_a_copy_is_made_by_hand_where_the_kernel_will_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(refusal, os.strerror(refusal))

    content = os.urandom(3 * sparse.CHUNK + 5)
    (tmp_path / "source").write_bytes(content)
    monkeypatch.setattr(os, "copy_file_range", refuse)
    sparse.copy(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == content


def test_a_copy_works_between_two_file_systems(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        Path(elsewhere, "source").write_bytes(b"x" * 100_000)
        sparse.copy(Path(elsewhere, "source"), tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"x" * 100_000


def test_a_stream_longer_than_its_limit_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(sparse.TooLongError, match="larger than 9 bytes"):
        sparse.write_stream([b"12345", b"67890"], tmp_path / "raw", 9)


def test_what_is_written_is_private(tmp_path: Path) -> None:
    sparse.write_stream([b"x"], tmp_path / "raw", 1)
    assert (tmp_path / "raw").stat().st_mode & 0o777 == 0o600
