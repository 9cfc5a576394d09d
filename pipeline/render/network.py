"""The node's addresses: written for one renderer, and nothing else that would give it others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..model import Entry, File, Needs, Remove, ResolvedNode, Symlink, Text
from . import keyfile, netplan, units
from .concern import Owned
from .links import Link, links
from .systems.table import system_of
from .yaml_text import yaml_text

INTERFACES = "# Written by Metis: netplan or NetworkManager has the rest.\nauto lo\niface lo inet loopback\n"
"""interfaces(5) without a `source` line: what lies in interfaces.d, under any name, is not read any more."""

SERVICES = {
    "networkd": ("systemd-networkd.service", "systemd-networkd-wait-online.service"),
    "NetworkManager": ("NetworkManager.service", "NetworkManager-wait-online.service"),
}
"""What brings the interfaces up, and what network-online.target waits for then."""

OWNED = Owned(
    strays={
        "/etc/netplan": "netplan would merge it into the node's addresses",
        keyfile.CONNECTIONS: "NetworkManager would give the node its addresses",
    },
    paths=(
        "/etc/NetworkManager",
        "/etc/network",
        "/etc/systemd/network",
        *(f"{folder}/netplan" for folder in ("/run", "/lib", "/usr/lib")),
    ),
    keys=dict.fromkeys(
        ("network", "manage_resolv_conf", "resolv_conf"),
        "addresses are declared with network, and cloud-init reads none from here",
    ),
)

NETPLAN = Needs("/usr/sbin/netplan", "netplan.io")
MANAGERS = {
    "networkd": Needs("/lib/systemd/systemd-networkd", "systemd"),
    "NetworkManager": Needs("/usr/sbin/NetworkManager", "network-manager"),
}
SUPPLICANT = Needs("/sbin/wpa_supplicant", "wpasupplicant")
"""How networkd gets into a wireless network; NetworkManager has other ways too."""


def render(node: ResolvedNode) -> tuple[Entry, ...]:
    """The files of the renderer, its services, and the removal of all other settings."""
    network = node.settings.get("network")
    if network is None:
        return ()
    system = system_of(node.klass)
    renderer = network.get("renderer", system.renderer)
    found = links(network)
    written = keyfile.render(found) if renderer == "keyfile" else (netplan.render(found, renderer),)
    manager = "networkd" if renderer == "networkd" else "NetworkManager"
    return (
        *_needs(renderer, manager, found),
        *written,
        *_services(manager),
        File(
            "/etc/cloud/cloud.cfg.d/99-disable-network-config.cfg",
            (yaml_text({"network": {"config": "disabled"}}),),
        ),
        File("/etc/network/interfaces", (Text(INTERFACES),)),
        *map(Remove, system.addresses),
    )


def _needs(renderer: str, manager: str, found: Sequence[Link]) -> Iterator[Needs]:
    """What reads our files: all else that would give the node an address is taken away."""
    if renderer != "keyfile":
        yield NETPLAN
    yield MANAGERS[manager]
    if manager == "networkd" and any(link.kind == "wifi" for link in found):
        yield SUPPLICANT


def _services(manager: str) -> Iterator[Symlink | Remove]:
    """network-online.target, and with it k3s, waits for the one that has the interfaces.

    Armbian has NetworkManager without its wait-online; the other's would wait until it gives up.
    """
    for name, (service, wait_online) in SERVICES.items():
        if name == manager:
            yield units.wanted(service, "multi-user.target")
            yield units.wanted(wait_online, "network-online.target")
        else:
            yield Remove(units.want(wait_online, "network-online.target"))
