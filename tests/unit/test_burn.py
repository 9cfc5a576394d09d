"""A burn of an image that is finished: what becomes of a card whose files are not what they should be."""

from __future__ import annotations

import io
import json
import os
from itertools import pairwise
from pathlib import Path

import pytest

from pipeline.card.here import here
from pipeline.errors import MetisError, MismatchError
from pipeline.machine import process
from pipeline.machine.progress import QuietReporter
from pipeline.raw import bmap, record
from pipeline.steps import burn, burnable
from pipeline.steps.artifacts import bmap_of
from pipeline.steps.choosing import Rules, judged
from tests.support.node_images import finished_image

MIB = 1 << 20
SIZE = 4 * MIB
QUIET = QuietReporter(io.StringIO())


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "titan-13.img"
    path.write_bytes(os.urandom(SIZE))
    Path(f"{path}.bmap").write_bytes(bmap.describe(path, [(0, SIZE)]).to_xml())
    return path


@pytest.mark.parametrize("error", [MismatchError("another"), OSError(5, "cannot"), KeyboardInterrupt()])
def test_nothing_boots_from_a_card_whose_files_did_not_pass(
    image: Path, tmp_path: Path, error: BaseException
) -> None:
    card = tmp_path / "card"
    card.write_bytes(os.urandom(2 * SIZE))
    seen: list[bytes] = []

    def check(place: Path) -> int:
        seen.append(place.read_bytes()[:MIB])
        raise error

    with burnable.opened(image, QUIET) as what:
        tools = burn.Tools(here(), QUIET, "never", check)
        chosen = judged(here(), [str(card)], SIZE, Rules(1 << 40, tmp_path / "artifacts"))
        try:
            (report,) = burn.to_cards(what, chosen, tools)
        except KeyboardInterrupt:
            assert isinstance(error, KeyboardInterrupt)
        else:
            assert isinstance(report.error, MetisError)
            assert report.done.written > SIZE
    assert seen == [image.read_bytes()[:MIB]]
    assert not any(card.read_bytes()[:MIB])


@pytest.mark.parametrize("text", ["", "{}", '{"format": 99}', "[]", "\0", '{"subject": "\x1b[2J"}'])
def test_an_image_whose_receipt_cannot_be_read_is_refused(image: Path, text: str) -> None:
    image.with_name("titan-13.receipt.json").write_text(text)
    with (
        pytest.raises(MismatchError, match="has a receipt that cannot be read"),
        burnable.opened(image, QUIET),
    ):
        pass


@pytest.mark.parametrize("slot", [1, 8 * MIB - 1, 8 * MIB, 1 << 40])
def test_an_image_whose_receipt_has_the_record_written_elsewhere_is_refused(
    tmp_path: Path, slot: int
) -> None:
    image = finished_image(tmp_path / "titan-13.img", "titan-13")
    receipt = image.with_name("titan-13.receipt.json")
    receipt.write_text(json.dumps({**json.loads(receipt.read_text()), "slot": slot}))
    with (
        pytest.raises(MismatchError, match="has no place for the record of a burn where its receipt says"),
        burnable.opened(image, QUIET),
    ):
        pass


def test_a_record_that_the_block_map_leaves_out_is_no_place_for_one(tmp_path: Path) -> None:
    """No card would hold what lies there."""
    image = finished_image(tmp_path / "titan-13.img", "titan-13")
    receipt = image.with_name("titan-13.receipt.json")
    hole = next(
        one.end
        for one, other in pairwise(bmap.parse(bmap_of(image).read_bytes()).ranges)
        if one.end < other.start
    )
    with image.open("r+b") as file:
        file.seek(hole)
        file.write(record.blank())
    receipt.write_text(json.dumps({**json.loads(receipt.read_text()), "slot": hole}))
    with pytest.raises(MismatchError, match="has no place for the record"), burnable.opened(image, QUIET):
        pass


def test_a_file_whose_name_a_terminal_would_obey_is_named_by_what_it_can_show(tmp_path: Path) -> None:
    image = tmp_path / "\x1b[2J.img"
    image.write_bytes(bytes(SIZE))
    process.run(["sfdisk", "--quiet", image], stdin=b"label: gpt\nstart=2048, type=linux\n")
    with burnable.opened(image, QUIET) as what:
        assert what.subject.isprintable()
