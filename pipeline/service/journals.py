"""What a job has said so far, out of its journal (`machine.journal`); what looks like a secret is masked."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
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
FAILED, NOT_TRIED = "!! ", "not tried: "


@dataclass(frozen=True, slots=True)
class Step:
    """Something that goes on; sizes in bytes, `total` None where nobody knows."""

    label: str
    done: int
    total: int | None

    @property
    def share(self) -> int | None:
        """How much of it is done, in per cent."""
        return min(100, 100 * self.done // self.total) if self.total else None


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
    for line in lines:
        try:
            event: Any = json.loads(line)
            if "note" in event:
                notes.append(str(event["note"]))
            elif event.get("ended"):
                steps.pop(event["step"], None)
            else:
                total = event["total"]
                label = str(event["label"])
                steps[event["step"]] = Step(label, int(event["done"]), None if total is None else int(total))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            continue
    shown = (replace(step, label=_shown(step.label)) for step in steps.values())
    return Told(tuple(shown), tuple(map(_shown, notes)))


def _shown(text: str) -> str:
    """A text as it is shown, made only of what is: to look for secrets takes a microsecond for a character.

    A secret that the end of it would cut is looked for in as much again, as half of one has not its form.
    """
    return redacted(one_line(text[: 2 * LONGEST_NOTE]))[:LONGEST_NOTE]
