"""What the schemas say of a document's data.

What is in the files, and which there are, is in `schema_files`; the words for faults are in `schema_faults`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import jsonschema_rs

from . import renames
from .builder import Keys
from .formats import FORMATS
from .schema_files import Kind, address_of, contents


def faults(data: object, kind: Kind) -> Iterator[tuple[Keys, str]]:
    """Give the path and the words of each thing in a document's data that the schema does not allow."""
    if not is_surely_good(data, kind):
        from .schema_faults import in_words  # who has no faults need not load what finds the words for them

        yield from in_words(data, kind)


# --------------------------------------------------------------------------------- good at first sight

_BASE = "metis:///"
"""What the addresses of schemas are relative to."""


def is_surely_good(data: object, kind: Kind) -> bool:
    """Whether the schema allows all of it, as jsonschema-rs finds in a hundredth of the time.

    It has no words for what it refuses, and takes numbers and line ends as JSON Schema does, not as we do:
    where they matter, and where it refuses, nothing is sure.
    """
    if not _is_plain(data):
        return False
    try:
        return _quick(kind).is_valid(data)
    except ValueError:  # numbers that it cannot hold
        return False


def _is_plain(data: object) -> bool:
    """Whether there is no float in it, and no text with a line's end behind it (see `schema_faults`)."""
    if isinstance(data, dict):
        return all(_is_plain(key) and _is_plain(value) for key, value in data.items())
    if isinstance(data, list):
        return all(map(_is_plain, data))
    return not (isinstance(data, float) or (isinstance(data, str) and data.endswith("\n")))


@cache
def _quick(kind: Kind) -> jsonschema_rs.Draft202012Validator:
    found = [(_BASE + address, content) for address, content in contents().items()]
    return jsonschema_rs.Draft202012Validator(
        {"$ref": _BASE + address_of(kind)},
        registry=jsonschema_rs.Registry(found, draft=jsonschema_rs.Draft202012),
        keywords={"format": _Format, renames.KEYWORD: _OldName},
        offline=True,
    )


class _Format:
    """A format of ours; the library itself would ask for texts alone."""

    def __init__(self, _schema: object, name: str, _path: object) -> None:
        self._check = FORMATS[name]

    def validate(self, value: object) -> None:
        self._check(value)


class _OldName:
    """An old name that `renames` has left in a document is never good."""

    def __init__(self, _schema: object, _value: object, _path: object) -> None:
        pass

    def validate(self, _value: object) -> None:
        raise ValueError
