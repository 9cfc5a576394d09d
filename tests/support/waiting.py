"""Waiting for what other processes and threads do, for longer than anything takes that ends well."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 120.0
"""Seconds."""


def wait_until(is_so: Callable[[], object], why_not: Callable[[], str] = lambda: "it does not come") -> None:
    """Wait until something is so, and fail with `why_not` where it takes too long."""
    until = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < until, why_not()
        time.sleep(0.01)
