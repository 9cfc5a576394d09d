"""The board of the nodes: what it shows where something has no answer, answers late, or complains much."""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import MetisError
from pipeline.service import board
from pipeline.service.asking import AT_ONCE, IN_LINE, Answer, Asking
from pipeline.service.board import Board, Boards, Row, few, look
from tests.support.waiting import PATIENCE

Story = Callable[[Boards, "asyncio.Queue[None]"], Awaitable[None]]
IMAGE = {"node": "alpha", "class": "plain", "state": "fresh", "why": "", "built": None}
CLASS = {"seen": {"alpha": "2026-11-28T12:00:00Z"}, "silent": {}, "findings": []}
LAST = Board(
    "2026-11-28T12:00:00+00:00", {"beta": Row("beta", "plain", "stale", "why", None)}, {"old": CLASS}
)


class Told(Asking):
    """Answers what it was told to."""

    def __init__(self, **answers: Answer | MetisError) -> None:
        super().__init__({})
        self._answers = answers

    def now(self, *words: str) -> Answer:
        answer = self._answers[words[0]]
        if isinstance(answer, MetisError):
            raise answer
        return answer


def seen(tmp_path: Path, **answers: Answer | MetisError) -> Board:
    (tmp_path / "snapshots").mkdir()
    return look(Told(**answers), tmp_path / "burns", tmp_path / "snapshots", LAST)


GOOD = Answer([IMAGE], (), 0)
FACTS = Answer({"classes": {"plain": CLASS}, "strangers": []}, (), 0)
NOTHING = [MetisError("no answer"), Answer(None, ("no answer",), 1)]


def test_what_was_found_is_on_it(tmp_path: Path) -> None:
    found = seen(tmp_path, status=GOOD, facts=FACTS)
    assert (found.rows["alpha"].state, found.rows["alpha"].seen) == ("fresh", "2026-11-28T12:00:00Z")
    assert found.complaints == ()


@pytest.mark.parametrize("nothing", NOTHING, ids=["raised", "said"])
def test_without_an_answer_it_is_as_it_was_and_says_so(tmp_path: Path, nothing: Answer | MetisError) -> None:
    assert seen(tmp_path, status=nothing, facts=FACTS) == replace(LAST, complaints=("no answer",))


@pytest.mark.parametrize("nothing", NOTHING, ids=["raised", "said"])
def test_without_facts_the_images_are_new(tmp_path: Path, nothing: Answer | MetisError) -> None:
    found = seen(tmp_path, status=GOOD, facts=nothing)
    assert set(found.rows) == {"alpha"}
    assert found.classes == LAST.classes
    assert found.complaints == ("no answer",)


def test_what_two_commands_complain_of_is_said_once(tmp_path: Path) -> None:
    found = seen(
        tmp_path, status=replace(GOOD, complaints=("same", "one")), facts=replace(FACTS, complaints=("same",))
    )
    assert found.complaints == ("same", "one")


@pytest.mark.parametrize("count", [0, 1, board.MOST, board.MOST + 1, 10_000])
def test_complaints_do_not_pile_up(count: int) -> None:
    said = few(f"complaint {number} {'x' * 10_000}" for number in range(count))
    assert len(said) <= board.MOST + 1
    assert sum(map(len, said)) < (board.MOST + 1) * (board.LONGEST + 2)
    assert (f"and {count - board.MOST} more" in said[-1] if said else False) == (count > board.MOST)


def test_a_look_that_takes_long_is_told_and_its_board_is_taken_when_it_comes() -> None:
    go_on = threading.Event()
    looks = iter([LAST])

    def make(last: Board) -> Board:
        if (first := next(looks, None)) is not None:
            return first
        go_on.wait()
        return replace(last, at="later", complaints=())

    async def story() -> None:
        changed: asyncio.Queue[None] = asyncio.Queue()
        boards = Boards(make, lambda: changed.put_nowait(None), patience=0.05)
        task = asyncio.create_task(boards.run())
        while boards.now != LAST:  # a busy machine may take long for the first look too
            await changed.get()
        boards.wake()
        while board.SLOW not in boards.now.complaints:
            await changed.get()
        assert boards.now.rows == LAST.rows
        go_on.set()
        while boards.now.at != "later":
            await changed.get()
        assert boards.now.complaints == ()
        task.cancel()

    try:
        asyncio.run(asyncio.wait_for(story(), PATIENCE))
    finally:
        go_on.set()


