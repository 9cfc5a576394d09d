"""Amounts in words for people, how many, how large and how long; and ages as they write them.

Sizes are in powers of 1024, as images and caches are counted; cards are sold by others (`card.cards`).
"""

from __future__ import annotations

import re

_STEP = 1024
_SIZES = ("KiB", "MiB", "GiB", "TiB")
_TIMES = (("day", 86_400), ("hour", 3_600), ("minute", 60))
_AGE = re.compile(r"(0|[1-9][0-9]{0,5})([mhd])")
_SECONDS = {"m": 60, "h": 3600, "d": 86_400}
ENOUGH = 2
"""A unit of time is used from so many on: 47 hours say more than one day."""


def counted(count: int, what: str) -> str:
    """So many of what has a regular plural: `1 file`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def duration(seconds: float, *, least: int = ENOUGH) -> str:
    """How long something took or is ago, in the largest unit of which there are so many: `3 days`."""
    for unit, length in _TIMES:
        if seconds >= least * length:
            return counted(int(seconds // length), unit)
    return "1 minute" if seconds >= _TIMES[-1][1] else "less than a minute"


def sized(count: int) -> str:
    """Bytes in the largest unit that they fill."""
    if count < _STEP:
        return f"{count} bytes"
    value, shown = float(count), ""
    for unit in _SIZES:
        value, shown = value / _STEP, unit
        if value < _STEP:
            break
    return f"{value:.1f} {shown}"


def mib(count: int, digits: int = 1) -> str:
    """Bytes in MiB, whatever their number: for figures that stand beside each other."""
    return f"{count / 2**20:.{digits}f} MiB"


def seconds(age: str) -> int:
    """The seconds of an age such as 90m, 12h or 30d; raises ValueError for what is none."""
    match = _AGE.fullmatch(age)
    if match is None:
        raise ValueError("not an age")
    return int(match[1]) * _SECONDS[match[2]]
