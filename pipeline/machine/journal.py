"""How work goes on, as events: the adapters for who shows it elsewhere, then or later.

A `note` is a line for people. A `step` is a number with a `label`, `done` and `total` in bytes (null where
nobody knows), and `ended` once it is over, well or not.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .progress import Advance

EVERY = 0.25
"""Seconds between two events of one step; what an event says is no older when it is told."""


class EventReporter:
    """Tells each event, as plain data, to whoever is to have it."""

    def __init__(self, tell: Callable[[Mapping[str, Any]], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._steps = 0

    @contextmanager
    def step(self, label: str, total: int | None = None) -> Iterator[Advance]:
        """Say that a step begins, now and then how far it is, and that it is over."""
        with self._lock:
            self._steps += 1
            number = self._steps
        done, is_due, is_over = 0, False, False
        self._tell({"step": number, "label": label, "done": 0, "total": total})

        def tell() -> None:
            nonlocal is_due
            with self._lock:
                is_due = False
                if not is_over:
                    self._tell({"step": number, "label": label, "done": done, "total": total})

        def advance(count: int) -> None:
            nonlocal done, is_due
            with self._lock:
                done += count
                is_first, is_due = not is_due, True
            if is_first:
                # Told later and not now, so that what comes last before a long wait is told too.
                timer = threading.Timer(EVERY, tell)
                timer.daemon = True
                timer.start()

        try:
            yield advance
        finally:
            with self._lock:
                is_over = True
                self._tell({"step": number, "label": label, "done": done, "total": total, "ended": True})

    def note(self, line: str) -> None:
        """Say one line."""
        self._tell({"note": line})


class JournalReporter(EventReporter):
    """Appends JSON lines to a private file, each with `at`, a time in UTC.

    Several processes may, as each line is one write (open(2), O_APPEND).
    """

    def __init__(self, file: Path) -> None:
        super().__init__(self._write)
        self._descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def _write(self, event: Mapping[str, Any]) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"at": at, **event}).encode() + b"\n"
        with suppress(OSError):  # a full disk stops what must write to it, and not the burn of a card
            os.write(self._descriptor, line)
