"""Times as people say them. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import ceil

from ..amounts import counted, duration

MINUTE, HOUR = 60, 3600
TENTHS = 120.0
"""Seconds from which on tenths say nothing."""
CLOSE = timedelta(minutes=1)
"""Clocks that differ by less agree."""
LONG_AGO = timedelta(days=31)
"""From then on a date says more than a number of days."""
STEP = 5
"""Seconds to which the time that is left is rounded: what jumps about is not read."""


def exact(text: str | None) -> str:
    """A time in UTC to the minute; ISO 8601 is given, or nothing where something never happened."""
    return "never" if not text else text[:16].replace("T", " ")


def ago(text: str | None, now: datetime) -> str:
    """How long ago a time was; a date where that is long ago.

    What is to come, and what is no time, is told as it is given.
    """
    if not text:
        return "never"
    try:
        since = now - datetime.fromisoformat(text)
    except (ValueError, TypeError, OverflowError):  # a stranger's words, or without a time zone
        return exact(text)
    if since >= LONG_AGO:
        return text[:10]
    if since <= -CLOSE:
        return exact(text)
    return "just now" if since < CLOSE else f"{duration(since.total_seconds())} ago"


def took(length: float) -> str:
    """How long something took, in seconds: two units at most, so that two of a kind can be told apart."""
    if length < TENTHS:
        return f"{length:.1f} s"
    if length < 2 * HOUR:
        return f"{int(length) // MINUTE} min {int(length) % MINUTE} s"
    return f"{int(length) // HOUR} h {int(length) % HOUR // MINUTE} min"


def left(length: float) -> str:
    """How long something still takes, in seconds, as well as anybody can tell."""
    if length < MINUTE:
        return f"about {max(STEP, ceil(length / STEP) * STEP)} s left"
    if length < 2 * HOUR:
        return f"about {counted(round(length / MINUTE), 'minute')} left"
    return f"about {duration(length)} left"
