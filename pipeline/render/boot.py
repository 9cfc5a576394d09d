"""How the node starts: kernel options, the size of its root, and a clock that is not in 1970."""

from __future__ import annotations

from collections.abc import Iterator

from ..model import Entry, Fault, ResolvedNode


def render(_node: ResolvedNode) -> tuple[Entry, ...]:
    """Edits of the firmware's files, and two units."""
    return ()


def check(_node: ResolvedNode) -> Iterator[Fault]:
    """What of it this machine cannot do."""
    yield from ()
