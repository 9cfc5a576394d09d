"""Requests at a steady rate over kept connections, as browsers send them, and how long each answer takes.

The rate does not wait for the answers: an answer's time counts from when its request was due, so that a
server that stands still for a second is not asked less in it (an open loop).
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from itertools import cycle

CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Times:
    """How long answers took, in milliseconds; `wrong` were others than 200, or none."""

    count: int
    wrong: int
    median: float
    p99: float
    longest: float


async def load(port: int, paths: Sequence[str], rate: float, seconds: float) -> Times:
    """Ask for these paths in turn, so many times in a second, for so long."""
    taken: list[float] = []
    wrong = 0
    due: asyncio.Queue[tuple[float, str] | None] = asyncio.Queue()

    async def browser() -> None:
        nonlocal wrong
        async with _connection(port) as (reader, writer):
            while (request := await due.get()) is not None:
                at, path = request
                writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
                status, _body = await answer(reader)
                wrong += status != HTTPStatus.OK
                taken.append(1000 * (time.perf_counter() - at))

    browsers = [asyncio.create_task(browser()) for _ in range(CONNECTIONS)]
    begun = time.perf_counter()
    for number, path in _first(cycle(paths), round(rate * seconds)):
        at = begun + number / rate
        await asyncio.sleep(max(0.0, at - time.perf_counter()))
        due.put_nowait((at, path))
    for _ in browsers:
        due.put_nowait(None)
    await asyncio.gather(*browsers)
    percents = statistics.quantiles(taken, n=100)
    return Times(len(taken), wrong, percents[49], percents[98], max(taken))


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read one answer with a length to its end: its status and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length)


@asynccontextmanager
async def listening(port: int, count: int) -> AsyncIterator[list[int]]:
    """Have browsers listen to events; gives how many pieces each has heard, which goes on counting."""
    heard = [0] * count
    ready = asyncio.Queue[None]()

    async def listen(number: int) -> None:
        async with _connection(port) as (reader, writer):
            writer.write(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            await reader.readuntil(b": listening\n\n")
            ready.put_nowait(None)
            while await reader.read(4096):
                heard[number] += 1

    tasks = [asyncio.create_task(listen(number)) for number in range(count)]
    for _ in tasks:
        await ready.get()
    try:
        yield heard
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


def _first(paths: Iterator[str], count: int) -> Iterator[tuple[int, str]]:
    return zip(range(count), paths, strict=False)
