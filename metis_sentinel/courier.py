"""Brings what waits in the spool to the service, the oldest first: when it is tried again, and what is said.

A file leaves the spool only after the service has answered for it. So a connection that breaks once the
service has everything means a second delivery, with the same id.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from .backoff import delay
from .clock import Clock
from .spool import Spool


class Answer(NamedTuple):
    """What came of a delivery: `delivered`, or `refused` for good, or neither, and then it is tried again.

    `why` is the reason for people; `wait` are the seconds that the service wants to be left alone.
    """

    delivered: bool = False
    refused: bool = False
    why: str = ""
    wait: float = 0.0


Post = Callable[[str, bytes], Answer]
"""From the id of a snapshot and its bytes to what came of it; `push` has the one that there is."""


class Courier:
    """Delivers one snapshot to a host at each step; `failed` counts how often in a row it could not."""

    def __init__(self, spool: Spool, host: str, post: Post, clock: Clock, say: Callable[[str], None]) -> None:
        self.failed = 0
        self._host = host
        self._spool = spool
        self._post = post
        self._clock = clock
        self._say = say
        self._due = 0.0
        self._names: deque[str] = deque()

    def wait(self) -> float | None:
        """Seconds until there is something to do, None while nothing waits."""
        self._names = self._names or deque(self._spool.waiting())
        return max(0.0, self._due - self._clock.monotonic()) if self._names else None

    def spread(self, seconds: float) -> None:
        """Begin at any moment within so many seconds, as other nodes may have begun now too."""
        self._due = max(self._due, self._clock.monotonic() + self._clock.chance() * seconds)

    def step(self) -> None:
        """Deliver the oldest one. Raises SentinelError where something here is in the way."""
        if self.wait() is None:
            return
        name = self._names[0]
        self.failed += 1  # until the opposite is known: what is raised below must not be tried again at once
        pause = delay(self.failed, self._clock.chance)
        self._due = self._clock.monotonic() + pause
        waiting = self._spool.read(name)
        answer = self._post(*waiting) if waiting else Answer(delivered=True)
        if answer.delivered or answer.refused:
            if answer.refused:
                self._spool.reject(name, answer.why)
            elif waiting:
                self._spool.remove(name)
            self._names.popleft()
            self.failed, self._due = 0, self._clock.monotonic()
            return
        pause = max(pause, answer.wait)
        self._due = self._clock.monotonic() + pause
        self._say(f"cannot deliver to {self._host}: {answer.why}: kept, to be sent again after {pause:.0f} s")
