"""The interfaces of a node as one list, however they are declared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from itertools import count
from typing import Any, Literal

from ..model import ResolvedNode, Settings, thaw

Kind = Literal["ethernet", "vlan", "wifi"]

MAIN = frozenset({"interface", "mac", "dhcp", "address", "gateway", "nameservers", "search"})
"""Keys of `network` that are of the main interface."""
FURTHER: dict[str, Kind] = {"interfaces": "ethernet", "vlans": "vlan", "wifis": "wifi"}


@dataclass(frozen=True, slots=True)
class Link:
    """One interface as it is declared at the dotted path `path`.

    `id` is its name, or stands for it where it is matched by a pattern or a MAC address only; `name` is None
    then.
    """

    kind: Kind
    id: str
    name: str | None
    pattern: str | None
    settings: Settings
    path: str

    @property
    def mac(self) -> str | None:
        """The MAC address that it is matched by."""
        found: str | None = self.settings.get("mac")
        return found

    @property
    def has_address(self) -> bool:
        """Whether it has one of its own; what only carries VLANs needs none."""
        return bool(self.settings.get("dhcp")) or "address" in self.settings

    @property
    def password(self) -> str:
        """The node's secret that is the password of its wireless network."""
        return f"extra.{self.settings.get('secret', 'wifi_psk')}"

    def listed(self, key: str) -> list[Any]:
        """A setting that is a list, empty where it is missing."""
        found: list[Any] = thaw(self.settings.get(key, ()))
        return found


def links(network: Settings) -> tuple[Link, ...]:
    """All interfaces of the settings, the main one first."""
    further = tuple(_further(network))
    return (*_main(network, {link.id for link in further}), *further)


def addresses(node: ResolvedNode) -> Iterator[IPv4Interface | IPv6Interface]:
    """The addresses that are declared, with their prefixes; what DHCP gives nobody knows."""
    for link in links(node.settings.get("network", {})):
        if "address" in link.settings:
            yield ip_interface(link.settings["address"])


def _main(network: Settings, taken: set[str]) -> Iterator[Link]:
    if not network.keys() & MAIN and any(network.get(key) for key in FURTHER):
        return
    interface = network.get("interface", "e*")
    settings = {key: network[key] for key in network.keys() & MAIN}
    if set(interface) & set("*?"):
        stands_for_it = next(name for name in (f"lan{n}" for n in count()) if name not in taken)
        yield Link("ethernet", stands_for_it, None, interface, settings, "network")
    else:
        yield Link("ethernet", interface, interface, None, settings, "network")


def _further(network: Settings) -> Iterator[Link]:
    for key, kind in FURTHER.items():
        for name, settings in network.get(key, {}).items():
            yield Link(kind, name, name, None, settings, f"network.{key}.{name}")
