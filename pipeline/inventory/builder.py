"""YAML events → plain data with the line of each value, one event at a time and within limits.

Iterative, so that depth costs no stack. What an alias repeats is counted again, which stops an anchor bomb;
the object itself is shared.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from ..errors import InventoryError, Problem
from ..wording import dotted, shown
from .scalars import TOO_LARGE, UNPRINTABLE, plain

Keys = tuple[str | int, ...]
"""What leads to a value in a document: keys of maps, and indices of lists."""

MAX_DEPTH = 32
MAX_NODES = 100_000
"""Values of a document, counted again for each alias that repeats them."""

_TAG = "tag:yaml.org,2002:"
_TAGS = {"str": str, "int": int, "float": float, "bool": bool, "null": type(None), "map": dict, "seq": list}


@dataclass(slots=True)
class _Open:
    """A map or list that is being filled; `key` is the map's key that waits for its value."""

    value: dict[str, Any] | list[Any]
    path: Keys
    anchor: str | None
    before: int
    key: str | None = None
    height: int = 1


@dataclass(slots=True)
class _Known:
    """What an anchor names, with the number of values in it and the depth that it adds."""

    value: object
    nodes: int
    height: int


@dataclass(slots=True)
class Builder:
    """A document in the making: its top value, and the line of each value by its path."""

    file: str
    root: object = None
    lines: dict[Keys, int] = field(default_factory=dict)
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, _Known] = field(default_factory=dict)
    nodes: int = 0
    documents: int = 0

    def refuse(self, line: int, message: str, path: Iterable[str | int] = ()) -> NoReturn:
        """Stop with one problem."""
        raise InventoryError([Problem(self.file, line, dotted(path), message)])

    def take(self, event: Any) -> None:  # noqa: ANN401 - PyYAML's events share no useful type
        """Go on by one event of the parser."""
        line = event.start_mark.line + 1
        match event:
            case yaml.ScalarEvent():
                self._scalar(event, line)
            case yaml.AliasEvent(anchor=str(anchor)):
                self._alias(anchor, line)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self._open(event, line)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self._close()
            case yaml.DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    self.refuse(line, "a second document starts here: write one document in one file")

    def _scalar(self, event: Any, line: int) -> None:  # noqa: ANN401
        if odd := UNPRINTABLE.search(event.value):
            self.refuse(line, f"the character U+{ord(odd[0]):04X} cannot stand in a value", self._place())
        value = self._resolve(event, line)
        if event.anchor:
            self.anchors[event.anchor] = _Known(value, 1, 0)
        if self._waits_for_key():
            self._key(value, line, merges=event.value == "<<" and event.implicit[0])
        else:
            self._put(value, line, nodes=1, height=0)

    def _alias(self, anchor: str, line: int) -> None:
        known = self.anchors.get(anchor)
        if known is None:
            self.refuse(line, f"the alias {shown(anchor)} has no complete anchor before it", self._place())
        if self._waits_for_key():
            self._key(known.value, line)
        else:
            self._put(known.value, line, known.nodes, known.height)

    def _open(self, event: Any, line: int) -> None:  # noqa: ANN401
        if self._waits_for_key():
            self.refuse(line, "a key must be a string, found a map or a list", self._place())
        value: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._check_tag(event.tag, value, line)
        self.anchors.pop(event.anchor, None)
        opened = _Open(value, self._place(), event.anchor, before=self.nodes)
        self._put(value, line, nodes=1, height=1)
        self.stack.append(opened)

    def _close(self) -> None:
        closed = self.stack.pop()
        if closed.anchor:
            self.anchors[closed.anchor] = _Known(closed.value, self.nodes - closed.before, closed.height)
        if self.stack:
            self.stack[-1].height = max(self.stack[-1].height, closed.height + 1)

    def _waits_for_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].value, dict) and self.stack[-1].key is None

    def _place(self) -> Keys:
        """Where the next value goes; for a key, the map that it is in."""
        if not self.stack:
            return ()
        top = self.stack[-1]
        if isinstance(top.value, list):
            return (*top.path, len(top.value))
        return top.path if top.key is None else (*top.path, top.key)

    def _key(self, key: object, line: int, *, merges: bool = False) -> None:
        top = self.stack[-1]
        if merges:
            self.refuse(line, "the merge key << is not supported: let a class extend another", top.path)
        if not isinstance(key, str):
            self.refuse(line, f"a key must be a string, found {shown(key)}: put it in quotes", top.path)
        path = (*top.path, key)
        if key in top.value:
            self.refuse(line, f"the key stands twice, first in line {self.lines[path]}", path)
        top.key = key
        self.lines[path] = line

    def _put(self, value: object, line: int, nodes: int, height: int) -> None:
        path = self._place()
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            self.refuse(line, f"more than {MAX_NODES} values, counting what aliases repeat", path)
        if len(self.stack) + height > MAX_DEPTH:
            self.refuse(line, f"nested deeper than {MAX_DEPTH} levels", path[:3])
        self.lines.setdefault(path, line)
        if not self.stack:
            self.root = value
            return
        top = self.stack[-1]
        top.height = max(top.height, height + 1)
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.key is not None:
            top.value[top.key] = value
            top.key = None

    def _resolve(self, event: Any, line: int) -> object:  # noqa: ANN401
        tag, text = event.tag, event.value
        if tag is None and not event.implicit[0]:
            return text
        if tag == _TAG + "str":
            return text
        value = plain(text)
        if value is TOO_LARGE:
            self.refuse(line, "the number is too large: put it in quotes if it is a string", self._place())
        self._check_tag(tag, value, line)
        return value

    def _check_tag(self, tag: str | None, value: object, line: int) -> None:
        if tag is not None and _TAGS.get(tag.removeprefix(_TAG)) is not type(value):
            self.refuse(line, f"the tag {shown(tag)} cannot stand here: leave it out", self._place())
