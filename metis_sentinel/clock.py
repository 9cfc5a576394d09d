"""Time and chance, given to whoever needs them, so that a test can bring its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import NamedTuple


class Clock(NamedTuple):
    """All in seconds: `now` since 1970 (time(2)), `monotonic` since some moment; `chance` is from 0 to 1."""

    now: Callable[[], float]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    chance: Callable[[], float]


def _chance() -> float:
    return int.from_bytes(os.urandom(6), "big") / (1 << 48)


REAL = Clock(time.time, time.monotonic, time.sleep, _chance)
