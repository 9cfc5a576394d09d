"""Snapshots in what `kubectl get configmap -o json` and `-o yaml` print: ConfigMaps, or Lists of them. Pure.

Both are read one ConfigMap after the other and within limits, as such files may be large and anybody's. What
comes before something that cannot be read is given all the same.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import yaml

from ..errors import MetisError
from ..wording import shown
from .snapshot import LARGEST

LARGEST_JSON = 64 << 20
LARGEST_YAML = 16 << 20
"""Bytes of a file."""
MARK = "metis.io/node"
"""The label or annotation that says whose snapshot a ConfigMap holds."""

_BEGINNING = re.compile(
    rb'(\xef\xbb\xbf)?\s*+\{\s*+"(apiVersion|binaryData|data|immutable|items|kind|metadata)"'
)
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?+|[][{}]', re.DOTALL)
"""Strings, the last of them perhaps cut off, and brackets."""
_TOKENS = 2_000_000
"""Of a JSON file; a ConfigMap has some fifty."""
_EVENTS = 500_000
"""Of a YAML file."""
_DEPTH = 32
_LISTED, _ITEM = 2, 3
"""How deep a List's `items` lie, and each of them."""
_SAYS_NOTHING = re.compile(r"(snapshot|facts|latest|[0-9]{8}T[0-9]{6}(\.[0-9]+)?Z)\.json")
"""Names of keys that are no node's."""
_BROKEN = "is no JSON, or not all of it"
_TOO_MUCH = "holds too much: export fewer ConfigMaps at a time"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Held:
    """What a ConfigMap holds under a key: bytes that should be a snapshot.

    `where` is for messages. `claims` are the nodes that it should be of, each by what says so.
    """

    where: str
    data: bytes
    claims: Mapping[str, str]


def is_json(beginning: bytes) -> bool:
    """Whether a file is no snapshot but a ConfigMap or a List as JSON, by its first key."""
    return _BEGINNING.match(beginning) is not None


def from_json(data: bytes) -> Iterator[Held]:
    """What is in a file of JSON. Raises MetisError, which does not name the file, where it makes no sense."""
    for text in _items(data):
        if len(text) > LARGEST:
            raise MetisError(f"holds a ConfigMap of more than {LARGEST >> 20} MiB, which none can have")
        try:
            value = json.loads(text.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            raise MetisError(_BROKEN) from None
        yield from _held(value)


def from_yaml(data: bytes) -> Iterator[Held]:
    """The same for a file of YAML, with one document or several."""
    try:
        for value in _values(data):
            yield from _held(value)
    except (yaml.YAMLError, ValueError, OverflowError):
        raise MetisError("is no YAML, or not all of it") from None


def _items(data: bytes) -> Iterator[bytes]:
    """The items of a List as they are written, else the whole; found by their brackets, and not parsed."""
    depth = start = 0
    key = b""
    has_items = within = False
    for token in _tokens(data):
        text = token[0]
        if text in {b"{", b"["}:
            depth += 1
            if depth == _LISTED:
                within = key == b'"items"' and text == b"["
                has_items |= within
            elif depth == _ITEM:
                start = token.start()
        elif text in {b"}", b"]"}:
            if depth == _ITEM and within:
                yield data[start : token.end()]
            depth -= 1
        elif depth == 1:
            key = text
    if depth:
        raise MetisError(_BROKEN)
    if not has_items:
        yield data


def _tokens(data: bytes) -> Iterator[re.Match[bytes]]:
    for number, token in enumerate(_TOKEN.finditer(data)):
        if number == _TOKENS:
            raise MetisError(_TOO_MUCH)
        yield token


@dataclass(slots=True)
class _Open:
    """A map or list that is being filled; `key` is the map's key that waits for its value."""

    value: dict[str, object] | list[object]
    key: str | None = None

    def put(self, value: object) -> None:
        if isinstance(self.value, list):
            self.value.append(value)
        elif self.key is not None:
            self.value[self.key] = value
            self.key = None
        elif isinstance(value, str):
            self.key = value
        else:
            raise MetisError("has a map or a list as a key")


def _values(data: bytes) -> Iterator[object]:
    """The items of Lists and the documents, each as soon as it is whole; what is no map or list is text."""
    stack: list[_Open] = []
    for number, event in enumerate(yaml.parse(data, Loader=_LOADER)):
        if number == _EVENTS:
            raise MetisError(_TOO_MUCH)
        if len(stack) > _DEPTH:
            raise MetisError("is nested too deep")
        if getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise MetisError("has an anchor, an alias or a tag, which kubectl does not write")
        value: object
        match event:
            case yaml.MappingStartEvent():
                stack.append(_Open({}))
                continue
            case yaml.SequenceStartEvent():
                stack.append(_Open([]))
                continue
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                value = stack.pop().value
            case yaml.ScalarEvent():
                value = event.value
            case _:
                continue
        if not stack or _is_item(stack):
            yield value
        else:
            stack[-1].put(value)


def _is_item(stack: list[_Open]) -> bool:
    """Whether what comes next is an item of the document's `items`."""
    return len(stack) == _LISTED and stack[0].key == "items" and isinstance(stack[1].value, list)


def _held(value: object) -> Iterator[Held]:
    if not isinstance(value, dict) or value.get("kind", "ConfigMap") != "ConfigMap":
        return
    about = _map(value.get("metadata"))
    claims = {
        f"its {group[:-1]} {MARK}": str(node)
        for group in ("labels", "annotations")
        if (node := _map(about.get(group)).get(MARK)) is not None
    }
    name = shown(f"{about.get('namespace', '')}/{about.get('name', '')}")
    for group in ("data", "binaryData"):
        for key, text in _map(value.get(group)).items():
            if key.endswith(".json") and isinstance(text, str):
                by_key = {} if _SAYS_NOTHING.fullmatch(key) else {"its key": key.removesuffix(".json")}
                where = f"ConfigMap {name}, key {shown(key)}"
                yield Held(where, _bytes(text, coded=group == "binaryData"), {**claims, **by_key})


def _map(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _bytes(text: str, *, coded: bool) -> bytes:
    """What a text stands for; where it is not what it must be, something that is no snapshot either."""
    try:
        return base64.b64decode(text) if coded else text.encode()
    except ValueError:
        return text.encode(errors="surrogatepass")
