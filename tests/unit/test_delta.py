"""What differs between an image and its base is all that is written, and then they are the same."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.raw import bmap, delta, sparse
from pipeline.raw.ranges import BLOCK, PIECE, merged

START = PIECE - 4 * BLOCK
"""Where blocks of a test begin: some of them lie in the first piece that is hashed, others in the second."""
LENGTH = 8
CONTENT = st.lists(st.sampled_from([0, 0, 1, 2]), min_size=LENGTH, max_size=LENGTH)
ALLOCATED = st.sets(st.integers(0, LENGTH - 1))
"""Blocks that a map names though they are zero, as it does with a journal's."""
TAIL = st.integers(1, BLOCK)


def content_of(blocks: list[int], tail: int) -> bytes:
    return bytes(START) + b"".join(bytes([block]) * BLOCK for block in blocks)[: (LENGTH - 1) * BLOCK + tail]


def written(path: Path, content: bytes, allocated: set[int]) -> bmap.Bmap:
    """A file with this content, and a map of its data and of what is allocated besides."""
    sparse.write_stream([content], path, len(content))
    with path.open("rb") as file:
        pieces = [*sparse.extents(file.fileno())]
    pieces += [(START + each * BLOCK, START + (each + 1) * BLOCK) for each in allocated]
    return bmap.describe(path, merged(pieces, len(content)))


@settings(max_examples=60)
@given(CONTENT, ALLOCATED, CONTENT, ALLOCATED, TAIL)
def test_a_copy_of_the_base_becomes_the_image_by_just_the_blocks_that_differ(
    old: list[int], old_allocated: set[int], new: list[int], new_allocated: set[int], tail: int
) -> None:
    before, after = content_of(old, tail), content_of(new, tail)
    with tempfile.TemporaryDirectory() as folder:
        base, image, copy = (Path(folder, name) for name in ("base", "image", "copy"))
        maps = written(image, after, new_allocated), written(base, before, old_allocated)
        sparse.copy(base, copy)
        told: list[int] = []
        delta.write(image, base, delta.places(*maps), copy, told.append)
        assert copy.read_bytes() == after
        starts = range(0, len(after), BLOCK)
        unlike = [at for at in starts if after[at : at + BLOCK] != before[at : at + BLOCK]]
        assert sum(told) == sum(len(after[at : at + BLOCK]) for at in unlike)
        assert bmap.difference(copy, maps[0]) is None


def test_what_both_maps_say_is_not_looked_at() -> None:
    same, one, other = (bmap.Range(at, at + BLOCK, f"{at:064}") for at in (0, BLOCK, 4 * BLOCK))
    changed = bmap.Range(one.start, one.end, "f" * 64)
    base, image = bmap.Bmap(PIECE, (same, one)), bmap.Bmap(PIECE, (same, changed, other))
    assert delta.places(image, base) == ((one.start, one.end), (other.start, other.end))


@pytest.mark.parametrize("lost", ["base", "target"])
def test_a_file_that_is_gone_is_an_error_of_the_system(tmp_path: Path, lost: str) -> None:
    files = {name: tmp_path / name for name in ("image", "base", "target")}
    for name, file in files.items():
        if name != lost:
            file.write_bytes(bytes(BLOCK))
    with pytest.raises(FileNotFoundError):
        delta.write(files["image"], files["base"], ((0, BLOCK),), files["target"])
