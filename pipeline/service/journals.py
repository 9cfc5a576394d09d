"""What a job has said so far, out of its journal (`machine.journal`); what looks like a secret is masked."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import one_line
from .redaction import redacted

LONGEST = 1 << 20
"""Bytes of a journal that are read, its last ones."""
MOST_NOTES = 500
LONGEST_NOTE = 2000
"""Characters of a note that are shown, and of a label."""
LARGEST = 1 << 63
"""Bytes that something may have, and more than anything has."""
RECENT = 15.0
"""Seconds of which a rate is told: what was before them says little of what is to come."""
SETTLED = 2.0
"""Seconds from which on a rate says something."""
FAILED, NOT_TRIED = "!! ", "not tried: "


@dataclass(frozen=True, slots=True)
class Step:
    """Something that goes on; sizes in bytes, `total` None where nobody knows."""

    label: str
    done: int
    total: int | None
    rate: float | None = None
    """Bytes in a second, of late; None where nobody can tell yet."""

    @property
    def share(self) -> int | None:
        """How much of it is done, in per cent."""
        return min(100, 100 * self.done // self.total) if self.total else None

    @property
    def left(self) -> float | None:
        """Seconds that it still takes at this rate; None where nobody can tell."""
        if not (self.rate and self.total):
            return None
        return max(0, self.total - self.done) / self.rate


@dataclass(frozen=True, slots=True)
class Told:
    """What goes on now, and the last lines that were said."""

    steps: tuple[Step, ...]
    notes: tuple[str, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """The lines of what failed in itself, not of what was not tried for it (`graph.doit_setup`)."""
        lines = (note.removeprefix(FAILED) for note in self.notes if note.startswith(FAILED))
        return tuple(line for line in lines if not line.startswith(NOT_TRIED))


def told(file: Path) -> Told:
    """What a journal says; one that is not there says nothing."""
    try:
        looks = file.stat()
        return _told(file, looks.st_ino, looks.st_size)
    except OSError:
        return Told((), ())


@lru_cache(maxsize=8)
def _told(file: Path, inode: int, size: int) -> Told:
    """Read once for all browsers that look at a job: a journal only ever grows."""
    with file.open("rb") as journal:
        journal.seek(max(0, size - LONGEST))
        return read(journal.read(min(size, LONGEST)).splitlines())


def read(lines: Iterable[bytes]) -> Told:
    """What the lines of a journal say; what is no line of one is passed over, as the first may be cut."""
    steps: dict[int, Step] = {}
    notes: deque[str] = deque(maxlen=MOST_NOTES)
    times: dict[int, deque[tuple[float, int]]] = {}
    for line in lines:
        try:
            event: Any = json.loads(line)
            if "note" in event:
                notes.append(str(event["note"]))
            elif event.get("ended"):
                steps.pop(event["step"], None)
                times.pop(event["step"], None)
            else:
                total = None if event["total"] is None else _size(event["total"])
                label = str(event["label"])
                done = _size(event["done"])
                rate = _rate(times.setdefault(event["step"], deque()), event.get("at"), done)
                steps[event["step"]] = Step(label, done, total, rate)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            continue
    shown = (replace(step, label=_shown(step.label)) for step in steps.values())
    return Told(tuple(shown), tuple(map(_shown, notes)))


def _shown(text: str) -> str:
    """A text as it is shown, made only of what is: to look for secrets takes a microsecond for a character.

    A secret that the end of it would cut is looked for in as much again, as half of one has not its form.
    """
    return redacted(one_line(text[: 2 * LONGEST_NOTE]))[:LONGEST_NOTE]


def _size(value: Any) -> int:  # noqa: ANN401 - JSON
    """Bytes; raises an error for what no file can have, as nobody could count on with it."""
    size = int(value)
    if not 0 <= size < LARGEST:
        raise ValueError("not a size")
    return size


def _rate(times: deque[tuple[float, int]], at: object, done: int) -> float | None:
    """Bytes in a second over the last while, of which `times` are kept: seconds, and what was done then."""
    try:
        now = datetime.fromisoformat(str(at)).timestamp()
    except (ValueError, OverflowError):
        return None
    times.append((now, done))
    while now - times[0][0] > RECENT:
        times.popleft()
    length, gone = now - times[0][0], done - times[0][1]
    return gone / length if length >= SETTLED and gone > 0 else None
