"""Disks of the node: Longhorn's, and a scratch disk that takes the wear off the card."""

from __future__ import annotations

from collections.abc import Iterator

from ..model import Entry, Fault, ResolvedNode


def render(_node: ResolvedNode) -> tuple[Entry, ...]:
    """Mounts, mount points that nobody can write to while they are empty, and what watches over them."""
    return ()


def check(_node: ResolvedNode) -> Iterator[Fault]:
    """What of the disks would only fail on the node."""
    yield from ()
