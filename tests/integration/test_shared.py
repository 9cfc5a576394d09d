"""What a copy has in common with its source is not hashed again; what was written to it is never among it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.machine import process
from pipeline.machine.progress import QuietReporter
from pipeline.raw import hashing, shared, sparse
from pipeline.raw.ranges import BLOCK, PIECE
from pipeline.raw.shared import UNKNOWN, Stretch
from pipeline.steps import receipts
from pipeline.steps.artifacts import bmap_of
from tests.support import goldens
from tests.support.blocks import need_disks
from tests.support.lab import Lab, class_text

MIB = 1 << 20
QUIET = QuietReporter()
SHIFTS = st.sampled_from([None, UNKNOWN, 0, BLOCK])
FILES = st.lists(st.tuples(st.integers(1, 4), SHIFTS), max_size=6)


def file_of(pieces: list[tuple[int, int | str | None]]) -> list[Stretch]:
    found, position = [], 0
    for blocks, shift in pieces:
        found.append(Stretch(position, position + blocks * BLOCK, shift))
        position += blocks * BLOCK
    return found


def shift_at(stretches: list[Stretch], place: int) -> int | str | None:
    return next((each.shift for each in stretches if each.start <= place < each.end), UNKNOWN)


@given(FILES, FILES)
def test_common_is_what_both_have_in_the_same_blocks(
    one: list[tuple[int, int | str | None]], other: list[tuple[int, int | str | None]]
) -> None:
    ours, theirs = file_of(one), file_of(other)
    found = shared.common(ours, theirs)
    for place in range(0, 24 * BLOCK, BLOCK):
        same = shift_at(ours, place) == shift_at(theirs, place) != UNKNOWN
        assert any(start <= place < end for start, end in found) == same


@pytest.fixture(scope="module")
def xfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system that shares blocks."""
    need_disks()
    image, folder = (tmp_path_factory.mktemp("xfs") / name for name in ("image", "disk"))
    with image.open("wb") as file:
        file.truncate(400 * MIB)
    process.run(["mkfs.xfs", "-q", "-m", "reflink=1", image])
    folder.mkdir()
    mounted = process.run(["mount", "-o", "loop", image, folder], check=False)
    if mounted.code != 0:
        pytest.skip(f"this kernel has no XFS: {mounted.last_words}")
    yield folder
    process.run(["umount", folder])


def write(path: Path, place: int, data: bytes) -> None:
    with path.open("rb+") as file:
        file.seek(place)
        file.write(data)


def based(folder: Path, golden: Path) -> Path:
    """A base with its map and receipt."""
    part, base = folder / ".base.part", folder / "base.img"
    sparse.copy(golden, part)
    receipts.finish(part, base, "base", {}, {"root": 1, "boot": None}, QUIET)
    return base


@pytest.fixture
def base(xfs: Path, tiny_golden: Path) -> Path:
    return based(xfs, tiny_golden)


def changed(base: Path) -> Path:
    """A copy of a base that was written to in two places."""
    part = base.with_name(".node.img.part")
    sparse.copy(base, part)
    write(part, 3 * PIECE + 17, b"other")
    write(part, base.stat().st_size - 40 * BLOCK, b"another")
    return part


def map_of(part: Path, base: Path | None) -> bytes:
    """The block map that a copy gets, which is right."""
    image = part.with_name("node.img")
    receipts.finish(part, image, "node", {}, {"root": 1, "boot": None}, QUIET, base=base)
    assert receipts.is_whole(image, deep=True, reporter=QUIET)
    return bmap_of(image).read_bytes()


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[int, int]]]:
    """The ranges that are hashed each time."""
    seen: list[list[tuple[int, int]]] = []
    digests = hashing.digests

    def watched(descriptor: int, places: list[tuple[int, int]], advance: object) -> Iterator[str]:
        seen.append(places)
        return digests(descriptor, places, advance)  # type: ignore[arg-type]

    monkeypatch.setattr(hashing, "digests", watched)
    return seen


