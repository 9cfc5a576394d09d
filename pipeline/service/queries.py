"""What the address of a page asks for, and addresses that ask for another part of the same."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Annotated, TypeVar
from urllib.parse import urlencode

from fastapi import Path, Query

T = TypeVar("T")

PAGE = 50
"""Lines of one page."""
LONGEST = 100
"""Characters of a filter that count."""
_DIGITS = 5
"""Of the number of a page, at most."""
HIGHEST = (1 << 63) - 1
"""So far a database can count."""

Before = Annotated[int | None, Query(ge=1, le=HIGHEST)]
"""The number that the last line of a page had, for the next one."""
Number = Annotated[int, Path(ge=1, le=HIGHEST)]


def page_number(text: str) -> int:
    """The number of a page, the first for what is none."""
    return max(1, int(text)) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else 1


def query(**values: str | int | None) -> str:
    """Values as a query, without those that say nothing; a name that is a word of Python ends in _."""
    return urlencode({name.rstrip("_"): value for name, value in values.items() if value})


def part(found: Iterable[T], page: int) -> tuple[list[T], bool]:
    """The lines of a page, and whether there are more; no more are looked at than that takes."""
    first = (page - 1) * PAGE
    lines = list(islice(found, first, first + PAGE + 1))
    return lines[:PAGE], len(lines) > PAGE
