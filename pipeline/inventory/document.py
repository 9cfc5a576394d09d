"""YAML as data with positions, read as if its author were hostile.

PyYAML's own loaders lose the line of a value, let a key stand twice, take `off` for false and expand an
anchor bomb. So the data is built from the parser's events (`builder`, `scalars`). Which keys and values make
sense is in `validate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import yaml

from ..errors import InventoryError, Problem
from ..wording import dotted, shown
from .builder import Builder, Keys
from .scalars import UNPRINTABLE

MAX_BYTES = 1 << 20

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Renamed:
    """A value under an old name: the keys that lead to it in the file, and what is to be said of that."""

    written: Keys
    words: str


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML file, or a map within it: the data, and the line of each value, counted from 1.

    `prefix` is where `data` is in the file; `lines` is of the whole file, and so is `renamed`, by the paths
    that values have in `data` (see `renames`). An alias gives the same object as its anchor, so `data` is for
    reading only.
    """

    file: str
    data: dict[str, Any]
    lines: Mapping[Keys, int]
    prefix: Keys = ()
    renamed: Mapping[Keys, Renamed] = field(default_factory=dict)

    def written(self, path: Keys) -> Keys:
        """Give the keys that lead to a value in its file, as its author wrote them."""
        path = (*self.prefix, *path)
        for end in range(len(path), 0, -1):
            if renamed := self.renamed.get(path[:end]):
                path = (*renamed.written, *path[end:])
        return path

    def line(self, path: Keys) -> int:
        """Give the line of a value's key or item, or of the nearest thing around it that has one."""
        path = self.written(path)
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path, 1)

    def problem(self, path: Keys, message: str) -> Problem:
        """Say what is wrong with the value at a path of this document."""
        return Problem(self.file, self.line(path), dotted(self.written(path)), message)

    def part(self, *path: str) -> Document:
        """Give a map within this one as a document; its messages still name the places in the whole file.

        Raises KeyError where there is nothing, InventoryError where there is something else than a map.
        """
        value: Any = self.data
        for depth, step in enumerate(path, 1):
            value = value[step]
            if not isinstance(value, dict):
                message = f"expected a map of keys and values, found {shown(value)}"
                raise InventoryError([self.problem(path[:depth], message)])
        return replace(self, data=value, prefix=(*self.prefix, *path))


def parse(text: bytes | str, file: str) -> Document:
    """Read one document whose top is a map.

    `file` is what messages call it. Raises InventoryError with one problem at the first thing that is not
    YAML, is beyond the limits, or is a part of YAML that an inventory has no use for.
    """
    builder = Builder(file)
    source = _decode(text, builder)
    try:
        for event in yaml.parse(source, Loader=_LOADER):
            builder.take(event)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # Without libyaml an escape beyond Unicode fails in chr().
        builder.refuse(*_syntax(error, source))
    if not isinstance(builder.root, dict):
        found = shown(builder.root)
        builder.refuse(builder.lines.get((), 1), f"expected a map of keys and values, found {found}")
    return Document(file, builder.root, MappingProxyType(builder.lines))


def _decode(source: bytes | str, builder: Builder) -> str:
    if len(source) > MAX_BYTES:
        builder.refuse(0, f"the file is larger than {MAX_BYTES >> 20} MiB; an inventory file holds kilobytes")
    try:
        text = source.decode("utf-8-sig") if isinstance(source, bytes) else source
    except UnicodeDecodeError as error:
        builder.refuse(error.object.count(b"\n", 0, error.start) + 1, "the file is not valid UTF-8")
    if odd := UNPRINTABLE.search(text):
        line = text.count("\n", 0, odd.start()) + 1
        builder.refuse(line, f"the character U+{ord(odd[0]):04X} cannot stand in YAML")
    return text


def _syntax(error: Exception, source: str) -> tuple[int, str]:
    """Give the line and the words for what the parser did not understand."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return 0, "this is not YAML"
    before = getattr(error, "context_mark", None) or mark
    for number, line in enumerate(source.split("\n")[before.line : mark.line + 1], before.line + 1):
        if "\t" in line[: len(line) - len(line.lstrip())]:
            return number, "a tab cannot indent YAML: use spaces"
    words = f"{getattr(error, 'problem', '')} {getattr(error, 'context', None) or ''}".strip()
    since = f" that starts in line {before.line + 1}" if before.line < mark.line else ""
    return mark.line + 1, f"this is not YAML: {words}{since}"
