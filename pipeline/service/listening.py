"""How the service listens: uvicorn's settings, and what it lacks against clients that are slow or many."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .asked import LONGEST_HEAD
from .options import Options

HEAD_SECONDS = 10.0
"""From the first byte of a request, or the start of a connection, to the end of its headers."""
TAKING_SECONDS = 60.0
"""For a client to take 48 KiB, of the 64 that are kept for it at most (asyncio, limits of write buffers)."""
PIECE = 8 << 10
"""Bytes that are read at once: what they say is all understood before anybody else has a turn, and a request
in pieces of a byte takes 3 microseconds for each of its own (20 ms then)."""
CONNECTIONS = 1000
"""At once; further ones are answered 503."""
SPARE = 50
"""So many are closed to those that have nothing to do, before it comes to that."""
_IDLE_SECONDS = 15
_LEAVING_SECONDS = 5


class PunctualProtocol(H11Protocol):
    """Closes a connection whose request does not arrive in time, or whose answer is not taken.

    uvicorn waits for ever for both once they began, and takes in whatever comes at once. And where there are
    nearly as many connections as may be, those that wait for a request make room, the oldest first: idling
    must not keep others out.
    """

    seconds = HEAD_SECONDS
    taking_seconds = TAKING_SECONDS
    most = CONNECTIONS - SPARE
    _deadline: asyncio.TimerHandle | None = None
    _taking: asyncio.TimerHandle | None = None
    _since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for the first request."""
        # What asyncio's own transports hand on at once is 256 KiB, of which one second can be made.
        cast(Any, transport).max_size = PIECE
        super().connection_made(cast(asyncio.Transport, transport))
        self._since = self.loop.time()
        self._wait()
        if len(self.connections) > self.most:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Go on waiting where the headers are not complete."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._wait()
        else:
            self._wait_no_longer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._wait_no_longer()
        self._is_taken()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for the client to take something."""
        super().pause_writing()
        if self._taking is None:
            self._taking = self.loop.call_later(self.taking_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client takes what it gets."""
        self._is_taken()
        super().resume_writing()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is asked here that has no answer yet."""
        return self.cycle is None or self.cycle.response_complete

    def _make_room(self) -> None:
        others = (each for each in self.connections if isinstance(each, PunctualProtocol))
        idle = [each for each in others if each is not self and each.is_idle]
        if idle:
            oldest = min(idle, key=lambda each: each._since)
            self.connections.discard(oldest)  # its end is told us later than the next one may come
            oldest.transport.abort()

    def _wait(self) -> None:
        if self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.seconds, self.transport.close)

    def _wait_no_longer(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _is_taken(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None


def server_settings(options: Options) -> dict[str, Any]:
    """What uvicorn.Config is given beside the application.

    The peer's address stays what it is (`proxy_headers`), as identities are believed by it, and no log has
    the addresses that were asked for (`access_log`), as some of them are links that let one in.
    """
    return {
        "host": options.host.strip("[]"),
        "port": options.port,
        "http": PunctualProtocol,
        "ws": "none",
        "lifespan": "on",
        "proxy_headers": False,
        "server_header": False,
        "access_log": False,
        "limit_concurrency": CONNECTIONS,
        "timeout_keep_alive": _IDLE_SECONDS,
        "timeout_graceful_shutdown": _LEAVING_SECONDS,
        "h11_max_incomplete_event_size": LONGEST_HEAD,
    }
