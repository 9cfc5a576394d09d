"""What can be wrong with interfaces that each fit their schema: addresses, gateways, names."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import combinations

from ..model import Fault, ResolvedNode
from .links import Link, links

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


NOT_NAMES = frozenset({"all", "default", "lo", "renderer"})
"""What the kernel has for itself, and netplan for a setting beside the interfaces."""


def check(node: ResolvedNode) -> Iterator[Fault]:
    """Everything that would only fail on the node, or leave it without its address."""
    network = node.settings.get("network")
    if network is None:
        return
    found = links(network)
    carriers = {link.settings["link"] for link in found if link.kind == "vlan"}
    for link in found:
        yield from _naming(link)
        yield from _addressing(link, is_carrier=link.name in carriers)
    yield from _matching(found)
    yield from _vlans(found)
    yield from _shared(found)


def _naming(link: Link) -> Iterator[Fault]:
    if link.name in NOT_NAMES:
        path = f"{link.path}.interface" if link.path == "network" else link.path
        yield path, f"expected a name that an interface of the node can have, found {link.name}"


def _addressing(link: Link, *, is_carrier: bool) -> Iterator[Fault]:
    settings, path = link.settings, link.path
    dhcp, address = settings.get("dhcp", False), settings.get("address")
    if dhcp and address is not None:
        yield f"{path}.address", f"expected either an address or dhcp: true, found both ({address})"
    elif not link.has_address and not is_carrier:
        yield path, "expected either an address or dhcp: true, found neither"
    if dhcp and "gateway" in settings:
        yield f"{path}.gateway", "expected no gateway beside dhcp: true, which brings its own"
    if not link.has_address and is_carrier:
        for key in settings.keys() & {"gateway", "nameservers", "search"}:
            yield f"{path}.{key}", "expected an address or dhcp: true beside it, found neither"
    if address is None:
        return
    if link.name is None and not settings.keys() & {"interface", "mac"}:
        yield path, "expected an interface or a mac: without one every network card gets the address"
    yield from _static(link, ipaddress.ip_interface(address))


def _static(link: Link, interface: Interface) -> Iterator[Fault]:
    yield from ((f"{link.path}.address", message) for message in _unusable(interface.ip, interface))
    if "gateway" in link.settings:
        gateway = ipaddress.ip_address(link.settings["gateway"])
        yield from ((f"{link.path}.gateway", message) for message in _gateway(gateway, interface))
    if isinstance(interface, ipaddress.IPv6Interface):
        yield from _unreachable(link)


def _unreachable(link: Link) -> Iterator[Fault]:
    """Routers may give an address of IPv6 beside a static one of IPv4, and nobody the other way round."""
    for server in link.listed("nameservers"):
        if isinstance(ipaddress.ip_address(server), ipaddress.IPv4Address):
            text = f"expected addresses of IPv6, as the interface has no other, found {server}"
            yield f"{link.path}.nameservers", text


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


def _matching(found: Sequence[Link]) -> Iterator[Fault]:
    """A pattern beside other wired interfaces: which settings win is the order of file names."""
    wired = [link for link in found if link.kind == "ethernet"]
    for link in wired:
        if link.pattern is not None and link.mac is None and len(wired) > 1:
            text = f"expected a name: {link.pattern} may match the further interfaces too"
            yield f"{link.path}.interface", text


def _vlans(found: Sequence[Link]) -> Iterator[Fault]:
    wired = {link.name for link in found if link.kind == "ethernet"}
    for link in found:
        if link.kind == "vlan" and link.settings["link"] not in wired:
            carrier = link.settings["link"]
            yield f"{link.path}.link", f"expected the name of an interface of this node, found {carrier}"


def _shared(found: Sequence[Link]) -> Iterator[Fault]:
    """What only one interface of a node can have; said of the later one."""
    rules: dict[str, tuple[Callable[[Link], Hashable], str]] = {
        "": (lambda link: link.name, "expected each name once, found it also as {other}"),
        ".mac": (_own_mac, "expected each MAC address once, {other} has it too"),
        ".address": (_own_address, "expected each address once, {other} has it too"),
        ".gateway": (_family_of_gateway, "expected one default gateway of IPv{value}, {other} has one too"),
        ".id": (_tag, "expected each VLAN of an interface once, {other} is it too"),
    }
    for one, other in combinations(found, 2):
        for key, (value_of, text) in rules.items():
            value = value_of(other)
            if value is not None and value == value_of(one):
                yield f"{other.path}{key}", text.format(other=one.path, value=value)


def _own_mac(link: Link) -> str | None:
    return None if link.mac is None else link.mac.lower()


def _own_address(link: Link) -> Address | None:
    address = link.settings.get("address")
    return None if address is None else ipaddress.ip_interface(address).ip


def _family_of_gateway(link: Link) -> int | None:
    gateway = link.settings.get("gateway")
    return None if gateway is None else ipaddress.ip_address(gateway).version


def _tag(link: Link) -> tuple[str, int] | None:
    return (link.settings["link"], link.settings["id"]) if link.kind == "vlan" else None
