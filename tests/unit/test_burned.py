"""The last good burn of each node, by the receipts that burns have left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.facts.drift import Burned
from pipeline.steps.burn import SAME
from pipeline.steps.burned import last_burns

FIRST, LATER, LAST = (f"2026-11-0{day}T08:00:00+00:00" for day in (1, 2, 3))


def receipt(at: str, verdict: str = SAME, image: Any = "ab") -> str:
    return json.dumps({"node": "titan-13", "at": at, "verdict": verdict, "image": {"id": image}})


def burns(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"titan-13-202611{name.removeprefix('on_').replace('_', '-')}.json").write_text(text)
    return folder


def test_the_last_of_several_counts(tmp_path: Path) -> None:
    burns(tmp_path, on_01T080000Z=receipt(FIRST), on_03T080000Z=receipt(LAST, image="cd"))
    assert last_burns(tmp_path) == {"titan-13": Burned("cd", LAST)}


def test_those_that_failed_since_are_told_apart(tmp_path: Path) -> None:
    failed = receipt(LATER, "/dev/sdx: differs")
    burns(tmp_path, on_01T080000Z=receipt(FIRST), on_02T080000Z=failed)
    assert last_burns(tmp_path) == {"titan-13": Burned("ab", FIRST, frozenset({LATER}))}


def test_cards_burned_side_by_side_are_all_the_last(tmp_path: Path) -> None:
    burns(tmp_path, on_01T080000Z=receipt(FIRST), on_01T080000Z_1=receipt(FIRST, "/dev/sdy: differs"))
    assert last_burns(tmp_path)["titan-13"].at == FIRST


@pytest.mark.parametrize("text", ["", "[]", "7", '{"verdict": 7}', "[" * 100_000, receipt(LAST)[:-3]])
def test_what_is_no_receipt_is_passed_over(tmp_path: Path, text: str) -> None:
    burns(tmp_path, on_01T080000Z=receipt(FIRST), on_03T080000Z=text)
    assert last_burns(tmp_path) == {"titan-13": Burned("ab", FIRST)}


def test_without_a_folder_nothing_was_burned(tmp_path: Path) -> None:
    assert last_burns(tmp_path / "burns") == {}
