"""Which finished images are there, and what speaks against one, without hashing any."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.steps.artifacts import Artifacts, receipt_of
from pipeline.steps.image_state import finished

RECEIPT = {
    "subject": "titan-13",
    "id": "1" * 64,
    "made_from": {},
    "places": {},
    "size": 4,
    "mapped": 4,
    "bmap_sha256": "2" * 64,
    "stamp": {},
}


def states(folder: Path) -> list[tuple[str, str, str, bool]]:
    return [(each.node, each.state, each.why, each.built is not None) for each in finished(Artifacts(folder))]


def put(folder: Path, name: str, receipt: str | None = None) -> None:
    image = folder / name
    image.write_bytes(b"data")
    if receipt is not None:
        receipt_of(image).write_text(receipt)


@pytest.mark.parametrize(
    ("receipt", "why", "is_built"),
    [
        (json.dumps(RECEIPT), "", True),
        (json.dumps(RECEIPT | {"subject": "titan-14"}), "by its receipt it is of titan-14", True),
        (json.dumps(RECEIPT | {"subject": "a\x1bb"}), "its receipt cannot be read", False),
        ("{", "its receipt cannot be read", False),
        (None, "it has no receipt", False),
    ],
    ids=["its own", "another's", "hostile", "cut off", "none"],
)
def test_an_image_is_finished_whatever_its_receipt_says(
    tmp_path: Path, receipt: str | None, why: str, is_built: bool
) -> None:
    put(tmp_path, "titan-13.img", receipt)
    assert states(tmp_path) == [("titan-13", "finished", why, is_built)]


@pytest.mark.parametrize("name", [".titan-13.img.part", ".titan-13.img", "titan-13.img.bmap", "a\x1bb.img"])
def test_what_is_no_image_of_a_node_is_passed_over(tmp_path: Path, name: str) -> None:
    put(tmp_path, name)
    (tmp_path / "folder.img").mkdir()
    assert states(tmp_path) == []


def test_images_are_told_by_node(tmp_path: Path) -> None:
    for name in ("b.img", "a.img", "c.img"):
        put(tmp_path, name)
    assert [node for node, *_ in states(tmp_path)] == ["a", "b", "c"]


def test_without_artifacts_there_are_none(tmp_path: Path) -> None:
    assert states(tmp_path / "none") == []
