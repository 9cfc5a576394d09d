"""Scalars without quotes, by the core schema of YAML 1.2, narrowed.

Source: https://yaml.org/spec/1.2.2/#103-core-schema. Only decimal numbers without a leading zero are
numbers: modes (0644), dates, times, MAC addresses and 0x1f stay the strings that their author meant. `on`,
`off`, `yes` and `no` are strings too.
"""

from __future__ import annotations

import re

UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What cannot stand in YAML, nor in a value by way of an escape."""

TOO_LARGE = object()
"""In place of a number that neither 64 bits nor a float can hold."""

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_DIGITS = 18


def plain(text: str) -> object:
    """Give the value of a scalar that stands without quotes."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        return int(text) if len(text) <= _DIGITS else TOO_LARGE
    if _FLOAT.fullmatch(text):
        value = float(text)
        return value if abs(value) < float("inf") else TOO_LARGE
    return text
