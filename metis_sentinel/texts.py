"""Words and amounts of strangers, made to fit what the schema of a snapshot allows. Pure."""

from __future__ import annotations

import re

LARGEST = 1 << 60
"""Of anything that is counted in bytes."""


def text(value: bytes | str, most: int) -> str:
    """At most `most` characters; none is half of a pair, which could be neither printed nor stored."""
    if isinstance(value, str):
        value = value[:most].encode("utf-8", "surrogatepass")
    return value[: 4 * most].decode("utf-8", "replace")[:most]


def line(value: bytes | str, most: int) -> str:
    """The same in one line, without spaces and zeros around it: how sysfs and device trees write words."""
    return text(value, most).strip(" \t\r\n\0")


def shown(value: str, most: int) -> str:
    r"""A text that a terminal can print: what it would obey is written as `\x1b`."""
    whole = text(value, most)
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in whole)[:most]


def amount(value: bytes | str, most: int = LARGEST) -> int:
    """A number in decimal digits, from 0 to `most`, maybe with white space around it. Raises ValueError."""
    digits = line(value, 64)
    if not re.fullmatch(r"[0-9]{1,19}", digits) or int(digits) > most:
        raise ValueError(f"{shown(digits, 40)!r} is no number, or too large")
    return int(digits)
