"""How long to wait before asking a server again, and when to give up."""

from __future__ import annotations

import random
from collections.abc import Callable

from ..errors import SourceError
from ..machine.progress import Reporter

TRIES = 5
"""So many times in a row without getting on are enough."""
TRIES_BEFORE_A_MIRROR = 2
"""A host is asked so often in a row while there is another one that has the same file."""
GETTING_ON = 1 << 20
"""Bytes; a server that gives fewer before it breaks off does not get us on."""
FIRST, LONGEST = 1.0, 60.0
"""Seconds."""

Sleep = Callable[[float], None]


class Patience:
    """Waits twice as long after each failure (with jitter, so that nodes do not ask in step)."""

    def __init__(self, name: str, reporter: Reporter, sleep: Sleep, tries: int = TRIES) -> None:
        self._tries = tries
        self._name = name
        self._reporter = reporter
        self._sleep = sleep
        self._failed = 0
        self._furthest = 0

    def wait(self, reason: str, arrived: int, at_least: float = 0.0) -> None:
        """Wait for the next try; `arrived` is the number of bytes that are here, `at_least` is in seconds.

        Raises SourceError when the tries are used up. They start anew whenever more has arrived than ever
        before, so a download that breaks often still ends, and one that goes in circles does too.
        """
        if arrived >= self._furthest + GETTING_ON:
            self._furthest = arrived
            self._failed = 0
        self._failed += 1
        if self._failed >= self._tries:
            kept = ": what has arrived is kept" if arrived else ""
            raise SourceError(
                f"{self._name}: {reason}, and {self._tries} tries did not get on",
                f"check the network and run again{kept}",
            )
        longest = min(LONGEST, FIRST * 2 ** (self._failed - 1))
        seconds = min(LONGEST, max(at_least, longest * random.uniform(0.5, 1)))  # noqa: S311 - no secret
        self._reporter.note(f"{self._name}: {reason}; trying again in {seconds:.0f} s")
        self._sleep(seconds)
