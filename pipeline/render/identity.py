"""Who the node is: its host name, also as the address that it calls itself by."""

from __future__ import annotations

from ..model import Edit, Entry, File, ResolvedNode, Text


def render(node: ResolvedNode) -> tuple[Entry, ...]:
    """hostname(5), and 127.0.1.1 of hosts(5) as Debian uses it."""
    return (
        File("/etc/hostname", (Text(f"{node.hostname}\n"),)),
        Edit("/etc/hosts", "hosts", (("names", node.hostname),)),
    )
