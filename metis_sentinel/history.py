"""The snapshots that a node keeps of itself: `<out>/<node>/<UTC time>.json`, bounded by count and by age.

Names sort by time. Only what has a name of this form is ever removed. A clock that jumped costs nothing of
the history: while it is implausible nothing is too old, and what it named goes before all else when there are
too many.
"""

from __future__ import annotations

import heapq
import os
import re
import time
from pathlib import Path
from typing import NamedTuple

from . import durable
from .errors import SentinelError

NEWEST = 10
"""So many stay, whatever their age."""
_FIRST, _LAST = "2026", "2051"
"""From the first of these years and before the other a clock is plausible: names begin with the year."""
_AHEAD = 24 * 60 * 60
"""Seconds that a name may be ahead of the clock."""
_END = 253_402_300_000.0
"""Seconds since 1970 that still are in the year 9999."""
_FORM = re.compile(r"\d{8}T\d{6}\.\d{6}Z\.json", re.ASCII)
_NODE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


class Limits(NamedTuple):
    """How many snapshots are kept, and for how many seconds."""

    keep: int = 100
    max_age: int = 30 * 24 * 60 * 60


def write(out: Path, node: str, data: bytes, limits: Limits, now: float) -> Path:
    """Keep a snapshot, and drop what is beyond the limits; gives its file. `now` is in seconds (time(2)).

    Raises SentinelError when that cannot be done: then what was there still is.
    """
    if not _NODE.fullmatch(node):
        raise SentinelError(f"{node!r} is no name of a node", "see its host name")
    folder = out / node
    with durable.held(folder):
        name = _free_name(folder, now)
        durable.write(folder, name, data)
        _prune(folder, name, limits, now)
    return folder / name


def _moment(now: float) -> int:
    """Microseconds since 1970; a clock before that, or after the year 9999, is at that end."""
    return int(min(max(now, 0.0), _END) * 1_000_000)


def _name(moment: int) -> str:
    seconds, rest = divmod(moment, 1_000_000)
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(seconds))}.{rest:06}Z.json"


def _free_name(folder: Path, now: float) -> str:
    """The name for this moment, or the next that nobody has."""
    moment = _moment(now)
    while os.path.lexists(folder / _name(moment)):
        moment += 1
    return _name(moment)


def _prune(folder: Path, written: str, limits: Limits, now: float) -> None:
    """Remove what is beyond the limits, but never what was written just now.

    The folder may hold any number of files: no more than `limits.keep` names are in memory.
    """
    plausible = _FIRST <= _name(_moment(now)) < _LAST
    latest = _name(_moment(now + _AHEAD)) if plausible else _LAST
    kept: list[tuple[bool, str]] = []  # a heap, and so the first is the oldest
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name == written or not _FORM.fullmatch(name) or not entry.is_file(follow_symlinks=False):
                continue
            item = (_FIRST <= name < latest, name)
            if len(kept) < limits.keep - 1:
                heapq.heappush(kept, item)
            else:
                (folder / heapq.heappushpop(kept, item)[1]).unlink(missing_ok=True)
    if plausible:
        oldest = _name(_moment(now - limits.max_age))
        for _, name in sorted(kept)[: 1 - NEWEST]:
            if name < oldest:
                (folder / name).unlink(missing_ok=True)
