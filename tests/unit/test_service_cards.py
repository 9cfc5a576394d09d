"""Cards by ids that die with them: what makes another card, and what a job keeps of the chosen one."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import pytest

from pipeline.card.cards import Card
from pipeline.card.here import here
from pipeline.errors import MetisError, RefusedError, UsageError
from pipeline.service.asking import Answer, Asking
from pipeline.service.cards import Plugged, as_seen, plugged
from pipeline.service.shared import Shared
from pipeline.steps.choosing import Rules, listed, seen_again

CARD = Card(
    "/dev/sda", "disk", 32 * 10**9, ("/dev/disk/by-id/usb-1",), "Generic", "STORAGE", "0001", "usb", True
)
CARD = replace(CARD, number="8:0", sequence="17")


def found(card: Card) -> Plugged:
    return Plugged(card, "")


@pytest.mark.parametrize(
    "change",
    [{"path": "/dev/sdb"}, {"size": 1}, {"serial": "0002"}, {"sequence": "18"}, {"number": "8:16"}],
    ids=str,
)
def test_another_card_has_another_id(change: dict[str, Any]) -> None:
    assert found(replace(CARD, **change)).id != found(CARD).id


@pytest.mark.parametrize("change", [{"names": ()}, {"mounts": ()}, {"content": "a node"}], ids=str)
def test_the_same_card_keeps_its_id_whatever_is_said_of_it(change: dict[str, Any]) -> None:
    content = change.pop("content", "")
    assert Plugged(replace(CARD, **change), content).id == found(CARD).id


def test_what_a_job_keeps_is_enough_to_know_the_card_again() -> None:
    platform = replace(here(), card_at=lambda _: CARD)
    assert seen_again(platform, as_seen(found(CARD).identity)) == CARD
    other = replace(here(), card_at=lambda _: replace(CARD, sequence="18"))
    with pytest.raises(RefusedError, match="is not the card any more"):
        seen_again(other, as_seen(found(CARD).identity))


class Said:
    """Stands for `metis`: what it was asked, and what it answers."""

    def __init__(self, answer: Answer) -> None:
        self.asked: list[tuple[str, ...]] = []
        self._answer = answer

    async def answer(self, *words: str) -> Answer:
        self.asked.append(words)
        return self._answer


@pytest.mark.parametrize(("files", "words"), [("", ("cards",)), ("/c", ("cards", "--files", "/c"))])
def test_metis_is_asked_for_cards(files: str, words: tuple[str, ...]) -> None:
    told = {"names": list(CARD.names), "content": "node titan-13", "node": "titan-13", "refusals": []}
    said = Said(Answer([{**asdict(CARD), **told}], (), 0))
    (card,) = asyncio.run(plugged(cast("Asking", said), files))
    assert said.asked == [words]
    assert (card.card, card.content, card.node) == (CARD, "node titan-13", "titan-13")


def test_where_metis_cannot_tell_its_complaint_is_handed_on() -> None:
    said = Said(Answer(None, ("lsblk is missing",), 1))
    with pytest.raises(MetisError, match="lsblk is missing"):
        asyncio.run(plugged(cast("Asking", said)))


# -------------------------------------------------------------------------- files that stand for cards


def rules(tmp_path: Path) -> Rules:
    return Rules(64 * 10**9, tmp_path / "artifacts")


def test_plain_files_of_a_folder_are_cards(tmp_path: Path) -> None:
    cards = tmp_path / "cards"
    (cards / "folder").mkdir(parents=True)
    for name in ("b", "a", ".hidden"):
        (cards / name).touch()
    (cards / "link").symlink_to("/etc/passwd")
    platform = replace(here(), find=lambda: ())
    there = listed(platform, rules(tmp_path), everything=False, files=cards)
    assert [(each.card.path, each.card.kind) for each in there] == [
        (str(cards / "a"), "file"),
        (str(cards / "b"), "file"),
    ]
    assert listed(platform, rules(tmp_path), everything=True) == []


def test_artifacts_are_no_cards(tmp_path: Path) -> None:
    cards = tmp_path / "artifacts/cards"
    cards.mkdir(parents=True)
    with pytest.raises(UsageError, match="among the artifacts"):
        listed(here(), rules(tmp_path), everything=False, files=cards)


# ----------------------------------------------------------------------------- one answer for several


def test_who_asks_meanwhile_gets_the_same_and_who_goes_away_spoils_nothing() -> None:
    async def several() -> tuple[list[int], int]:
        made, go_on = 0, asyncio.Event()

        async def make() -> int:
            nonlocal made
            made += 1
            await go_on.wait()
            return made

        shared = Shared(make)
        asking = [asyncio.create_task(shared.get()) for _ in range(3)]
        await asyncio.sleep(0)
        asking[0].cancel()
        await asyncio.gather(asking[0], return_exceptions=True)
        go_on.set()
        return await asyncio.gather(*asking[1:]), await shared.get()

    assert asyncio.run(several()) == ([1, 1], 2)


def test_what_fails_fails_for_all_who_asked_and_is_tried_anew() -> None:
    async def several() -> list[object]:
        answers = iter([MetisError("away"), None])

        async def make() -> str:
            await asyncio.sleep(0)
            if error := next(answers):
                raise error
            return "there"

        shared = Shared(make)
        both = await asyncio.gather(shared.get(), shared.get(), return_exceptions=True)
        return [*map(str, both), await shared.get()]

    assert asyncio.run(several()) == ["away", "away", "there"]
