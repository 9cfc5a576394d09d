"""How long to wait before the service is asked again. Pure: chance is given.

Full jitter: any time up to a limit that doubles with each failure, so that nodes which lost the service at
the same moment do not come back at the same moment.
"""

from __future__ import annotations

from collections.abc import Callable

BASE, CAP = 5.0, 300.0
"""Seconds."""


def delay(failed: int, chance: Callable[[], float]) -> float:
    """Seconds to wait after so many failures in a row (from 1); `chance` gives numbers from 0 to 1."""
    return float(chance() * min(CAP, BASE * 2 ** (min(failed, 16) - 1)))
