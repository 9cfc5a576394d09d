"""A burn of an image that is finished: what becomes of a card whose files are not what they should be."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from pipeline import bmap, burn, burnable
from pipeline.card.here import here
from pipeline.choosing import Rules, judged
from pipeline.errors import MetisError, MismatchError
from pipeline.progress import QuietReporter

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
            assert report.written > SIZE
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
