"""Where the files of a job are: beside the history that it stands in."""

from __future__ import annotations

from pathlib import Path


def lock_of(history: Path, number: int) -> Path:
    """Held by the process that does the job."""
    return history.parent / ".state" / "jobs" / f"{number}.lock"


def journal_of(history: Path, number: int) -> Path:
    """What the job says while it goes on (`machine.journal`)."""
    return history.parent / "jobs" / f"{number}.jsonl"
