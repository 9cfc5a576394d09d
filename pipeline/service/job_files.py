"""Where the files of a job are: beside the history that it stands in."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

KEPT = 500
"""Jobs whose files are kept, the newest; what came of older ones stands in the history."""


def lock_of(history: Path, number: int) -> Path:
    """Held by the process that does the job."""
    return history.parent / ".state" / "jobs" / f"{number}.lock"


def journal_of(history: Path, number: int) -> Path:
    """What the job says while it goes on (`machine.journal`)."""
    return history.parent / "jobs" / f"{number}.jsonl"


def forget_old(history: Path, unfinished: Collection[int]) -> None:
    """Remove the files of jobs that are older than the newest ones, and over.

    Their locks too: who would take one anew finds that there is nothing left to claim.
    """
    found: dict[int, list[Path]] = {}
    for folder in (journal_of(history, 0).parent, lock_of(history, 0).parent):
        for file in folder.iterdir() if folder.is_dir() else ():
            if file.stem.isdecimal():
                found.setdefault(int(file.stem), []).append(file)
    for number in sorted(found)[:-KEPT]:
        for file in found[number] if number not in unfinished else ():
            with suppress(OSError):  # the next time, then
                file.unlink()
