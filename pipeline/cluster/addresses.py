"""Addresses of machines as the inventory, Kubernetes and etcd write them, so that they can be compared."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_interface

Address = IPv4Address | IPv6Address


def parsed(text: str) -> Address | None:
    """An address, with or without the length of its prefix; an IPv4 address within an IPv6 one is that one.

    None for all else: names of hosts, and addresses that only mean something with a link of one machine.
    """
    try:
        address: Address = ip_interface(text).ip
    except ValueError:
        return None
    if "%" in text:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address
