"""Clients that read slowly or never, that idle, and that are many: nobody else notices, and nothing grows."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from pipeline.service import listening
from pipeline.service.app import guarded
from pipeline.service.options import Options, checked
from pipeline.service.service import Service
from tests.support.lab_service import PROXY
from tests.support.waiting import PATIENCE

NARROW = 4096
"""Bytes that the kernel keeps of a connection, which it doubles (socket(7))."""
ALONE = Options(no_auth=True)
HIGH_WATER = 64 << 10
"""What asyncio keeps for a client before who writes has to wait (asyncio.WriteTransport)."""


class Served:
    """A service in this very loop, so that a test can have it tell something."""

    def __init__(self, service: Service, port: int, server: uvicorn.Server) -> None:
        self.service = service
        self.port = port
        self._server = server

    @property
    def kept(self) -> list[int]:
        """Bytes that are kept for each client."""
        connections = self._server.server_state.connections
        return [
            each.transport.get_write_buffer_size()
            for each in connections
            if isinstance(each, listening.PunctualProtocol)
        ]

    async def connected(self) -> socket.socket:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", self.port))
        return client

    async def asked(self, path: str, *headers: str) -> socket.socket:
        """A connection on which something was asked for, and nothing of the answer read."""
        client = await self.connected()
        lines = (f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", *headers, "", "")
        request = "\r\n".join(lines).encode()
        await asyncio.get_running_loop().sock_sendall(client, request)
        return client

    async def status(self, path: str, *headers: str) -> int:
        client = await self.asked(path, *headers)
        answer = await asyncio.get_running_loop().sock_recv(client, 4096)
        client.close()
        return int(answer.split(b" ")[1])

    async def listen(self, *headers: str) -> socket.socket:
        """A stream of events, once it is heard by the service."""
        before = self.service.events.count
        client = await self.asked("/events", *headers)
        await until(lambda: self.service.events.count > before)
        return client


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.005)


async def heard(client: socket.socket, what: bytes) -> bytes:
    """What comes on a stream until something is in it."""
    said = b""
    while what not in said:
        piece = await asyncio.get_running_loop().sock_recv(client, 4096)
        assert piece, said[-500:]
        said += piece
    return said


@asynccontextmanager
async def serving(folder: Path, options: Options = ALONE, **limits: int | float) -> AsyncIterator[Served]:
    protocol = type("Limited", (listening.PunctualProtocol,), limits)
    bound = socket.create_server(("127.0.0.1", 0))
    # What listens hands its buffers on to what it accepts (tcp(7)).
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, NARROW)
    port = bound.getsockname()[1]
    options = checked(replace(options, port=port, public_url=f"http://127.0.0.1:{port}"))
    environment = {"METIS_INVENTORY": str(folder / "none"), "METIS_ARTIFACTS": str(folder)}
    service = Service(options, environment, folder)
    settings = listening.server_settings(options) | {"http": protocol, "log_config": None}
    if "most" in limits:
        settings["limit_concurrency"] = int(limits["most"]) + 5
    server = uvicorn.Server(uvicorn.Config(guarded(service), **settings))
    task = asyncio.create_task(server.serve(sockets=[bound]))
    await until(lambda: server.started)
    try:
        yield Served(service, port, server)
    finally:
        service.events.close()
        server.should_exit = True
        server.force_exit = True
        await task


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, PATIENCE))


def test_whoever_never_reads_costs_little_and_delays_nobody(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path) as served:
            deaf = [await served.listen() for _ in range(50)]
            good = await served.listen()
            told = served.service.events
            for number in range(3000):
                told.tell(f"event-{number % 7}")
                await asyncio.sleep(0)
            told.tell("the-end")
            await heard(good, b"the-end")
            assert HIGH_WATER / 2 < max(served.kept) < 2 * HIGH_WATER
            assert await served.status("/nodes") == 200
            for client in (*deaf, good):
                client.close()
            await until(lambda: told.count == 0)

    run(story())


def test_what_a_slow_browser_gets_late_ends_with_what_happened_last(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path) as served:
            slow = await served.listen()
            told = served.service.events
            for number in range(20_000):
                told.tell(f"event-{number % 7}")
                if number % 20 == 0:
                    await asyncio.sleep(0)
            told.tell("the-end")
            said = await heard(slow, b"the-end")
            assert len(said) < 20_000 * len("id: 01234567-1\nevent: event-1\ndata: \n\n") / 2
            slow.close()

    run(story())


@pytest.mark.parametrize("bytes_read", [0, 1])
def test_whoever_takes_nothing_for_long_is_let_go(tmp_path: Path, bytes_read: int) -> None:
    """Also one that reads a byte now and then, which is too little."""

    async def story() -> None:
        async with serving(tmp_path, taking_seconds=0.5) as served:
            slow = await served.listen()
            told = served.service.events
            while told.count:
                told.tell("board")
                if bytes_read and told.count:
                    await asyncio.get_running_loop().sock_recv(slow, bytes_read)
                await asyncio.sleep(0.0005)
            assert await served.status("/nodes") == 200
            slow.close()

    run(story())


def test_those_that_idle_make_room_for_those_that_ask(tmp_path: Path) -> None:
    async def story() -> None:
        async with serving(tmp_path, most=20) as served:
            busy = await served.listen()
            idle = [await served.connected() for _ in range(100)]
            assert await served.status("/nodes") == 200
            served.service.events.tell("still-here")
            await heard(busy, b"still-here")
            for client in (*idle, busy):
                client.close()

    run(story())


def test_too_many_browsers_are_told_and_pages_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.service.events.MOST", 3)

    async def story() -> None:
        async with serving(tmp_path) as served:
            streams = [await served.listen() for _ in range(3)]
            assert await served.status("/events") == 503
            assert await served.status("/nodes") == 200
            streams.pop().close()
            await until(lambda: served.service.events.count == 2)
            assert await served.status("/events") == 200
            for client in streams:
                client.close()

    run(story())


def test_whatever_comes_at_once_is_read_in_pieces_and_ends_where_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each piece is understood in one go: nobody has a turn meanwhile."""
    sizes: list[int] = []
    received = listening.PunctualProtocol.data_received

    def noted(self: listening.PunctualProtocol, data: bytes) -> None:
        sizes.append(len(data))
        received(self, data)

    monkeypatch.setattr(listening.PunctualProtocol, "data_received", noted)

    async def story() -> None:
        async with serving(tmp_path) as served:
            client, loop = await served.connected(), asyncio.get_running_loop()
            head = (
                f"POST /jobs HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            # As much as the other end's kernel keeps until somebody reads.
            with suppress(ConnectionError):
                await loop.sock_sendall(client, head.encode() + b"1\r\nx\r\n" * 200_000)
            with suppress(ConnectionError):
                while await loop.sock_recv(client, 65536):
                    pass
            client.close()
            assert max(sizes) <= 8 << 10
            assert sum(sizes) < 1_200_000

    run(story())


def by(name: str, address: str) -> tuple[str, str, str]:
    """What a proxy says of somebody who comes from an address."""
    return f"X-Forwarded-User: {name}", "X-Forwarded-Groups: ops", f"X-Forwarded-For: {address}"


def test_one_person_takes_a_share_of_the_streams_and_others_have_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.service.events.MOST_OF_ONE", 2)
    monkeypatch.setattr("pipeline.service.events.MOST_FROM_ONE_PLACE", 3)
    here, there = "192.0.2.1", "2001:db8::1"

    async def story() -> None:
        async with serving(tmp_path, PROXY) as served:
            adas = [await served.listen(*by("ada", each)) for each in (here, there)]
            assert await served.status("/events", *by("ada", "192.0.2.2")) == 429
            assert await served.status("/nodes", *by("ada", here)) == 200
            others = [await served.listen(*by(name, here)) for name in ("bob", "cyd")]
            assert await served.status("/events", *by("dan", here)) == 429
            assert await served.status("/events", *by("dan", there)) == 200
            served.service.events.tell("still-here")
            for client in (*adas, *others):
                await heard(client, b"still-here")
            before = served.service.events.count
            adas[0].close()
            await until(lambda: served.service.events.count < before)
            others.append(await served.listen(*by("ada", here)))
            for client in (adas[1], *others):
                client.close()

    run(story())


def test_of_one_machine_alone_half_of_the_streams_are_taken_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everybody is called the same there, so more than one person may have are let in."""
    monkeypatch.setattr("pipeline.service.events.MOST_OF_ONE", 1)
    monkeypatch.setattr("pipeline.service.events.MOST_FROM_ONE_PLACE", 3)

    async def story() -> None:
        async with serving(tmp_path) as served:
            streams = [await served.listen() for _ in range(3)]
            assert await served.status("/events") == 429
            for client in streams:
                client.close()

    run(story())
