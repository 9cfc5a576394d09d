"""Keys that have another name now, and are understood by the old one for a while.

A rename is declared where the key is, in its schema: the old name stays a property there, `deprecated` and
with `x-renamed`, whose `to` is the new name, as a dotted path from the map that the old one stands in, and
whose `until` is the last day on which the old one is understood. `Inventory.parse` has the new names put into
each document, so that whatever reads one knows no others. An old name that is left then, as its time is over
or the new name is there too, is a fault to `schemas`.

Days are strings such as 2027-11-28, which are in the order of time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from .schema_files import Kind, Schema, address_of, contents, parts

if TYPE_CHECKING:
    from .builder import Keys
    from .document import Document, Renamed

KEYWORD = "x-renamed"


@dataclass(frozen=True, slots=True)
class Rename:
    """One old name; `within` leads to the maps that it may stand in, None for any key or item."""

    within: tuple[str | None, ...]
    old: str
    to: str
    until: str


def words(to: str, until: str) -> str:
    """What people are told of an old name."""
    return f"is now called {to}; the old name is understood until {until}"


@cache
def declared(kind: Kind) -> tuple[Rename, ...]:
    """The renames in a kind of documents, the outer before those within."""
    address = address_of(kind)
    found = _declared(contents()[address], address, ())
    return tuple(sorted(found, key=lambda rename: len(rename.within)))


def understood(kind: Kind, today: str) -> list[Rename]:
    """The renames in a kind of documents whose old names still do."""
    return [rename for rename in declared(kind) if today <= rename.until]


def state(today: str) -> list[str]:
    """Which old names are understood, as text: what was found by other ones has to be found anew."""
    return list(map(repr, understood("inventory", today)))


def _declared(schema: Schema, address: str, within: tuple[str | None, ...]) -> Iterator[Rename]:
    for part, there in parts(schema, address):
        for key, value in part.get("properties", {}).items():
            if KEYWORD in value:
                yield Rename(within, key, **value[KEYWORD])
            else:
                yield from _declared(value, there, (*within, key))
        for word in ("additionalProperties", "items"):
            if isinstance(part.get(word), dict):
                yield from _declared(part[word], there, (*within, None))


def rewritten(document: Document, renames: Iterable[Rename]) -> Document:
    """A whole file with new names in place of the old ones, but where the new one is there already."""
    data: object = document.data
    found: dict[Keys, Renamed] = {}
    for rename in renames:
        data = _rewritten(data, rename, (), found)
    assert isinstance(data, dict)  # as it was
    return replace(document, data=data, renamed=found) if found else document


def _rewritten(value: object, rename: Rename, path: Keys, found: dict[Keys, Renamed]) -> object:
    """A value with all that is renamed in it; what it shares with others by an alias stays as it is there."""
    if len(path) == len(rename.within):
        return _moved(value, rename, path, found)
    step = rename.within[len(path)]
    if isinstance(value, dict):
        return {
            key: _rewritten(item, rename, (*path, key), found) if step in {None, key} else item
            for key, item in value.items()
        }
    if isinstance(value, list) and step is None:
        return [_rewritten(item, rename, (*path, index), found) for index, item in enumerate(value)]
    return value


def _moved(value: object, rename: Rename, path: Keys, found: dict[Keys, Renamed]) -> object:
    from .document import Renamed

    if not isinstance(value, dict) or rename.old not in value:
        return value
    new = rename.to.split(".")
    others = {key: item for key, item in value.items() if key != rename.old}
    moved = _with(others, new, value[rename.old])
    if moved is None:
        return value
    found[(*path, *new)] = Renamed((*path, rename.old), words(rename.to, rename.until))
    return moved


def _with(value: dict[str, Any], path: list[str], item: object) -> dict[str, Any] | None:
    """A map with one thing more, within maps of it; None where its place is taken."""
    first, *rest = path
    if not rest:
        return None if first in value else {**value, first: item}
    below = value.get(first, {})
    inner = _with(below, rest, item) if isinstance(below, dict) else None
    return None if inner is None else {**value, first: inner}
