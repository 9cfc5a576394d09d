"""The newest snapshot of each node, from files, folders and exported ConfigMaps.

How files are opened is in `opened`, what folders hold in `listing`, ConfigMaps in `exported`. All of it may
be hostile: what cannot be used costs a line, never the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from ..amounts import counted
from ..errors import MetisError, one_line, reason_of
from ..wording import shown
from . import exported, opened
from .listing import MOST, TRIES, Listing, listed
from .opened import Folder, Limit
from .snapshot import AHEAD, LARGEST, Snapshot, parse

MANY = 10_000
"""Snapshots of a node that are more than anybody needs."""
LINES = 100
LARGEST_OF_ALL = 512 << 20
"""Bytes of the snapshots that are used: 10,000 nodes have them."""
BEGINNING = datetime(2020, 1, 1, tzinfo=UTC)
"""A clock that says something earlier was never set."""

_LONGEST = 400
"""Characters of a line."""
_SNAPSHOT = Limit(LARGEST)
_JSON = Limit(exported.LARGEST_JSON, "export fewer ConfigMaps at a time")
_YAML = Limit(exported.LARGEST_YAML, "export with -o json, and fewer ConfigMaps at a time")
_CLOCK = "the clock of the node, or of this machine, is wrong"
_MARK = "\N{BYTE ORDER MARK}".encode()


@dataclass(frozen=True, slots=True)
class Read:
    """The newest usable snapshot of each node, by its name, and a line for each thing that was not used."""

    snapshots: dict[str, Snapshot]
    skipped: tuple[str, ...]


def read(places: Iterable[Path], now: datetime, *, whole: str | None = None) -> Read:
    """Read what is in some files and folders.

    A folder holds such files, and folders called after nodes with files called after times; of those, and of
    a folder that is itself one of them, only the newest is opened. `whole` is a node whose snapshot keeps all
    that it said.
    """
    reader = _Reader(now, whole)
    for place in places:
        reader.take(place)
    return reader.read()


class _Reader:
    def __init__(self, now: datetime, whole: str | None) -> None:
        self._latest = now + AHEAD
        self._until = f"{self._latest.astimezone(UTC):%Y%m%d%H%M%S}"
        self._whole = whole
        self._newest: dict[str, Snapshot] = {}
        self._sizes: dict[str, int] = {}
        self._size = 0
        self._lines: list[str] = []
        self._more = 0

    def read(self) -> Read:
        """What came of it."""
        found = dict(sorted(self._newest.items()))
        for node, each in found.items():
            if each.at < BEGINNING:
                self._skip(f"{node}: its newest snapshot is of {_time(each.at)}: set the node's clock")
        more = [f"and {self._more:,} more"] if self._more else []
        return Read(found, (*self._lines, *more))

    def take(self, place: Path) -> None:
        """Read one place."""
        with self._telling(f"{place}"), opened.place(place) as descriptor:
            if opened.is_folder(descriptor):
                self._folder(Folder(place, descriptor))
            else:
                data = opened.read(descriptor, partial(_largest, place.name))
                self._file(f"{place}", place.name, data)

    def _folder(self, folder: Folder) -> None:
        listing = listed(folder.descriptor, self._until)
        if listing.left:
            rest = f"{listing.left:,} more were not looked at"
            self._skip(f"{folder.label()} holds more than {MOST:,} files or folders: {rest}")
        self._history(folder, listing, {})
        for name in sorted(listing.files):
            label = folder.label(name)
            with self._telling(label):
                self._file(label, name, folder.read(name, partial(_largest, name)))
        for name in sorted(listing.folders):
            with self._telling(folder.label(name)), folder.folder(name) as inner:
                found = listed(inner.descriptor, self._until)
                if not found.snapshots:
                    raise MetisError("holds no snapshots that are named by their times")
                self._history(inner, found, {"its folder": name})
                if others := len(found.files) + len(found.folders) + len(found.links) + found.left:
                    raise MetisError(f"holds {counted(others, 'more thing')}, not named by times")
        for name in listing.links:
            self._skip(f"{folder.label(name)} is a link to something else than a file, and is not followed")

    def _history(self, folder: Folder, listing: Listing, claims: Mapping[str, str]) -> None:
        """Take the newest snapshot that can be used; of those before it nothing is said."""
        if listing.snapshots >= MANY:
            count = f"{listing.snapshots:,} snapshots"
            self._skip(f"{folder.label()} holds {count}: let the sentinel keep fewer, --keep")
        if listing.ahead:
            self._skip(f"{folder.label()} holds {listing.ahead:,} snapshots of times to come: {_CLOCK}")
        for name in listing.newest:
            with self._telling(folder.label(name)):
                data = folder.read(name, lambda _: _SNAPSHOT)
                if self._use(data, claims).at >= BEGINNING:
                    return
        if listing.snapshots - listing.ahead > TRIES:
            self._skip(f"{folder.label()}: of its snapshots only the newest {TRIES} were tried")

    def _file(self, label: str, name: str, data: bytes) -> None:
        """Take what is in a file that is not of a history: a snapshot, or ConfigMaps."""
        if (kind := _largest(name, data[: opened.BEGINNING])) is _SNAPSHOT:
            self._use(data, {})
            return
        is_empty = True
        for each in exported.from_json(data) if kind is _JSON else exported.from_yaml(data):
            is_empty = False
            with self._telling(f"{label}, {each.where}"):
                self._use(each.data, each.claims)
        if is_empty:
            raise MetisError("holds no snapshot")

    def _use(self, data: bytes, claims: Mapping[str, str]) -> Snapshot:
        """Keep a snapshot if it is its node's newest. Raises MetisError where it is not to be believed."""
        found = parse(data)
        for what, node in claims.items():
            if node != found.node:
                raise MetisError(f"says that it is of {found.node}, and {what} says {shown(node)}")
        if found.at > self._latest:
            raise MetisError(f"is of {_time(found.at)}, which has not come", _CLOCK)
        known = self._newest.get(found.node)
        if known is None or known.at < found.at:
            size = self._size + len(data) - self._sizes.get(found.node, 0)
            if size > LARGEST_OF_ALL:
                raise MetisError(f"is left out, as all are larger than {LARGEST_OF_ALL >> 20} MiB together")
            self._size, self._sizes[found.node] = size, len(data)
            self._newest[found.node] = parse(data, whole=True) if found.node == self._whole else found
        return found

    @contextmanager
    def _telling(self, label: str) -> Iterator[None]:
        """Make a line of what is wrong within the block."""
        try:
            yield
        except MetisError as error:
            self._skip(f"{label} {error}")
        except OSError as error:
            self._skip(f"{label} cannot be read: {reason_of(error)}")

    def _skip(self, line: str) -> None:
        if len(self._lines) < LINES:
            self._lines.append(one_line(line, _LONGEST))
        else:
            self._more += 1


def _largest(name: str, beginning: bytes) -> Limit:
    """How much a file that is not of a history may hold, by what it seems to be."""
    if not name.endswith(".json") and not beginning.removeprefix(_MARK).lstrip().startswith(b"{"):
        return _YAML
    return _JSON if exported.is_json(beginning) else _SNAPSHOT


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
