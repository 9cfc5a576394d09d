"""What is said of a card that a burn failed on."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..errors import MetisError, MismatchError, reason_of
from ..raw.ranges import BLOCK
from .burn_plan import Extent
from .medium import Medium, buffer

_SHOWN = 3
GONE = frozenset({errno.ENODEV, errno.ENXIO, getattr(errno, "ENOMEDIUM", errno.ENODEV)})
"""The numbers of errors of a card that is not there any more."""
_FULL = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})
_ANOTHER = "use another card"


@contextmanager
def errors_in_words(name: str, medium: Medium) -> Iterator[None]:
    """Say in words what the system says by number while the block uses the medium of the card `name`."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise MetisError(f"there is no room for {name}", "free some space there and run again") from error
        if error.errno in GONE or not _answers(medium):
            raise MetisError(
                f"{name} does not answer any more", "insert it again, or another one, and run again"
            ) from error
        raise MetisError(
            f"{name} cannot be written: {reason_of(error)}", f"run again, or {_ANOTHER}"
        ) from error


def _answers(medium: Medium) -> bool:
    """Whether at least one of the card's ends can be read."""
    length = min(BLOCK, medium.size) // medium.alignment * medium.alignment
    into = buffer(length or medium.size)
    for offset in (0, (medium.size - len(into)) // medium.alignment * medium.alignment):
        try:
            medium.read(offset, into)
        except OSError:
            continue
        return True
    return False


def not_so_large(name: str, size: int, real: int | None = None) -> MismatchError:
    """A card that is smaller than it reports; `real` is its size in bytes, where that is known."""
    less = f"but has only {real}" if real is not None else "but does not hold what is written at its end"
    return MismatchError(f"{name} reports {size} bytes, {less}", f"it is bad or a fake: {_ANOTHER}")


def bad_card(name: str, bad: Sequence[Extent], written: Sequence[Extent], size: int) -> MismatchError:
    """A card that does not keep what is written; `bad` are the extents of `written` that it lost."""
    first = min(each.start for each in bad)
    behind = sum(each.start >= first for each in written)
    if 1 < len(bad) == behind < len(written):
        return not_so_large(name, size, first)
    ranges: list[tuple[int, int]] = []
    for each in sorted(bad, key=lambda each: each.start):
        if ranges and ranges[-1][1] == each.start:
            ranges[-1] = ranges[-1][0], each.end
        else:
            ranges.append((each.start, each.end))
    shown = ", ".join(f"{start} to {end}" for start, end in ranges[:_SHOWN])
    more = f" and in {len(ranges) - _SHOWN} more places" if len(ranges) > _SHOWN else ""
    return MismatchError(f"{name} is bad: it does not keep what is written at bytes {shown}{more}", _ANOTHER)
