"""Questions to `metis`: few at once, and no endless line of those that wait."""

from __future__ import annotations

import asyncio
import threading

import pytest

from pipeline.errors import MetisError
from pipeline.service.asking import AT_ONCE, IN_LINE, Answer, Asking


class Slow(Asking):
    """Answers when it is let; knows how many it was asked at once."""

    def __init__(self) -> None:
        super().__init__({})
        self.go_on = threading.Event()
        self.most = self._now = 0
        self._lock = threading.Lock()

    def now(self, *words: str) -> Answer:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        self.go_on.wait()
        with self._lock:
            self._now -= 1
        return Answer(words, (), 0)


def test_few_are_asked_at_once_and_who_finds_a_long_line_is_told_so() -> None:
    asking = Slow()

    async def many() -> list[Answer]:
        waiting = [asyncio.create_task(asking.answer(str(number))) for number in range(IN_LINE)]
        await asyncio.sleep(0)
        with pytest.raises(MetisError, match="too many questions at once"):
            await asking.answer("one more")
        asking.go_on.set()
        answers = await asyncio.gather(*waiting)
        await asking.answer("later")
        return answers

    answers = asyncio.run(many())
    assert [each.data for each in answers] == [(str(number),) for number in range(IN_LINE)]
    assert asking.most <= AT_ONCE
