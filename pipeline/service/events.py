"""What happened, told to all browsers that listen: server-sent events (html.spec.whatwg.org, section 9.2).

An event only says that something is otherwise; the page then asks for what it shows of it. So a slow browser
misses nothing that matters: it hears once of several events of one name, and the queue stays short. Nor does
one that was away: a stream begins with what was told since the page was made, or since the event that the
browser heard last.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Iterable
from typing import NamedTuple

KEEP_ALIVE = 15.0
"""Seconds of silence after which a comment keeps proxies from closing the stream."""
MOST = 200
"""Browsers at once."""
MOST_OF_ONE = 20
"""Of somebody who has signed in: there is one for each page that lies open."""
MOST_FROM_ONE_PLACE = 100
"""From one address, whoever is there: as many places are left for others."""


class Whose(NamedTuple):
    """Whose a stream is: a name, empty where nobody signs in, and where they are (`limits.place`)."""

    name: str = ""
    place: str = ""


ANYBODY = Whose()


class Events:
    """One place where things are told, and any number that listen; for one event loop."""

    def __init__(self) -> None:
        self._listeners: set[_Listener] = set()
        self._told: dict[str, int] = {}
        self._count = 0
        # Two services that follow each other count from nothing both.
        self._life = secrets.token_hex(4)
        self._is_closed = False

    @property
    def at(self) -> str:
        """The id of what was told last."""
        return f"{self._life}-{self._count}"

    @property
    def count(self) -> int:
        """How many listen."""
        return len(self._listeners)

    @property
    def is_full(self) -> bool:
        """Whether as many listen as may."""
        return len(self._listeners) >= MOST

    def is_enough(self, whose: Whose) -> bool:
        """Whether somebody, or somebody's place, has as many streams as one may have.

        Who has them keeps them. Were the oldest ended for a new one, its browser would come back in a few
        seconds, and pages would go on to end each other's.
        """
        name = sum(each.whose.name == whose.name for each in self._listeners) if whose.name else 0
        place = sum(each.whose.place == whose.place for each in self._listeners) if whose.place else 0
        return name >= MOST_OF_ONE or place >= MOST_FROM_ONE_PLACE

    def tell(self, name: str) -> None:
        """Tell all that something of this name happened."""
        self._count += 1
        self._told[name] = self._count
        for listener in self._listeners:
            listener.tell([name])

    def close(self) -> None:
        """End all streams: browsers come back to the next service."""
        self._is_closed = True
        for listener in self._listeners:
            listener.tell([])

    async def stream(self, since: str = "", whose: Whose = ANYBODY) -> AsyncGenerator[bytes, None]:
        """The stream of one browser, in bytes as they are sent; it ends at once where too many listen.

        `since` is an id: it begins with what was told after that, or with all where the id is none of ours.
        """
        if self.is_full or self.is_enough(whose):
            return
        listener = _Listener(self._after(since), whose)
        self._listeners.add(listener)
        try:
            yield b": listening\n\n"
            while not self._is_closed:
                names = await listener.next()
                told = "".join(f"id: {self.at}\nevent: {name}\ndata: \n\n" for name in names)
                yield told.encode() or b": still here\n\n"
        finally:
            self._listeners.discard(listener)

    def _after(self, since: str) -> list[str]:
        life, _, count = since.partition("-")
        heard = int(count) if life == self._life and count.isdecimal() and len(count) < len("1" * 20) else 0
        return [name for name, told in self._told.items() if told > heard]


class _Listener:
    def __init__(self, names: Iterable[str], whose: Whose) -> None:
        self.whose = whose
        self._awake = asyncio.Event()
        self._pending: dict[str, None] = {}
        if names:
            self.tell(names)

    def tell(self, names: Iterable[str]) -> None:
        self._pending |= dict.fromkeys(names)
        self._awake.set()

    async def next(self) -> Iterable[str]:
        """What was told since this was asked last, as soon as there is something; nothing in a silence."""
        try:
            async with asyncio.timeout(KEEP_ALIVE):
                await self._awake.wait()
        except TimeoutError:
            return ()
        self._awake.clear()
        pending, self._pending = self._pending, {}
        return pending
