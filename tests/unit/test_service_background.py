"""What goes on beside the requests: it begins again after an error, says so, and ends with its block."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pipeline.service import background
from pipeline.service.background import Background
from tests.support.waiting import PATIENCE


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def told() -> None:
        await asyncio.wait_for(story(), PATIENCE)

    asyncio.run(told())


@pytest.mark.parametrize("fails", [True, False], ids=["error", "end"])
def test_what_ends_begins_again_and_is_complained_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fails: bool
) -> None:
    monkeypatch.setattr(background, "PAUSE", 0.01)
    begun: list[int] = []
    again = asyncio.Event()

    async def work() -> None:
        begun.append(1)
        if len(begun) < 3:
            if fails:
                raise KeyError("odd")
            return
        again.set()
        await asyncio.Event().wait()

    async def story() -> None:
        keeping = Background({"the work": work})
        async with keeping.running():
            await again.wait()
            assert keeping.complaints == ("the work failed and began again: the service's log says why",)

    run(story)
    assert len(begun) == 3
    assert caplog.text.count("the work ended, and begins again") == 2
    assert ("KeyError" in caplog.text) == fails


def test_what_goes_well_again_is_no_complaint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "PAUSE", 0.01)
    monkeypatch.setattr(background, "WELL", 0.01)
    first = iter([True])

    async def work() -> None:
        if next(first, False):
            raise OSError
        await asyncio.Event().wait()

    async def story() -> None:
        keeping = Background({"the work": work})
        async with keeping.running():
            while not keeping.complaints:
                await asyncio.sleep(0)
            while keeping.complaints:
                await asyncio.sleep(0.001)

    run(story)


def test_one_that_fails_keeps_up_no_other_and_all_end_with_the_block() -> None:
    ended: list[str] = []
    well = asyncio.Event()

    async def bad() -> None:
        raise ValueError

    async def good() -> None:
        try:
            well.set()
            await asyncio.Event().wait()
        finally:
            ended.append("good")

    async def story() -> None:
        async with Background({"bad": bad, "good": good}).running():
            await well.wait()

    run(story)
    assert ended == ["good"]
