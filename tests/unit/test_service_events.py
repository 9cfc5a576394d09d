"""The stream of events: what a browser hears that is slow, was away, goes at once, or finds no place."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.service import events
from pipeline.service.app import create_app
from pipeline.service.events import Events, Whose
from pipeline.service.identity import LOCAL
from pipeline.service.options import Options
from pipeline.service.service import Service
from tests.support import asgi
from tests.support.waiting import PATIENCE


def names(chunk: bytes) -> list[str]:
    return re.findall(r"^event: (.*)$", chunk.decode(), re.MULTILINE)


def last_id(chunk: bytes) -> str:
    return str(re.findall(r"^id: (.*)$", chunk.decode(), re.MULTILINE)[-1])


async def first(stream: AsyncIterator[bytes]) -> bytes:
    """What comes after the greeting."""
    assert await anext(stream) == b": listening\n\n"
    return await anext(stream)


def run(story: Callable[[Events], Awaitable[None]]) -> None:
    async def told() -> None:
        await asyncio.wait_for(story(Events()), PATIENCE)

    asyncio.run(told())


def test_who_listens_is_told() -> None:
    async def story(told: Events) -> None:
        async with aclosing(told.stream(told.at)) as stream:
            await anext(stream)
            told.tell("board")
            assert names(await anext(stream)) == ["board"]

    run(story)


@given(st.lists(st.sampled_from(["board", "jobs", "cards"]), min_size=1, max_size=50))
def test_whoever_is_slow_hears_once_of_each_name_and_the_queue_stays_short(happened: list[str]) -> None:
    async def story(told: Events) -> None:
        async with aclosing(told.stream(told.at)) as stream:
            await anext(stream)
            for name in happened:
                told.tell(name)
            assert names(await anext(stream)) == list(dict.fromkeys(happened))

    run(story)


@given(st.lists(st.sampled_from(["board", "jobs", "cards"]), max_size=20), st.data())
def test_who_comes_back_hears_just_what_was_told_meanwhile(happened: list[str], data: Any) -> None:
    heard = data.draw(st.integers(0, len(happened)))

    async def story(told: Events) -> None:
        at = [told.at]
        for name in happened:
            told.tell(name)
            at.append(told.at)
        missed = set(happened[heard:])
        told.tell("end")
        async with aclosing(told.stream(at[heard])) as stream:
            assert set(names(await first(stream))) == {*missed, "end"}

    run(story)


@pytest.mark.parametrize(
    "since",
    ["", "x", "-", "0-0", "00000000-1", "-1", "1", "a-b-c", "²-²", "%", "9" * 5000, "a-" + "9" * 5000],
)
def test_who_knows_another_service_or_makes_up_what_it_heard_is_told_all(since: str) -> None:
    async def story(told: Events) -> None:
        told.tell("board")
        told.tell("jobs")
        async with aclosing(told.stream(since)) as stream:
            assert set(names(await first(stream))) == {"board", "jobs"}

    run(story)


def test_the_id_of_an_event_is_what_a_browser_comes_back_with() -> None:
    async def story(told: Events) -> None:
        told.tell("board")
        async with aclosing(told.stream()) as stream:
            chunk = await first(stream)
        told.tell("jobs")
        async with aclosing(told.stream(last_id(chunk))) as stream:
            assert names(await first(stream)) == ["jobs"]

    run(story)


def test_a_silence_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE", 0.01)

    async def story(told: Events) -> None:
        async with aclosing(told.stream()) as stream:
            assert await first(stream) == b": still here\n\n"
            told.tell("board")
            assert names(await anext(stream)) == ["board"]

    run(story)


def test_a_stream_ends_with_the_service() -> None:
    async def story(told: Events) -> None:
        stream = told.stream()
        await anext(stream)
        waiting = asyncio.ensure_future(anext(stream, None))
        await asyncio.sleep(0)
        told.close()
        await waiting
        assert await anext(stream, None) is None
        assert told.count == 0

    run(story)


def test_only_so_many_listen_and_whoever_goes_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MOST", 2)

    async def story(told: Events) -> None:
        streams = [told.stream() for _ in range(3)]
        assert [await anext(stream, None) for stream in streams] == [b": listening\n\n"] * 2 + [None]
        assert told.is_full
        await streams[0].aclose()
        assert await anext(told.stream()) == b": listening\n\n"

    run(story)


@pytest.mark.parametrize(
    ("whose", "is_refused"),
    [
        (Whose("ada", "192.0.2.1"), True),
        (Whose("ada", "192.0.2.99"), True),
        (Whose("bob", "192.0.2.1"), True),
        (Whose("bob", "192.0.2.99"), False),
        (Whose("", "192.0.2.99"), False),
        (Whose("", "192.0.2.1"), True),
        (Whose(), False),
    ],
)
def test_one_who_has_enough_gets_no_more_and_others_do(
    monkeypatch: pytest.MonkeyPatch, whose: Whose, *, is_refused: bool
) -> None:
    """ada has two streams, which is as many as one may have; from her first address come three."""
    monkeypatch.setattr(events, "MOST_OF_ONE", 2)
    monkeypatch.setattr(events, "MOST_FROM_ONE_PLACE", 3)
    there = [Whose("ada", "192.0.2.1"), Whose("ada", "192.0.2.1"), Whose("", "192.0.2.1")]

    async def story(told: Events) -> None:
        streams = [told.stream(told.at, each) for each in (*there, Whose(), Whose())]
        for stream in streams:
            await anext(stream)
        assert told.is_enough(whose) is is_refused
        assert await anext(told.stream(told.at, whose), None) == (None if is_refused else b": listening\n\n")
        told.tell("board")
        assert [names(await anext(stream)) for stream in streams] == [["board"]] * len(streams)
        await streams[0].aclose()
        assert not told.is_enough(whose)

    run(story)


def test_a_browser_that_is_gone_before_its_stream_begins_holds_no_place(tmp_path: Path) -> None:
    service = Service(Options(no_auth=True), {"METIS_ARTIFACTS": str(tmp_path)}, tmp_path)
    app = create_app(service)

    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def sent(_message: Any) -> None:
        await asyncio.sleep(0)

    more = {"asgi": {"spec_version": "2.3"}, "state": {"identity": LOCAL, "client": "127.0.0.1"}}

    async def story() -> None:
        for _ in range(3):
            await app(asgi.scope("GET", "/events") | more, gone, sent)

    asyncio.run(asyncio.wait_for(story(), PATIENCE))
    assert service.events.count == 0
