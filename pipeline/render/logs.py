"""How much the node keeps of its journal and of its containers' logs and images."""

from __future__ import annotations

from collections.abc import Iterator

from ..model import Entry, Fault, ResolvedNode


def render(_node: ResolvedNode) -> tuple[Entry, ...]:
    """journald's limits."""
    return ()


def check(_node: ResolvedNode) -> Iterator[Fault]:
    """What of the limits would have no effect."""
    yield from ()
