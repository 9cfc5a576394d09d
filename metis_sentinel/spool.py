"""Snapshots that wait for delivery, oldest first: numbered files in a folder, bounded by count and by bytes.

A number is never given twice while a file has it or a later one, so the order needs no clock. What is dropped
because the spool is full is counted, and the next snapshot carries the number to the service: each of them
exactly once, unless a kill comes between, which may count one twice but never forgets one. What the service
will never take, and what is no snapshot, is set aside in `rejected`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from . import durable
from .errors import SentinelError, reason_of

BYTES = 64 << 20
"""What all files that wait may have together."""
REJECTED = 20
"""So many of the files that were set aside are kept."""
_LARGEST = 8 << 20
"""Bytes: no snapshot has as many."""
_NUMBERS = 10**12
_FORM = re.compile(r"\d{12}\.json", re.ASCII)
_ID = re.compile(r"[0-9a-f]{32}")
_COUNT = "dropped"


class Waiting(NamedTuple):
    """One that waits: the snapshot's id, and its bytes as they are sent."""

    id: str
    data: bytes


class Spool:
    """A folder of snapshots that wait; `say` is told in one line what happens to them."""

    def __init__(self, folder: Path, keep: int, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._rejected = folder / "rejected"
        self._keep = keep
        self._say = say

    def dropped(self) -> int:
        """How many were dropped and are in no snapshot yet."""
        try:
            with (self._folder / _COUNT).open("rb") as file:
                said = file.read(16).strip()
        except OSError:
            return 0
        return int(said) if said.isdigit() else 0

    def put(self, snapshot: dict[str, Any], data: bytes) -> None:
        """Have a snapshot wait; what it says to be dropped is known from now on.

        Raises SentinelError when it cannot be written: then all that waited still does.
        """
        with durable.held(self._folder):
            files = _files(self._folder)
            last = max([*files, *_files(self._rejected)], default="0.json")
            name = f"{(int(last[:-5]) + 1) % _NUMBERS:012}.json"
            durable.write(self._folder, name, data)
            full = self._beyond({**files, name: len(data)}, name)
            told = _carried(snapshot)
            self._count(sum(1 + _carried(_parse(_bytes(self._folder / each))) for each in full) - told)
            for each in full:
                (self._folder / each).unlink(missing_ok=True)
        if full:
            number = f"{len(full)} snapshot{'s' if len(full) > 1 else ''}"
            self._say(f"{self._folder} is full: {number} dropped, the oldest: see why the service takes none")

    def waiting(self) -> list[str]:
        """The names of all that wait, the oldest first."""
        return sorted(_files(self._folder))

    def read(self, name: str) -> Waiting | None:
        """One that waits; None where it is gone, or was no snapshot and is set aside."""
        data = _bytes(self._folder / name)
        found = _parse(data)
        if found:
            return Waiting(found["id"], data)
        if (self._folder / name).exists():
            self.reject(name, "it is no whole snapshot")
        return None

    def remove(self, name: str) -> None:
        """Forget one, as it is delivered."""
        with durable.held(self._folder):
            (self._folder / name).unlink(missing_ok=True)

    def reject(self, name: str, why: str) -> None:
        """Set one aside that would only stop the others; the number that it carries is for the next one."""
        with durable.held(self._folder):
            carried = _carried(_parse(_bytes(self._folder / name)))
            self._rejected.mkdir(mode=0o700, exist_ok=True)
            (self._folder / name).replace(self._rejected / name)
            self._count(carried)
            for old in sorted(_files(self._rejected))[:-REJECTED]:
                (self._rejected / old).unlink(missing_ok=True)
        self._say(f"{self._folder / name} is set aside: {why}: look at it in {self._rejected}")

    def _beyond(self, files: dict[str, int], newest: str) -> list[str]:
        """Those that must go so that the spool is within its bounds: the oldest, never the newest."""
        number, size, gone = len(files), sum(files.values()), []
        for name in sorted(files.keys() - {newest}):
            if number <= self._keep and size <= BYTES:
                break
            number, size = number - 1, size - files[name]
            gone.append(name)
        return gone

    def _count(self, more: int) -> None:
        if more:
            durable.write(self._folder, _COUNT, b"%d\n" % max(0, self.dropped() + more))


def _files(folder: Path) -> dict[str, int]:
    """The files of our form in a folder, and their bytes."""
    try:
        with os.scandir(folder) as entries:
            return {
                entry.name: entry.stat(follow_symlinks=False).st_size
                for entry in entries
                if _FORM.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
            }
    except FileNotFoundError:  # the folder, or a file that another process has just delivered
        return {}
    except OSError as error:
        raise SentinelError(f"cannot list {folder}: {reason_of(error)}", "it must be ours") from None


def _bytes(file: Path) -> bytes:
    """What a file holds; empty where it is too large or cannot be read."""
    try:
        with file.open("rb") as opened:
            data = opened.read(_LARGEST + 1)
    except OSError:
        return b""
    return data if len(data) <= _LARGEST else b""


def _parse(data: bytes) -> dict[str, Any]:
    """A snapshot that is whole as far as its delivery goes; empty where it is not."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    is_one = isinstance(found, dict) and isinstance(found.get("id"), str) and _ID.fullmatch(found["id"])
    return found if is_one else {}


def _carried(snapshot: dict[str, Any]) -> int:
    """How many dropped ones a snapshot tells of."""
    number = snapshot.get("dropped", 0)
    return number if type(number) is int and 0 <= number < 1 << 40 else 0
