"""What happened, told to all browsers that listen: server-sent events (html.spec.whatwg.org, section 9.2).

An event only says that something is otherwise; the page then asks for what it shows of it. So a slow browser
misses nothing that matters: it hears of the last of several events of one name, and the queue stays short.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

KEEP_ALIVE = 15.0
"""Seconds of silence after which a comment keeps proxies from closing the stream."""
MOST = 200
"""Browsers at once."""


class TooManyError(Exception):
    """As many listen as may."""


class Events:
    """One place where things are told, and any number that listen; for one event loop."""

    def __init__(self) -> None:
        self._listeners: set[_Listener] = set()

    def tell(self, name: str, data: str = "") -> None:
        """Tell all that something of this name happened; `data` is one line."""
        for listener in self._listeners:
            listener.tell(name, data)

    @property
    def count(self) -> int:
        """How many listen."""
        return len(self._listeners)

    @asynccontextmanager
    async def stream(self) -> AsyncIterator[AsyncIterator[bytes]]:
        """The stream of one browser, in bytes as they are sent. Raises TooManyError."""
        if len(self._listeners) >= MOST:
            raise TooManyError
        listener = _Listener()
        self._listeners.add(listener)
        try:
            yield listener.stream()
        finally:
            self._listeners.discard(listener)


class _Listener:
    def __init__(self) -> None:
        self._pending: dict[str, str] = {}
        self._awake = asyncio.Event()

    def tell(self, name: str, data: str) -> None:
        self._pending[name] = data
        self._awake.set()

    async def stream(self) -> AsyncIterator[bytes]:
        yield b": listening\n\n"
        while True:
            try:
                await asyncio.wait_for(self._awake.wait(), KEEP_ALIVE)
            except TimeoutError:
                yield b": still here\n\n"
                continue
            self._awake.clear()
            pending, self._pending = self._pending, {}
            yield b"".join(f"event: {name}\ndata: {data}\n\n".encode() for name, data in pending.items())
