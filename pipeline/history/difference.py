"""What differs between two builds of a node: what they were made of, and which entries. Pure.

It is told from the manifests that were kept: of a secret they have its name, and of a file that stays in the
inventory its hash.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from itertools import islice
from typing import Any, Literal

from ..errors import cut
from ..manifest_json import kind
from ..model import (
    Blob,
    Edit,
    Entry,
    File,
    ImageFact,
    Manifest,
    Needs,
    Piece,
    Placed,
    Reserved,
    SecretRef,
    Text,
)
from ..wording import is_private, shown
from .records import Build

MOST_LINES = 200
"""Of a text so many lines of difference are told."""
LONGEST_LINE = 200
"""Characters of one of them that are told."""
LONGEST_TEXT = 2_000
"""Lines; a longer text is not looked through."""
MOST_TEXTS = 100
"""So many texts of two builds are looked through; it takes a while."""
_SHORT = 12
"""Digits of a hash that are told."""
_WHOLE = ("content", "arguments", "path", "side")
"""Fields that are no plain words, or that entries of one place share."""

What = Literal["added", "removed", "changed"]


@dataclass(frozen=True, slots=True)
class Made:
    """A build, the manifest of its base and its own; None for one that was not kept or cannot be read."""

    build: Build
    base: Manifest | None
    image: Manifest | None


@dataclass(frozen=True, slots=True)
class Other:
    """A word that is another one: its name, what it was and what it is."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Change:
    """What is otherwise of one entry; `lines` are the difference of a text, as diff -u has it."""

    what: What
    kind: str
    on: str
    path: str
    layer: str
    others: tuple[Other, ...] = ()
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two builds: what they were made of, and the entries of the base and of the image.

    None stands for entries of which nobody can tell, as a manifest was not kept.
    """

    before: Build
    after: Build
    made_of: tuple[Other, ...]
    base: tuple[Change, ...] | None
    image: tuple[Change, ...] | None

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "before": self.before.to_data(), "after": self.after.to_data()}


def difference(before: Made, after: Made) -> Difference:
    """Hold two builds of one node against each other."""
    texts = iter(range(MOST_TEXTS))
    return Difference(
        before.build,
        after.build,
        tuple(_made_of(before.build, after.build)),
        _entries(before.base, after.base, texts),
        _entries(before.image, after.image, texts),
    )


# --------------------------------------------------------------------------------- what it was made of


def _made_of(before: Build, after: Build) -> Iterator[Other]:
    if before.metis != after.metis:
        yield Other("Metis", before.metis, after.metis)
    if before.event.klass != after.event.klass:
        yield Other("class", before.event.klass, after.event.klass)
    for name in _names(before.base_from, after.base_from, but=("manifest",)):
        yield Other(name, *(_word(each.base_from.get(name)) for each in (before, after)))
    if before.secrets and after.secrets:  # where a build failed nobody knows
        for name in _names(before.secrets, after.secrets):
            was, now = before.secrets.get(name, ""), after.secrets.get(name, "")
            yield Other("source of secrets", was, now) if name == "source" else _version(name, was, now)


def _names(before: Mapping[str, Any], after: Mapping[str, Any], but: tuple[str, ...] = ()) -> Iterator[str]:
    """The names of what is not the same in two maps; a map that is empty tells nothing."""
    if before and after:
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name) and name not in but:
                yield name


def _word(value: object) -> str:
    if isinstance(value, str):
        return value[:_SHORT]
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {word}" for name, word in sorted(value.items())) or "nothing"
    return "nothing" if value is None else str(value)


def _version(owner: str, was: str, now: str) -> Other:
    """What versions look like is their source's own affair: it counts that there is another one."""
    shared = "secrets that nodes share" if owner == "cluster" else "secrets of the node"
    return Other(shared, "one version" if was else "none", "another version" if now else "none")


# ------------------------------------------------------------------------------------------- entries


def _entries(
    before: Manifest | None, after: Manifest | None, texts: Iterator[int]
) -> tuple[Change, ...] | None:
    if before is None or after is None:
        return None
    was, now = _by_place(before), _by_place(after)
    return tuple(
        change
        for place in sorted(was.keys() | now.keys())
        if (change := _change(was.get(place), now.get(place), texts))
    )


def _by_place(manifest: Manifest) -> dict[tuple[str, str, bool], Placed]:
    """What is needed may be at a place beside what is put there."""
    return {
        (each.entry.side, each.entry.path, isinstance(each.entry, Needs)): each for each in manifest.entries
    }


def _change(was: Placed | None, now: Placed | None, texts: Iterator[int]) -> Change | None:
    if was is None or now is None:
        only = was or now
        assert only is not None
        return Change("added" if was is None else "removed", *_named(only))
    others = tuple(_others(was.entry, now.entry))
    lines = tuple(_lines(was.entry, now.entry, texts))
    return Change("changed", *_named(now), others, lines) if others or lines else None


def _named(placed: Placed) -> tuple[str, str, str, str]:
    return kind(placed.entry), placed.entry.side, placed.entry.path, placed.layer


def _others(was: Entry, now: Entry) -> Iterator[Other]:
    if type(was) is not type(now):
        yield Other("kind", kind(was), kind(now))
        return
    for name in (each.name for each in fields(was) if each.name not in _WHOLE):
        before, after = getattr(was, name), getattr(now, name)
        if before != after:
            words = (f"{each:04o}" if name == "mode" else str(each) for each in (before, after))
            yield Other(name, *words)
    if isinstance(was, Edit) and isinstance(now, Edit):
        given, wanted = dict(was.arguments), dict(now.arguments)
        for name in _arguments(given, wanted):
            yield Other(name, _argument(given.get(name)), _argument(wanted.get(name)))


def _arguments(given: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    return (name for name in sorted(given.keys() | wanted.keys()) if given.get(name) != wanted.get(name))


def _argument(value: str | SecretRef | ImageFact | None) -> str:
    if isinstance(value, SecretRef):
        return _secret(value)
    return f"<{value.name} of the image>" if isinstance(value, ImageFact) else shown(value)


# ---------------------------------------------------------------------------------------------- texts


def _lines(was: Entry, now: Entry, texts: Iterator[int]) -> Iterator[str]:
    if not (isinstance(was, File) and isinstance(now, File)):
        return
    before, after = ("".join(map(_piece, each.content)) for each in (was, now))
    if before == after:
        return
    if is_private(before) or is_private(after):
        yield "another private key"
        return
    old, new = before.splitlines(), after.splitlines()
    if max(len(old), len(new)) > LONGEST_TEXT or next(texts, None) is None:
        yield f"{len(old)} lines, now {len(new)}: too much to look through"
        return
    found = difflib.unified_diff(old, new, lineterm="")
    told = [_printable(line) for line in islice(found, 2, MOST_LINES + 3)]
    yield from told[:MOST_LINES]
    if len(told) > MOST_LINES:
        yield "and more"
    if not told:
        yield "only ends of lines differ"


def _piece(piece: Piece) -> str:
    match piece:
        case Text(text):
            return text
        case SecretRef():
            return _secret(piece)
        case Blob(sha256):
            return f"<a file, sha256 {sha256[:_SHORT]}>"
        case Reserved(size):
            return f"<{size} bytes, written on the card>"


def _secret(ref: SecretRef) -> str:
    return f"<the secret {ref.name}>" if ref.form == "text" else f"<the secret {ref.name} as {ref.form}>"


def _printable(line: str) -> str:
    shown = cut(line, LONGEST_LINE).expandtabs()
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in shown)
