"""Which hosts are this machine itself: what is said to them crosses no network."""

from __future__ import annotations

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Whether a host name or address (without brackets) is this machine's own (RFC 1122, 4291, 6761)."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
