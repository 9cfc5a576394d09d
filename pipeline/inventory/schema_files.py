"""The schema files as plain data, and what in them refers to what.

They are the only description of the format: `schema/` for the kinds of documents, a fragment beside each
renderer for its concern, and one beside the operating systems. They are read when first needed and name each
other by relative paths, which editors resolve in the same way. `schemas` checks by them; that is heavy to
import, and this is not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal
from urllib.parse import urljoin

Kind = Literal["node", "class", "cluster", "inventory", "modes"]
Schema = Mapping[str, Any]

_FOLDERS = ("inventory/schema", "render", "render/systems")
_SUFFIX = ".schema.json"


def address_of(kind: Kind) -> str:
    """The address of the schema of a kind of documents."""
    return f"{_FOLDERS[0]}/{kind}{_SUFFIX}"


@cache
def contents() -> Mapping[str, dict[str, Any]]:
    """All schema files; the address of each is its path below the package."""
    found: dict[str, dict[str, Any]] = {}
    for folder in _FOLDERS:
        for item in files("pipeline").joinpath(folder).iterdir():
            if item.name.endswith(_SUFFIX):
                content = json.loads(item.read_text("utf-8"))
                # With a dialect of its own a file is validated without our stricter keywords.
                del content["$schema"]
                found[f"{folder}/{item.name}"] = content
    return found


def parts(schema: Schema, address: str) -> Iterator[tuple[Schema, str]]:
    """Give a schema and all that it refers to, each with the address of the file that it stands in."""
    yield schema, address
    for part in schema.get("allOf", ()):
        yield from parts(part, address)
    if "$ref" in schema:
        there, _, pointer = urljoin(address, schema["$ref"]).partition("#")
        found: Schema = contents()[there]
        for step in pointer.split("/")[1:]:
            found = found[step]
        yield from parts(found, there)