def looking(monkeypatch: pytest.MonkeyPatch, make: Callable[[Board], Board], story: Story) -> None:
    """Boards that are made for nothing but what the story does, which is given where changes are told."""
    monkeypatch.setattr(board, "EVERY", 1e9)
    monkeypatch.setattr(board, "SOON", 0.01)

    async def told() -> None:
        changed: asyncio.Queue[None] = asyncio.Queue()
        boards = Boards(make, lambda: changed.put_nowait(None))
        task = asyncio.create_task(boards.run())
        await changed.get()
        await story(boards, changed)
        task.cancel()

    asyncio.run(asyncio.wait_for(told(), PATIENCE))


def test_a_thousand_that_wake_it_within_a_moment_are_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Board] = []

    def make(last: Board) -> Board:
        looks.append(last)
        return replace(LAST, strangers=(str(len(looks)),))

    async def story(boards: Boards, changed: asyncio.Queue[None]) -> None:
        for count in (2, 3):
            for _ in range(1000):
                boards.wake_soon()
            await changed.get()
            assert boards.now.strangers == (str(count),)
        boards.wake_soon()
        boards.wake()  # the same look serves both
        await changed.get()
        assert boards._soon is None

    looking(monkeypatch, make, story)
    assert len(looks) == 4


def test_a_look_that_finds_nothing_new_is_told_now_and_then_only(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = itertools.count(1)
    told: list[str | None] = []

    def make(last: Board) -> Board:
        number = next(looks)
        return replace(LAST, at=str(number), strangers=("one",) if number > 3 else ())

    async def story(boards: Boards, changed: asyncio.Queue[None]) -> None:
        told.append(boards.now.at)
        while len(told) < 3:
            boards.wake()
            await asyncio.sleep(0)
            while not changed.empty():
                changed.get_nowait()
                told.append(boards.now.at)

    looking(monkeypatch, make, story)
    assert told == ["1", "4", str(4 + board.STILL)]


HANGS = "import time; print(flush=True); time.sleep(1000)"


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.service.asking.START", HANGS)


def test_a_command_that_hangs_has_no_answer(hanging: None) -> None:
    with pytest.raises(MetisError, match=f"metis status gave no answer: {sys.executable} did not end within"):
        Asking({}, patience=0.3).now("status")


def test_only_so_many_ask_at_once_and_none_is_waited_for_at_the_end(hanging: None) -> None:
    async def story() -> list[Any]:
        asking = Asking({})
        waiting = [asyncio.ensure_future(asking.answer("plan")) for _ in range(IN_LINE + 5)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        refused = [str(each.exception()) for each in waiting if each.done()]
        assert refused == ["too many questions at once: ask again in a while"] * 5, refused
        await asyncio.to_thread(asking.close)
        with pytest.raises(MetisError):
            await asking.answer("plan")
        return await asyncio.gather(*waiting, return_exceptions=True)

    ended = asyncio.run(asyncio.wait_for(story(), PATIENCE))
    answered = [each for each in ended if isinstance(each, Answer)]
    assert all(each.data is None and each.code < 0 for each in answered)
    assert len(answered) <= AT_ONCE


def _counted(made: list[str]) -> int:
    made.append("x")
    return len(made)


def test_what_is_made_of_a_board_is_made_once_and_of_another_board_anew() -> None:
    made: list[str] = []
    first, second = Board(), replace(Board(), complaints=("another",))
    for each in (first, first, second):
        assert each.once("key", partial(_counted, made)) == len(made)
    assert len(made) == 2
    assert first == Board()


def test_no_more_is_kept_of_a_board_than_is_looked_at() -> None:
    lab = Board()
    for key in range(3 * board.MOST_MADE):
        assert lab.once(key, partial(str, key)) == str(key)
    assert len(lab._made) <= board.MOST_MADE
