"""Values set in the text of a YAML file, where there may be none yet: whatever else stands there stays.

What is there is replaced in its place, what is missing comes behind the last entry of its map and is written
as that is. `pin` edits one value that is known. Where values stand is told by `composed`, and how they are
written by `spelling`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

from ..errors import InventoryError
from ..wording import dotted
from .builder import Keys
from .composed import by_hand, composed, refuse_block, refuse_shared, values_of
from .document import parse
from .spelling import key_spelt, pair, spelt

_STEP = 2
"""Columns that a map is indented by where the file has no map in a map."""
_REMARK = re.compile(r"([ \t]*)(#?)[^\n]*(?:\n|\Z)")
_COMMA = re.compile(r"(?:[ \t\r\n]|(?<=[ \t\n])#[^\n]*\n)*,")


class _Edit(NamedTuple):
    """A part of the text, and what comes in its place."""

    start: int
    end: int
    written: str


def amended(text: str, path: Keys, values: Mapping[str, Any]) -> str:
    """Give the text of a YAML file with values set in the map at a path; made where it is missing.

    `values` are texts, and maps of them. Raises InventoryError for what is no YAML of an inventory,
    MetisError where a value is of another kind, or is one that more than one place or line shares.
    """
    before = parse(text, dotted(path)).data
    for step in reversed(path):
        values = {str(step): values}
    top = composed(text, path)
    writer = _Writer(text, "\r\n" if "\r\n" in text else "\n", _step_of(top) or _STEP)
    parts, end = [], 0
    for edit in sorted(writer.edits(top, before, values, ()), key=lambda edit: edit.start):
        parts += [text[end : edit.start], edit.written]
        end = edit.end
    after = "".join([*parts, text[end:]])
    try:
        is_right = parse(after, dotted(path)).data == laid_over(before, values)
    except InventoryError:
        is_right = False
    if not is_right:
        raise by_hand(path, "cannot be set")
    return after


def laid_over(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """Maps merged key by key, as classes are over those that they extend."""
    merged = dict(lower)
    for key, value in upper.items():
        old = merged.get(key)
        is_map = isinstance(value, Mapping)
        merged[key] = laid_over(old if isinstance(old, Mapping) else {}, value) if is_map else value
    return merged


@dataclass(frozen=True, slots=True)
class _Writer:
    """Finds the edits of one text; `eol` ends its lines, `step` is what its maps are indented by."""

    text: str
    eol: str
    step: int

    def edits(
        self, node: yaml.Node, data: Mapping[str, Any], values: Mapping[str, Any], path: Keys
    ) -> Iterator[_Edit]:
        """The edits of a map and of those in it, which come first where both are in one place."""
        there = values_of(node, path)
        for key in filter(there.__contains__, values):
            here, child, value = (*path, key), there[key], values[key]
            refuse_shared(child, self.text, here)
            if not isinstance(value, Mapping):
                yield from self._replaced(child, data[key], value, here)
            elif isinstance(child, yaml.MappingNode):
                yield from self.edits(child, data[key], value, here)
            else:
                raise by_hand(here, "is no map")
        missing = {key: value for key, value in values.items() if key not in there}
        if missing and isinstance(node, yaml.MappingNode):
            add = self._into_flow if node.flow_style else self._into_block
            yield from add(node, missing)

    def _replaced(self, node: yaml.Node, old: object, new: str, path: Keys) -> Iterator[_Edit]:
        scalar = refuse_block(node, path)
        start, end = scalar.start_mark.index, scalar.end_mark.index
        if start == end:
            raise by_hand(path, "is empty")
        if old != new:
            yield _Edit(start, end, spelt(new, scalar.style))

    # ---------------------------------------------------------------------------------------- blocks

    def _into_block(self, node: yaml.MappingNode, missing: Mapping[str, Any]) -> Iterator[_Edit]:
        column = node.start_mark.column
        place = self._behind(_end(node), column)
        lines = self._lines(missing, " " * column)
        if place and self.text[place - 1] != "\n":  # the last line has no end, and gets none
            yield _Edit(place, place, "".join(f"{self.eol}{line}" for line in lines))
        else:
            yield _Edit(place, place, "".join(f"{line}{self.eol}" for line in lines))

    def _behind(self, end: int, column: int) -> int:
        """Where the next line starts, behind remarks that are indented as the map is, or deeper."""
        if self.text[end - 1 : end] != "\n":
            end = self._next_line(end)
        place = end
        while end < len(self.text) and (found := _REMARK.match(self.text, end)):
            end = found.end()
            if not found[2] and found[0].strip():
                break
            if found[2] and len(found[1]) >= column:
                place = end
            elif found[2]:
                break
        return place

    def _next_line(self, place: int) -> int:
        return self.text.find("\n", place) + 1 or len(self.text)

    def _lines(self, values: Mapping[str, Any], indent: str) -> Iterator[str]:
        for key, value in values.items():
            if isinstance(value, Mapping) and value:
                yield f"{indent}{key_spelt(key)}:"
                yield from self._lines(value, indent + " " * self.step)
            else:
                yield f"{indent}{pair(key, value)}"

    # ------------------------------------------------------------------------------------- { flow: maps }

    def _into_flow(self, node: yaml.MappingNode, missing: Mapping[str, Any]) -> Iterator[_Edit]:
        pairs = [pair(*item) for item in missing.items()]
        if not node.value:
            inside = node.start_mark.index + 1
            yield _Edit(inside, inside, ", ".join(pairs))
            return
        last_key, last = node.value[-1]
        end, brace = last.end_mark.index, node.end_mark.index - 1
        line = self.text.rfind("\n", end, brace) + 1
        has_comma = _COMMA.match(self.text, end, brace)
        if not line or (has_comma and has_comma.end() > line):
            yield _Edit(end, end, "".join(f", {each}" for each in pairs))
            return
        indent = " " * last_key.start_mark.column
        if not has_comma:
            yield _Edit(end, end, ",")
        lines = f",{self.eol}".join(f"{indent}{each}" for each in pairs)
        yield _Edit(line, line, f"{lines}{',' if has_comma else ''}{self.eol}")


def _end(node: yaml.Node) -> int:
    """Where the last value of a block ends; what PyYAML calls its end is where the next thing starts."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style:
        last = node.value[-1]
        node = last[1] if isinstance(node, yaml.MappingNode) else last
    return int(node.end_mark.index)


def _step_of(node: yaml.Node) -> int:
    """What the first map in a map is indented by; 0 where there is none."""
    pairs = node.value if isinstance(node, yaml.MappingNode) and not node.flow_style else []
    below = [child for _, child in pairs]
    for child in below:
        if isinstance(child, yaml.MappingNode) and not child.flow_style:
            return int(child.value[0][0].start_mark.column - node.value[0][0].start_mark.column)
    return next(filter(None, map(_step_of, below)), 0)
