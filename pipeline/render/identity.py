"""Who the node is: its host name, also as the address that it calls itself by."""

from __future__ import annotations

from collections.abc import Iterator

from ..inventory.formats import hostname_label
from ..inventory.wording import shown
from ..model import Edit, Entry, Fault, File, ResolvedNode, Text


def render(node: ResolvedNode) -> tuple[Entry, ...]:
    """hostname(5), and 127.0.1.1 of hosts(5) as Debian uses it."""
    return (
        File("/etc/hostname", (Text(f"{node.hostname}\n"),)),
        Edit("/etc/hosts", "hosts", (("names", node.hostname),)),
    )


def check(node: ResolvedNode) -> Iterator[Fault]:
    """A node that declares no host name must have a name that can be one."""
    if "hostname" in node.settings:
        return
    try:
        hostname_label(node.name)
    except ValueError:
        yield "hostname", f"missing, as the node's name {shown(node.name)} cannot be a host name"
