"""What each operating system does at its first start that would undo the node's identity: see `systems`."""

from __future__ import annotations

from ..model import Entry, ResolvedNode
from .systems.table import system_of


def render(node: ResolvedNode) -> tuple[Entry, ...]:
    """Removals and settings, by operating system."""
    return system_of(node.klass).quirks
