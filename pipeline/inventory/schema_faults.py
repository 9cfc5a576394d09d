"""What a document has that its schema does not allow, in plain words.

It takes longer to load than most commands take, so only who has found a document at fault asks it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from ..wording import MAX_SHOWN, shown
from . import renames
from .builder import Keys
from .formats import FORMATS, UnfitError
from .schema_files import Kind, Schema, address_of, contents, parts


def in_words(data: object, kind: Kind) -> Iterator[tuple[Keys, str]]:
    """Give the path and the words of each thing in a document's data that the schema does not allow."""
    for error in _validator(kind).iter_errors(data):
        yield from _said(error)


@cache
def _registry() -> Registry[Any]:
    registry: Registry[Any] = Registry()
    found = ((address, DRAFT202012.create_resource(content)) for address, content in contents().items())
    return registry.with_resources(found).crawl()


@cache
def _validator(kind: Kind) -> Draft202012Validator:
    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
    ours = {"pattern": _pattern, renames.KEYWORD: _old_name}
    strict = extend(Draft202012Validator, ours, type_checker=types)  # type: ignore[no-untyped-call]
    made: Draft202012Validator = strict(
        {"$ref": address_of(kind)}, registry=_registry(), format_checker=checker()
    )
    return made


def checker() -> FormatChecker:
    """Make the checker of our formats that jsonschema asks."""
    made = FormatChecker(formats=())
    for name, check in FORMATS.items():
        made.checks(name, raises=ValueError)(_holds(check))
    return made


def _holds(check: Callable[[object], None]) -> Callable[[object], bool]:
    def holds(value: object) -> bool:
        check(value)
        return True

    return holds


def _is_integer(_checker: object, value: object) -> bool:
    """JSON Schema takes 1.0 for an integer, but what we write would be 1.0 then."""
    return isinstance(value, int) and not isinstance(value, bool)


def _pattern(_validator: object, pattern: str, value: object, _schema: object) -> Iterator[ValidationError]:
    """Match as JSON Schema means it: Python's $ would let a newline at the end pass."""
    if isinstance(value, str) and (value.endswith("\n") or not re.search(pattern, value)):
        yield ValidationError("does not match")


def _old_name(
    _validator: object, renamed: Mapping[str, str], _value: object, _schema: object
) -> Iterator[ValidationError]:
    """Refuse an old name that `renames` has left in a document."""
    yield ValidationError(f"{renames.words(**renamed)}, and not beside the new one")


def _said(error: ValidationError) -> Iterator[tuple[Keys, str]]:
    """Say an error by the description of the schema that it is about, not by the keyword that found it."""
    place: Keys = tuple(error.absolute_path)
    found: Any = error.instance
    schema: Any = error.schema
    match error.validator:
        case "additionalProperties" | "unevaluatedProperties":
            known = _known(schema)
            names = [key for key, about in known.items() if renames.KEYWORD not in about]
            yield from (((*place, key), _unknown(key, names)) for key in found if key not in known)
        case "required":
            missing = [key for key in schema["required"] if key not in found]
            yield from (((*place, key), f"missing, expected {schema['description']}") for key in missing)
        case renames.KEYWORD:
            yield place, error.message
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


def _known(schema: Schema) -> Mapping[str, Schema]:
    """Give the keys that a map may have; those of a whole file are also in the files that it refers to.

    The error itself cannot tell them apart: a known key with a fault in it counts as unevaluated too.
    """
    address = next((address for address, content in contents().items() if content is schema), "")
    return {
        key: about for part, _ in parts(schema, address) for key, about in part.get("properties", {}).items()
    }
