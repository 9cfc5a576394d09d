"""What workers tell of their work is shown as it goes on, and no longer than somebody works."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pipeline.machine.progress import Advance
from pipeline.scheduler.events import BEGUN, Relay


class Shown:
    """Remembers what was shown: each step that goes on with its bytes, and the notes."""

    def __init__(self) -> None:
        self.steps: dict[str, int] = {}
        self.notes: list[str] = []

    @contextmanager
    def step(self, label: str, total: int | None = None) -> Iterator[Advance]:
        self.steps[label] = 0

        def advance(count: int) -> None:
            self.steps[label] += count

        yield advance
        del self.steps[label]

    def note(self, line: str) -> None:
        self.notes.append(line)


def copying(done: int, **more: Any) -> dict[str, Any]:
    return {"step": 1, "label": "copying", "done": done, "total": 10, **more}


@pytest.fixture
def shown() -> Shown:
    return Shown()


@pytest.fixture
def relay(shown: Shown) -> Relay:
    relay = Relay(shown)
    relay.begin("order")
    relay.take("order", "w1", BEGUN)
    return relay


def test_a_step_is_shown_with_its_worker_until_it_ends(relay: Relay, shown: Shown) -> None:
    for done in (0, 4, 9):
        relay.take("order", "w1", copying(done))
        assert shown.steps == {"copying (on w1)": done}
    relay.take("order", "w1", copying(10, ended=True))
    assert shown.steps == {}


def test_a_note_is_one_of_its_worker(relay: Relay, shown: Shown) -> None:
    relay.take("order", "w1", {"note": "made anew"})
    assert shown.notes == ["made anew (on w1)"]


def test_what_a_worker_left_that_died_goes_when_another_begins(relay: Relay, shown: Shown) -> None:
    relay.take("order", "w1", copying(9))
    relay.take("order", "w2", BEGUN)
    assert shown.steps == {}
    relay.take("order", "w2", copying(0))
    assert shown.steps == {"copying (on w2)": 0}


def test_a_worker_that_died_may_begin_again_by_its_old_name(relay: Relay, shown: Shown) -> None:
    relay.take("order", "w1", copying(9))
    relay.take("order", "w1", BEGUN)
    relay.take("order", "w1", copying(0))
    assert shown.steps == {"copying (on w1)": 0}


def test_who_was_given_up_and_lives_is_not_shown(relay: Relay, shown: Shown) -> None:
    relay.take("order", "w2", BEGUN)
    relay.take("order", "w1", copying(9))
    assert shown.steps == {}


def test_it_is_counted_how_many_workers_have_begun_with_an_order(relay: Relay) -> None:
    relay.begin("waiting")
    relay.take("order", "w2", BEGUN)
    relay.take("order", "w2", copying(9))
    assert [relay.begun(order) for order in ("order", "waiting")] == [2, 0]


def test_nothing_is_shown_of_an_order_that_has_ended(relay: Relay, shown: Shown) -> None:
    relay.take("order", "w1", copying(4))
    relay.end("order")
    relay.take("order", "w1", copying(5))
    relay.take("order", "w1", {"note": "late"})
    assert (shown.steps, shown.notes) == ({}, [])
