"""The network of an emulated machine: the node's own address, and no way out.

QEMU's user-mode network (`-netdev user`) plays the node's network: QEMU is the gateway, the node's SSH port
is one of this host, and nothing else can be reached (`restrict=on`), so a node that boots here never meets
the real cluster. One address may be answered by a service of this host.
"""

from __future__ import annotations

import ipaddress
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import MetisError, UsageError
from ..model import ResolvedNode

PATTERN = frozenset("*?[")
"""What makes the name of an interface one that several may have."""

MAC = "52:54:00:12:34:56"
"""Of a node that declares none; QEMU's own default."""

LEASED = "10.0.2.15"
"""What QEMU leases to a node that uses DHCP, in its own default network."""

SMALLEST = 28
"""The longest prefix that leaves QEMU room for the addresses that it needs itself."""

_RELAY = Path(__file__).with_name("relay.py")
_K3S_PORT = 6443
LAST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Peer:
    """A TCP service of this host that answers for the node's k3s server."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Wiring:
    """How the node's network card is connected.

    `address` is with its prefix, None for DHCP; `interface` is the name that the card must get, None where
    any fits; `port` is of this host and leads to the node's SSH.
    """

    address: ipaddress.IPv4Interface | None
    gateway: ipaddress.IPv4Address | None
    interface: str | None
    mac: str
    port: int


def parse_peer(text: str) -> Peer:
    """A peer from HOST:PORT; raises UsageError for what is neither."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= LAST_PORT or not _is_host(host):
        raise UsageError(f"{text!r} is not a service of this host", "give --peer HOST:PORT")
    return Peer(host.strip("[]"), int(port))


def _is_host(text: str) -> bool:
    return all(char.isascii() and (char.isalnum() or char in ".-:[]") for char in text)


def wiring(node: ResolvedNode, port: int) -> Wiring:
    """How a node is connected; raises MetisError for what an emulated network cannot be."""
    network = node.settings.get("network", {})
    interface = network.get("interface")
    declared = ipaddress.ip_interface(network["address"]) if "address" in network else None
    if declared is not None and not isinstance(declared, ipaddress.IPv4Interface):
        raise MetisError(
            f"{node.name} has the address {declared}", "only nodes with an IPv4 address boot here"
        )
    gateway = ipaddress.ip_address(network["gateway"]) if "gateway" in network else None
    return Wiring(
        address=declared,
        gateway=gateway if isinstance(gateway, ipaddress.IPv4Address) else None,
        interface=interface if interface and not PATTERN & set(interface) else None,
        mac=network.get("mac", MAC),
        port=port,
    )


def nic(wires: Wiring, server: str | None = None, peer: Peer | None = None) -> str:
    """What QEMU's `-nic` takes; with a peer, for the address and port of the k3s server's URL too.

    Raises UsageError where the server cannot be answered for.
    """
    words = ["user", "model=virtio-net-pci", f"mac={wires.mac}", "restrict=on"]
    if wires.address is None:
        return ",".join(
            [*words, f"hostfwd=tcp:127.0.0.1:{wires.port}-{LEASED}:22", *_guest(None, server, peer)]
        )
    network = network_of(wires.address)
    taken = {wires.address.ip}
    if peer is not None and (place := server_of(server)):
        taken.add(place[0])
    free = (host for host in network.hosts() if host not in taken and host != wires.gateway)
    gateway = wires.gateway
    if gateway is None or gateway not in network or gateway in taken:
        gateway = next(free)
    # A lease is a fault of a node with an address of its own, and must be seen.
    words += [f"net={network}", f"host={gateway}", f"dns={next(free)}", f"dhcpstart={_last(network, taken)}"]
    words.append(f"hostfwd=tcp:127.0.0.1:{wires.port}-{wires.address.ip}:22")
    return ",".join([*words, *_guest(network, server, peer)])


def network_of(address: ipaddress.IPv4Interface) -> ipaddress.IPv4Network:
    """The network that QEMU plays: the node's own, or one around it where that is too small."""
    if address.network.prefixlen <= SMALLEST:
        return address.network
    return address.network.supernet(new_prefix=SMALLEST)


def _last(network: ipaddress.IPv4Network, taken: set[ipaddress.IPv4Address]) -> ipaddress.IPv4Address:
    last = network.broadcast_address - 1
    while last in taken:
        last -= 1
    return last


def server_of(url: str | None) -> tuple[ipaddress.IPv4Address, int] | None:
    """The address and port of a k3s server's URL; None where there is none, or it is a name."""
    try:
        parts = urlsplit(url or "")
        return ipaddress.IPv4Address(parts.hostname or ""), parts.port or _K3S_PORT
    except ValueError:
        return None


def _guest(network: ipaddress.IPv4Network | None, server: str | None, peer: Peer | None) -> Iterator[str]:
    if peer is None:
        return
    place = server_of(server)
    if place is None or network is None or place[0] not in network:
        raise UsageError(
            f"--peer cannot answer for {server or 'a node without k3s.server'}",
            "it takes a server with an IPv4 address in the node's own network, and a node with a static one",
        )
    # A fixed connection (`-tcp:`) would serve once; a command is started for each.
    relay = shlex.join([sys.executable, os.fspath(_RELAY), peer.host, str(peer.port)])
    yield f"guestfwd=tcp:{place[0]}:{place[1]}-cmd:{relay.replace(',', ',,')}"


def free_port() -> int:
    """A TCP port of this host that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
