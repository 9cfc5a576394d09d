"""The schema files as compiled validators, and their errors in plain words.

The files are the only description of the format: `schema/` for the kinds of documents, a fragment beside each
renderer for its concern, and one beside the operating systems. They are read when first needed and name each
other by relative paths, which editors resolve in the same way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any, Literal
from urllib.parse import urljoin

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.jsonschema import DRAFT202012, SchemaResource

from ..wording import MAX_SHOWN, shown
from .formats import UnfitError, checker

Place = tuple[str | int, ...]
Kind = Literal["node", "class", "cluster", "inventory", "modes"]

_FOLDERS = ("inventory/schema", "render", "render/systems")
_SUFFIX = ".schema.json"


def faults(data: object, kind: Kind) -> Iterator[tuple[Place, str]]:
    """Give the path and the words of each thing in a document's data that the schema does not allow."""
    for error in _validator(kind).iter_errors(data):
        yield from _in_words(error)


@cache
def _registry() -> Registry[Any]:
    """All schema files; the address of each is its path below the package."""
    found: list[tuple[str, SchemaResource]] = []
    for folder in _FOLDERS:
        for item in files("pipeline").joinpath(folder).iterdir():
            if item.name.endswith(_SUFFIX):
                content = json.loads(item.read_text("utf-8"))
                # With a dialect of its own a file is validated without our stricter keywords.
                del content["$schema"]
                found.append((f"{folder}/{item.name}", DRAFT202012.create_resource(content)))
    registry: Registry[Any] = Registry()
    return registry.with_resources(found).crawl()


@cache
def _validator(kind: Kind) -> Draft202012Validator:
    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
    strict = extend(Draft202012Validator, {"pattern": _pattern}, type_checker=types)  # type: ignore[no-untyped-call]
    top = {"$ref": f"inventory/schema/{kind}{_SUFFIX}"}
    made: Draft202012Validator = strict(top, registry=_registry(), format_checker=checker())
    return made


def _is_integer(_checker: object, value: object) -> bool:
    """JSON Schema takes 1.0 for an integer, but what we write would be 1.0 then."""
    return isinstance(value, int) and not isinstance(value, bool)


def _pattern(_validator: object, pattern: str, value: object, _schema: object) -> Iterator[ValidationError]:
    """Match as JSON Schema means it: Python's $ would let a newline at the end pass."""
    if isinstance(value, str) and (value.endswith("\n") or not re.search(pattern, value)):
        yield ValidationError("does not match")


def _in_words(error: ValidationError) -> Iterator[tuple[Place, str]]:
    """Say an error by the description of the schema that it is about, not by the keyword that found it."""
    place: Place = tuple(error.absolute_path)
    found: Any = error.instance
    schema: Any = error.schema
    match error.validator:
        case "additionalProperties" | "unevaluatedProperties":
            known = tuple(_known(schema))
            yield from (((*place, key), _unknown(key, known)) for key in found if key not in known)
        case "required":
            missing = [key for key in schema["required"] if key not in found]
            yield from (((*place, key), f"missing, expected {schema['description']}") for key in missing)
        case "uniqueItems":
            twice = next(item for index, item in enumerate(found) if item in found[:index])
            yield place, f"expected each item once, found {shown(twice)} twice"
        case _:
            if "propertyNames" in error.absolute_schema_path:
                place = (*place, found)
            reason = f" ({error.cause})" if isinstance(error.cause, UnfitError) else ""
            yield place, f"expected {schema['description']}, found {shown(found)}{reason}"


def _unknown(key: str, known: Iterable[str]) -> str:
    close = get_close_matches(key[:MAX_SHOWN], known, n=1)
    return f"unknown key, did you mean '{close[0]}'?" if close else f"unknown key, known: {', '.join(known)}"


def _known(schema: Mapping[str, Any]) -> Iterator[str]:
    """Give the keys that a map may have; those of a whole file are also in the files that it refers to.

    The error itself cannot tell them apart: a known key with a fault in it counts as unevaluated too.
    """
    files_of_it = (address for address, file in _registry().items() if file.contents is schema)
    return _keys(schema, next(files_of_it, ""))


def _keys(schema: Mapping[str, Any], address: str) -> Iterator[str]:
    yield from schema.get("properties", ())
    for part in schema.get("allOf", ()):
        there = urljoin(address, part["$ref"])
        yield from _keys(_registry().contents(there), there)
