"""An answer that takes long to make: whoever asks while it is being made gets the same one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    """Makes one answer at a time, and lets nobody who goes away end it for the others; for one event loop."""

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        self._make = make
        self._going: asyncio.Future[T] | None = None

    async def get(self) -> T:
        """The answer that is being made, or a new one. Raises what making it raised."""
        if self._going is None or self._going.done():
            self._going = asyncio.ensure_future(self._make())
            self._going.add_done_callback(_seen)
        return await asyncio.shield(self._going)


def _seen(going: asyncio.Future[T]) -> None:
    """Look at an error for which nobody waits any more, as asyncio would complain of that."""
    if not going.cancelled():
        going.exception()
