"""Which cards are plugged in, looked at again and again as long as somebody wants to know.

Whoever lists disks opens each of them for a blink, so it is not done while nobody looks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ..errors import MetisError
from .cards import Plugged

EVERY = 2.0
"""Seconds between two looks."""
INTEREST = 45.0
"""Seconds for which somebody who asked goes on to look; pages ask again sooner (`cards.html`)."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The cards that were there, and why nobody could tell, empty where somebody could."""

    cards: tuple[Plugged, ...] = ()
    complaint: str = ""


class CardWatch:
    """Keeps what was seen last while somebody is interested, and tells when it is otherwise."""

    def __init__(
        self, find: Callable[[], Awaitable[tuple[Plugged, ...]]], changed: Callable[[], None]
    ) -> None:
        self._find = find
        self._changed = changed
        self._until = 0.0
        self._wanted = asyncio.Event()
        self._last: Seen | None = None

    async def now(self, *, afresh: bool = False) -> Seen:
        """What is there, or was at the last look but for `afresh`, and have it looked at from now on."""
        self._until = time.monotonic() + INTEREST
        self._wanted.set()
        if self._last is None or afresh:
            self._last = await self._look()
        return self._last

    async def run(self) -> None:
        """Look while somebody is interested, until cancelled."""
        while True:
            await self._wanted.wait()
            while time.monotonic() < self._until:
                found = await self._look()
                is_new = self._last is not None and found != self._last
                self._last = found
                if is_new:
                    self._changed()
                await asyncio.sleep(EVERY)
            self._last = None
            self._wanted.clear()

    async def _look(self) -> Seen:
        try:
            return Seen(await self._find())
        except MetisError as error:
            return Seen(complaint=str(error))
