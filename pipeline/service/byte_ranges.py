"""What part of a file a request asks for (RFC 9110, section 14). Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_RANGE = re.compile(r"bytes=(?:([0-9]+)-([0-9]*)|-([0-9]+))", re.I)
_MOST_DIGITS = 18
"""No file has a place of more."""


def wanted(asked: Sequence[str], if_range: Sequence[str], etag: str, size: int) -> tuple[int, int] | None:
    """The half-open range of a file that is asked for by the headers Range and If-Range, each as it came.

    None stands for the whole file: nothing was asked, or what a server may ignore, as several ranges; or the
    file is not the one that was begun. A range is empty where the file has none of it.
    """
    match = _RANGE.fullmatch(asked[0]) if len(asked) == 1 else None
    if match is None or (if_range and list(if_range) != [etag]):
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        return max(0, size - _number(suffix)), size
    start, end = _number(first), _number(last) + 1 if last else size
    if start >= end and last:
        return None
    return min(start, size), min(end, size)


def _number(digits: str) -> int:
    """Counting on: a longer one is beyond the end of any file."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS
