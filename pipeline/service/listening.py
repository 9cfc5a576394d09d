"""How the service listens: uvicorn's settings, and what it lacks against clients that send too slowly."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .asked import LONGEST_HEAD
from .options import Options

HEAD_SECONDS = 10.0
"""From the first byte of a request, or the start of a connection, to the end of its headers."""
CONNECTIONS = 1000
"""At once; further ones are answered 503."""
_IDLE_SECONDS = 15
_LEAVING_SECONDS = 5


class PunctualProtocol(H11Protocol):
    """Closes a connection whose request does not arrive in time; uvicorn waits for ever once it began."""

    seconds = HEAD_SECONDS
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for the first request."""
        super().connection_made(cast(asyncio.Transport, transport))
        self._wait()

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
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.seconds, self.transport.close)

    def _wait_no_longer(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


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
