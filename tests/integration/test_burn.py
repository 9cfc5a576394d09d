"""A burn to a plain file: written, read back, compared, and nothing lost when it is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline import bmap
from pipeline.card.file import burn
from pipeline.errors import MismatchError
from pipeline.progress import QuietReporter
from tests.support import goldens
from tests.support.lab import QUICK_INJECTOR, Lab, class_text


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_golden: Path) -> Lab:
    lab = Lab(tmp_path_factory.mktemp("burn"), {"METIS_INJECTOR": QUICK_INJECTOR})
    lab.write("classes/only.yaml", class_text(tiny_golden, goldens.sha256(tiny_golden)))
    lab.write("nodes/one.yaml", "class: only\nnetwork: {dhcp: true}\n")
    assert lab.doit("image:one").code == 0
    return lab


def test_a_card_holds_the_image_and_a_receipt_tells(lab: Lab, tmp_path: Path) -> None:
    card = tmp_path / "card.img"
    report = lab.doit("burn", "--node", "one", "--device", str(card), "--yes")
    assert report.code == 0, report
    assert card.read_bytes() == (lab.artifacts / "one.img").read_bytes()
    (receipt,) = (lab.artifacts / "burns").glob("one-*.json")
    assert json.loads(receipt.read_text())["card"] == str(card)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say `doit burn --node NODE --device FILE --yes`"),
        (["--node", "none", "--device", "x"], "no node none"),
        (["--node", "one", "--device", "/dev/null", "--yes"], "is no place for a plain file"),
        (["--node", "one", "--device", "/dev/metis-typo", "--yes"], "is no place for a plain file"),
        (["--node", "one", "--device", "{artifacts}/one.img", "--yes"], "is among the artifacts"),
        (["--node", "one", "--device", "{artifacts}/new/card.img", "--yes"], "is among the artifacts"),
        (["--node", "one", "--device", "{kept}"], "would be overwritten"),
    ],
    ids=["bare", "unknown node", "a device", "a typo", "the image", "an artifact", "without --yes"],
)
def test_a_refusal_is_one_line_and_writes_nothing(
    lab: Lab, tmp_path: Path, arguments: list[str], said: str
) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(b"precious")
    before = sorted(lab.artifacts.rglob("*.img"))
    report = lab.doit("burn", *(word.format(kept=kept, artifacts=lab.artifacts) for word in arguments))
    assert report.code != 0
    (line,) = report.failures
    assert said in line
    assert kept.read_bytes() == b"precious"
    assert sorted(lab.artifacts.rglob("*.img")) == before
    assert not Path("/dev/metis-typo").exists()


def test_an_image_that_is_not_up_to_date_is_not_burned(lab: Lab, tmp_path: Path) -> None:
    lab.write("nodes/two.yaml", "class: only\n")
    report = lab.doit("burn", "--node", "two", "--device", str(tmp_path / "card"), "--yes")
    assert "run `doit image:two` first" in report.failures[0]


def test_a_card_that_reads_back_otherwise_is_a_mismatch(lab: Lab, tmp_path: Path) -> None:
    image, card = lab.artifacts / "one.img", tmp_path / "card"
    described = bmap.parse((lab.artifacts / "one.img.bmap").read_bytes())
    first, *others = described.ranges
    wrong = bmap.Bmap(described.size, (bmap.Range(first.start, first.end, "0" * 64), *others))
    with pytest.raises(MismatchError):
        burn(image, wrong, card, lab.artifacts, QuietReporter())
    assert not list(tmp_path.iterdir())
