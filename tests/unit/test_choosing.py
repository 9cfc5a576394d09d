"""Of the cards that are inserted, one is taken that was looked at closely and is still the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.card.cards import Card, Mount
from pipeline.card.here import here
from pipeline.card.platform import Platform
from pipeline.errors import RefusedError
from pipeline.steps import choosing

GB = 10**9
CARD = Card("/dev/sda", "disk", 32 * GB, removable=True, number="8:0", sequence="7")
FIXED = replace(CARD, path="/dev/sdb", removable=False, number="8:16")


def platform(looks: Iterator[tuple[Card, ...]], card_at: Callable[[str], Card], *opened: str) -> Platform:
    """Lists one look after the other, and then finds a card as `card_at` says."""
    return replace(
        here(),
        find=lambda: next(looks),
        card_at=card_at,
        openers=lambda _: opened,
        system_mounts=lambda _: {"/": "the running system"},
    )


def waited_for(changes: dict[str, Any], *opened: str) -> Card:
    looks = iter([(), (FIXED,), (FIXED, CARD), (FIXED, CARD)])
    found = platform(looks, lambda path: replace(CARD, path=path, **changes), *opened)
    return choosing.waited_for(found, 4 * GB, choosing.Rules(64 * GB, Path("artifacts")), lambda: None)


def test_a_card_that_is_inserted_is_taken_as_it_looks_from_close_by() -> None:
    assert waited_for({"serial": "1"}) == replace(CARD, serial="1")


@pytest.mark.parametrize(
    ("changes", "opened", "words"),
    [
        ({"members": ("/dev/sda1 (LVM2_member)",)}, (), "a part of a volume"),
        ({"mounts": (Mount("/dev/sda1", "/media/me/card"),)}, (), "unmount it first"),
        ({"read_only": True}, (), "cannot be written"),
        ({}, ("qemu (7)",), "is open in qemu (7)"),
        ({"sequence": "8"}, (), "is not the card any more"),
        ({"number": "8:32"}, (), "is not the card any more"),
        ({"size": 16 * GB}, (), "is not the card any more"),
    ],
)
def test_a_card_that_is_in_use_or_another_by_now_is_refused(
    changes: dict[str, Any], opened: tuple[str, ...], words: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        waited_for(changes, *opened)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("found", "now", "is_same"),
    [
        ({}, {}, True),
        ({"serial": ""}, {"serial": "1"}, True),
        ({"serial": "1"}, {"serial": "1"}, True),
        ({"serial": "1"}, {"serial": "2"}, False),
        ({"serial": "1"}, {"serial": ""}, False),
        ({}, {"number": "8:16"}, False),
        ({}, {"sequence": "8"}, False),
    ],
)
def test_a_card_is_known_again(found: dict[str, str], now: dict[str, str], is_same: bool) -> None:
    looked = platform(iter([]), lambda path: replace(CARD, path=path, **now))  # type: ignore[arg-type]
    with nullcontext() if is_same else pytest.raises(RefusedError, match="is not the card any more"):
        assert choosing.seen_again(looked, replace(CARD, **found)).path == CARD.path  # type: ignore[arg-type]
