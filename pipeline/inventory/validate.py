"""Everything that is wrong with an inventory, said at once and in plain words.

`check` holds one document against its schema (`schemas`). What only merged values can show, as a class may
give one half and a node the other, is in `check_settings`; what only all nodes together can show, in `claims`
and `duplicates`.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..errors import Problem
from ..model import Origin
from .document import Document
from .formats import address_with_prefix, hostname_label, mac_address
from .wording import shown

if TYPE_CHECKING:
    from .schemas import Kind

MAX_PROBLEMS = 100
NAMED = 3
"""Nodes that one conflict names; a mistake in a class would else name all of a thousand nodes, each time."""

Fault = tuple[str, str]
Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check(document: Document, kind: Kind) -> tuple[Problem, ...]:
    """Give all that is wrong with one document, in the order of lines, but no more lines than help."""
    from .schemas import faults

    found = {document.problem(*fault) for fault in islice(faults(document.data, kind), MAX_PROBLEMS + 1)}
    if len(found) > MAX_PROBLEMS:
        found.add(Problem(document.file, 0, "", f"more than {MAX_PROBLEMS} problems, these are some of them"))
    return tuple(sorted(found))


def check_settings(
    settings: Mapping[str, Any], origin: Callable[[str], Origin], name: str | None = None
) -> tuple[Problem, ...]:
    """Give what is wrong with a node's merged values, each of which its schema allows.

    `origin` says where the value at a dotted path, or the nearest thing around it, came from. `name` is the
    node's, which is its host name where it declares none.
    """
    found = [
        *_hostname(settings, name),
        *_network(settings.get("network")),
        *_k3s(settings.get("k3s")),
        *_ssh(settings.get("ssh")),
    ]
    problems = (Problem(origin(path).file, origin(path).line, path, message) for path, message in found)
    return tuple(sorted(set(problems)))


def _hostname(settings: Mapping[str, Any], name: str | None) -> Iterator[Fault]:
    if name is not None and "hostname" not in settings and _spelt(str.lower, hostname_label, name) is None:
        yield "hostname", f"missing, as the node's name {shown(name)} cannot be a host name"


def _network(network: Mapping[str, Any] | None) -> Iterator[Fault]:
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


def _k3s(k3s: Mapping[str, Any] | None) -> Iterator[Fault]:
    if k3s is None:
        return
    if "role" not in k3s:
        yield "k3s.role", "missing, expected one of agent, server and none"
    if k3s.get("role") == "agent" and "server" not in k3s:
        yield "k3s.server", "missing, an agent needs the address of a server, such as https://192.0.2.1:6443"
    taints = [taint.rpartition(":") for taint in k3s.get("taints", ())]
    pairs = Counter((pair.partition("=")[0], effect) for pair, _, effect in taints)
    for key, effect in (pair for pair, count in pairs.items() if count > 1):
        yield "k3s.taints", f"expected one taint of a key and effect, found several of {key} with {effect}"


def _ssh(ssh: Mapping[str, Any] | None) -> Iterator[Fault]:
    if ssh is None:
        return
    if "user" not in ssh:
        yield "ssh.user", "missing, expected the name of a user"
    seen: set[str] = set()
    for key in ssh.get("authorized_keys", ()):
        without_comment = " ".join(key.split(" ")[:2])
        if without_comment in seen:
            yield "ssh.authorized_keys", f"expected each key once, found {shown(key)} again"
        seen.add(without_comment)


def claims(settings: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Give what a node says that it alone has, such as `hostname titan-13` or `network.address 192.0.2.13`.

    Each is a dotted path and a value in one spelling, so that equal claims are equal strings. `settings` may
    be invalid; what makes no sense is not claimed.
    """
    network = settings.get("network")
    network = network if isinstance(network, Mapping) else {}
    found = {
        "hostname": _spelt(str.lower, hostname_label, settings.get("hostname", name)),
        "network.address": _spelt(_bare_address, address_with_prefix, network.get("address")),
        "network.mac": _spelt(str.lower, mac_address, network.get("mac")),
    }
    return tuple(f"{path} {value}" for path, value in found.items() if value is not None)


def duplicates(claims_of: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Give, for each node whose claims others share, a line for each of them that names the others."""
    claimants: defaultdict[str, list[str]] = defaultdict(list)
    for node, made in claims_of.items():
        for claim in dict.fromkeys(made):
            claimants[claim].append(node)
    lines: defaultdict[str, list[str]] = defaultdict(list)
    for claim, nodes in claimants.items():
        path, _, value = claim.partition(" ")
        for node in nodes if len(nodes) > 1 else ():
            lines[node].append(f"{path}: {value} is also that of {_others(node, nodes)}")
    return {node: tuple(sorted(found)) for node, found in lines.items()}


def _others(node: str, nodes: list[str]) -> str:
    named = [other for other in nodes[: NAMED + 1] if other != node][:NAMED]
    left = len(nodes) - 1 - len(named)
    return ", ".join(named) + (f" and {left} more" if left else "")


def _spelt(spelling: Callable[[str], str], check: Callable[[str], None], value: object) -> str | None:
    try:
        if isinstance(value, str):
            check(value)
            return spelling(value)
    except ValueError:
        pass
    return None


def _bare_address(value: str) -> str:
    return str(ipaddress.ip_interface(value).ip)
