"""The node's address: one netplan file, and nothing else that would give it another."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from ..model import Entry, Fault, File, Remove, ResolvedNode, Settings
from .yaml_text import yaml_text

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# What images bring to get any address at all. netplan merges its files by key, so a default with
# `dhcp4: true` would stay in force beside a static address.
DEFAULTS = (
    "/etc/netplan/00-installer-config.yaml",
    "/etc/netplan/10-dhcp-all-interfaces.yaml",
    "/etc/netplan/50-cloud-init.yaml",
)


def render(node: ResolvedNode) -> tuple[Entry, ...]:
    """A netplan file of mode 0600 (netplan warns of a looser one), in force alone."""
    network = node.settings.get("network")
    if network is None:
        return ()
    document = {"network": {"version": 2, "renderer": "networkd", "ethernets": _ethernet(network)}}
    return (
        File("/etc/netplan/60-metis.yaml", (yaml_text(document),), mode=0o600),
        File(
            "/etc/cloud/cloud.cfg.d/99-disable-network-config.cfg",
            (yaml_text({"network": {"config": "disabled"}}),),
        ),
        *(Remove(path) for path in DEFAULTS),
    )


def check(node: ResolvedNode) -> Iterator[Fault]:
    """Addresses that no machine can have, or that fit neither each other nor a card."""
    network: Mapping[str, Any] | None = node.settings.get("network")
    if network is None:
        return
    dhcp, address = network.get("dhcp", False), network.get("address")
    if dhcp and address is not None:
        yield "network.address", f"expected either an address or dhcp: true, found both ({address})"
    elif not dhcp and address is None:
        yield "network", "expected either an address or dhcp: true, found neither"
    if dhcp and "gateway" in network:
        yield "network.gateway", "expected no gateway beside dhcp: true, which brings its own"
    if address is None:
        return
    if not network.keys() & {"interface", "mac"}:
        yield "network", "expected an interface or a mac: without one every network card gets the address"
    interface = ipaddress.ip_interface(address)
    yield from (("network.address", message) for message in _unusable(interface.ip, interface))
    if "gateway" in network:
        gateway = ipaddress.ip_address(network["gateway"])
        yield from (("network.gateway", message) for message in _gateway(gateway, interface))


def _gateway(gateway: Address, interface: Interface) -> Iterator[str]:
    if gateway == interface.ip:
        yield f"expected another address than the node's own, found {gateway}"
    elif gateway in interface.network:
        yield from _unusable(gateway, interface)
    elif gateway.version != interface.version or not _is_local_router(gateway):
        yield f"expected an address in {interface.network}, the network of the node, found {gateway}"


def _is_local_router(gateway: Address) -> bool:
    return isinstance(gateway, ipaddress.IPv6Address) and gateway.is_link_local


def _unusable(address: Address, interface: Interface) -> Iterator[str]:
    """Say why no machine can have an address in the network of an interface."""
    network = interface.network
    kinds = {
        "the unspecified address": address.is_unspecified,
        "a loopback address": address.is_loopback,
        "a multicast address": address.is_multicast,
    }
    # A network of one or two addresses has none to spare for itself or a broadcast (RFC 3021, RFC 6164).
    if network.prefixlen < network.max_prefixlen - 1:
        kinds["the address of the network itself"] = address == network.network_address
        if isinstance(address, ipaddress.IPv4Address):
            kinds["the broadcast address of its network"] = address == network.broadcast_address
    first = next((kind for kind, holds in kinds.items() if holds), None)
    if first is not None:
        yield f"expected an address that a machine can have, found {address}, {first}"


def _ethernet(network: Settings) -> dict[str, Any]:
    interface = network.get("interface", "e*")
    is_pattern = bool(set(interface) & set("*?["))
    # A plain name is its own match; anything else needs an id that stands for it.
    name = "lan0" if is_pattern else interface
    settings: dict[str, Any] = {}
    if "mac" in network:
        settings["match"] = {"macaddress": network["mac"]}
        if not is_pattern:
            settings["set-name"] = interface  # else whoever names it (flannel-iface: eth0) may be wrong
    elif is_pattern:
        settings["match"] = {"name": interface}
    return {name: settings | _addressing(network)}


def _addressing(network: Settings) -> dict[str, Any]:
    settings: dict[str, Any] = {"dhcp4": True}
    if not network.get("dhcp"):
        settings = {"dhcp4": False, "dhcp6": False, "addresses": [network["address"]]}
        if "gateway" in network:
            settings["routes"] = [{"to": "default", "via": network["gateway"]}]
    if network.get("nameservers") or network.get("search"):
        settings["nameservers"] = {
            "addresses": network.get("nameservers", ()),
            "search": network.get("search", ()),
        }
    return settings