def test_what_a_copy_shares_with_its_base_is_all_but_what_was_written(base: Path) -> None:
    copy, size = base.with_name("copy"), base.stat().st_size
    sparse.copy(base, copy)
    assert shared.ranges(copy, base) == ((0, size),)
    write(copy, 3 * PIECE + 17, b"other")
    write(copy, 5 * PIECE, bytes(2 * BLOCK))
    for start, end in shared.ranges(copy, base):
        assert not start < 3 * PIECE + BLOCK < end
        assert not start < 5 * PIECE + BLOCK < end
        with copy.open("rb") as ours, base.open("rb") as theirs:
            assert os.pread(ours.fileno(), end - start, start) == os.pread(
                theirs.fileno(), end - start, start
            )


def test_only_what_was_written_is_hashed_again_and_the_map_is_the_same(
    base: Path, hashed: list[list[tuple[int, int]]]
) -> None:
    hashed.clear()
    wanted = map_of(changed(base), None)
    assert map_of(changed(base), base) == wanted
    all_of_it, _, again, _ = (sum(end - start for start, end in places) for places in hashed)
    assert 0 < again <= 2 * PIECE < all_of_it


def test_nothing_is_taken_over_from_a_base_that_is_not_what_its_receipt_says(
    base: Path, hashed: list[list[tuple[int, int]]]
) -> None:
    write(base, 3 * PIECE, b"rot")
    hashed.clear()
    map_of(changed(base), base)
    made, checked = (sum(end - start for start, end in places) for places in hashed)
    assert made == checked


def test_where_nothing_is_shared_what_is_the_same_is_known_by_reading_both(
    tmp_path: Path, tiny_golden: Path, hashed: list[list[tuple[int, int]]]
) -> None:
    base = based(tmp_path, tiny_golden)
    wanted = map_of(changed(base), None)
    hashed.clear()
    assert map_of(changed(base), base) == wanted
    assert sum(end - start for start, end in hashed[0]) <= 2 * PIECE


@given(st.data())
def test_two_files_are_alike_where_they_have_the_same_bytes(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder, "one"), Path(folder, "other")
        blocks = data.draw(st.lists(st.sampled_from([b"", b"x", b"y"]), min_size=1, max_size=6))
        written = data.draw(st.lists(st.sampled_from([b"", b"\0", b"x"]), min_size=6, max_size=6))
        for file, pieces in ((one, blocks), (other, written[: len(blocks)])):
            with file.open("wb") as opened:
                for number, piece in enumerate(pieces):  # nothing is a hole, and zeros are none
                    opened.seek(number * BLOCK)
                    opened.write(piece * BLOCK)
                opened.truncate(len(blocks) * BLOCK)
        wanted = [(number * BLOCK, number * BLOCK + BLOCK) for number in range(len(blocks))]
        ours, theirs = one.read_bytes(), other.read_bytes()
        same = [(start, end) for start, end in wanted if ours[start:end] == theirs[start:end]]
        assert shared.places(one, other, wanted) == same


def test_where_nothing_is_shared_nothing_is_said_to_be_the_same(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"x" * MIB)
    (tmp_path / "other").write_bytes(b"x" * MIB)
    assert shared.ranges(tmp_path / "one", tmp_path / "other") == ()


def test_what_a_node_does_not_change_of_its_class_is_not_hashed_again(xfs: Path, tiny_golden: Path) -> None:
    lab = Lab(xfs / "lab", {"METIS_CACHE": str(xfs / "cache"), "METIS_INJECTOR": "loop"})
    text = class_text(tiny_golden, goldens.sha256(tiny_golden), "root_overlay: overlays/only\n")
    lab.write("classes/only.yaml", text.replace("headroom: 4M", "headroom: 24M"))
    lab.write("overlays/only/large", "").write_bytes(os.urandom(12 * MIB))
    lab.write("nodes/one.yaml", "class: only\n")
    journal = xfs / "journal"
    said = lab.metis("image", "--node", "one", METIS_JOURNAL=str(journal))
    assert said.code == 0, said.err
    steps = [json.loads(line) for line in journal.read_text().splitlines()]
    done = {step["label"]: step["done"] for step in steps if step.get("ended")}
    receipt = json.loads((lab.artifacts / "one.receipt.json").read_text())
    assert done["one: hashing"] < receipt["mapped"] - 10 * MIB
    assert receipts.is_whole(lab.artifacts / "one.img", deep=True, reporter=QUIET)
