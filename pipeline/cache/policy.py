"""What goes from the cache when room is wanted, and what stays.

Pure: what is there (`contents`), what the inventory needs (`lab.cache`) and how late it is come in.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

DAY = 86_400
UNFINISHED_FOR = DAY
"""Seconds after which a download that nobody has touched is given up, where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the cache holds under a key: a file by its SHA-256, or what is unfinished by what it will be.

    `size` is in bytes. `used` is when it was last used, of what is unfinished when it was last written to, in
    seconds since 1970. `origin` is the name of the source that it came from, empty where nobody knows.
    """

    key: str
    size: int
    used: float
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in the cache, or a part of that."""

    files: tuple[Held, ...]
    unfinished: tuple[Held, ...]

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(item.size for item in (*self.files, *self.unfinished))


@dataclass(frozen=True, slots=True)
class Limits:
    """What is asked to go: what was not used for `older_than` seconds, and what is over `max_size` bytes.

    With `unused` it is all that is not needed.
    """

    older_than: float | None = None
    max_size: int | None = None
    unused: bool = False


def going(contents: Contents, needed: Container[str], now: float, limits: Limits) -> Contents:
    """What goes by these limits: nothing that is needed, and what was used least recently first.

    Downloads go by their age alone, needed or not: they can be begun again.
    """
    given_up = UNFINISHED_FOR if limits.older_than is None else limits.older_than
    unfinished = tuple(item for item in contents.unfinished if now - item.used > given_up)
    left = contents.size - sum(item.size for item in unfinished)
    files = []
    for item in sorted(contents.files, key=lambda item: (item.used, item.key)):
        is_old = limits.older_than is not None and now - item.used > limits.older_than
        is_over = limits.max_size is not None and left > limits.max_size
        if item.key not in needed and (limits.unused or is_old or is_over):
            files.append(item)
            left -= item.size
    return Contents(tuple(files), unfinished)
