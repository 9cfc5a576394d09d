"""What goes on beside the requests, and goes on again after an error that nobody thought of.

A service whose queue has silently come to a stand looks well and does nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

PAUSE = 1.0
"""Seconds before it goes on again."""
WELL = 60.0
"""Seconds after which nobody is told any more that it had failed."""
_LOG = logging.getLogger(__name__)

Run = Callable[[], Coroutine[Any, Any, None]]


class Background:
    """Keeps going what `runs` names."""

    def __init__(self, runs: Mapping[str, Run]) -> None:
        self._runs = runs
        self._failed: dict[str, str] = {}
        self.is_running = False

    @property
    def complaints(self) -> tuple[str, ...]:
        """What has failed lately, a line each."""
        return tuple(self._failed.values())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep it all going while the block runs."""
        tasks = [asyncio.create_task(self._keep(name, run)) for name, run in self._runs.items()]
        self.is_running = True
        try:
            yield
        finally:
            self.is_running = False
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, name: str, run: Run) -> None:
        while True:
            task = asyncio.create_task(run())
            try:
                await asyncio.wait([task], timeout=WELL)
                if not task.done():
                    self._failed.pop(name, None)
                    await asyncio.wait([task])
            finally:
                task.cancel()
            _LOG.error("%s ended, and begins again", name, exc_info=task.exception())
            self._failed[name] = f"{name} failed and began again: the service's log says why"
            await asyncio.sleep(PAUSE)
