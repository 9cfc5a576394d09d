"""Snapshots that are sent to us, kept as `reading` wants histories: <folder>/<node>/<UTC time>.json.

A file is called after the time that its snapshot says, to the second, and after its id for the microseconds
that it does not say: so what comes twice, as after a connection that broke, has its name already, and the
names of a node sort by time whatever order they come in.
"""

from __future__ import annotations

import re
from itertools import accumulate
from pathlib import Path

from ..errors import MetisError
from ..machine import durable
from .snapshot import Snapshot, parse

MOST = 100
"""Snapshots that are kept of a node, the newest; as many as its sentinel keeps (`metis_sentinel.history`)."""
LARGEST = 64 << 20
"""Bytes of all that is kept of a node: three times what a machine with 3,000 packages says in 100."""
LOCK = ".lock"
_SECOND = 1_000_000
_NAME = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z\.json")


def keep(folder: Path, found: Snapshot, data: bytes, most: int = MOST) -> bool:
    """Keep a snapshot with the bytes that it came in, and say whether it is new here; the oldest make room.

    Raises MetisError where it cannot be written.
    """
    home = folder / found.node
    try:
        with durable.locked(home / LOCK, lambda _: None):
            file = _place(home, found)
            if file is None:
                return False
            durable.write_once(file, data)
            for name in _too_many(home, most):
                (home / name).unlink(missing_ok=True)
    except OSError as error:
        raise durable.out_of_room(home, error) from None
    return True


def _place(home: Path, found: Snapshot) -> Path | None:
    """The name that a snapshot gets, None where it has one; others of the same second may have the next."""
    start = int(found.id, 16) % _SECOND
    for offset in range(_SECOND):
        file = home / _name(found, (start + offset) % _SECOND)
        if not file.exists():
            return file
        if _id_in(file) == found.id:
            return None
    raise MetisError(f"{home} is full of snapshots of one second", "look what its sentinel does")


def _name(found: Snapshot, microseconds: int) -> str:
    at = found.at
    return f"{at.year:04}{at:%m%dT%H%M%S}.{microseconds:06}Z.json"


def _id_in(file: Path) -> str:
    try:
        return parse(file.read_bytes()).id
    except MetisError:
        return ""


def _too_many(home: Path, most: int) -> list[str]:
    """The names of all but the newest, of as many as there is room for."""
    names = _names(home)
    sizes = accumulate((home / name).stat().st_size for name in reversed(names))
    fitting = sum(size <= LARGEST for size in sizes)
    return names[: max(0, len(names) - min(most, fitting))]


def _names(home: Path) -> list[str]:
    return sorted(file.name for file in home.iterdir() if _NAME.fullmatch(file.name))
