"""Waiting for what other processes and threads do."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pipeline.machine.process import Background

PATIENCE = 300.0
"""Seconds, longer than anything takes that ends well."""


def wait_until(is_so: Callable[[], object], child: Background | None = None) -> None:
    """Wait until something is so; fails where it takes too long, or `child` has ended before."""
    until = time.monotonic() + PATIENCE
    while True:
        has_ended = child is not None and not child.is_running  # asked first: it may do it, and end
        if is_so():
            return
        is_lost = has_ended or time.monotonic() > until
        assert not is_lost, child.last_words if child else "it does not come"
        time.sleep(0.01)


def wait_for_words(log: Path, words: bytes, child: Background | None = None) -> None:
    """Wait until a program has said something in its log; fails as `wait_until` does."""
    wait_until(lambda: words in log.read_bytes(), child)
