"""Addresses by what the kernel sends over rtnetlink(7)."""

from __future__ import annotations

import json
import socket
import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metis_sentinel import addresses
from tests.support.hosts import taken


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def body(address: str, prefix: int, *, peer: str = "") -> bytes:
    """What RTM_NEWADDR says of an address, and of whom it is at the other end of."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    local, other = (socket.inet_pton(family, each or address) for each in (address, peer))
    attributes = _attribute(1, other) + (_attribute(2, local) if family == socket.AF_INET else b"")
    return struct.pack("=BBBBI", family, prefix, 0, 0, 3) + _attribute(6, bytes(16)) + attributes


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (body("192.0.2.1", 24), [(3, "192.0.2.1/24")]),
        (body("2001:db8::1", 64), [(3, "2001:db8::1/64")]),
        (body("192.0.2.1", 32, peer="192.0.2.9"), [(3, "192.0.2.1/32")]),
        (body("127.0.0.1", 8), []),
        (body("::1", 128), []),
        (body("192.0.2.1", 24)[:12], []),
        (body("192.0.2.1", 24)[:-2], [(3, "192.0.2.1/24")]),
        (b"", []),
    ],
    ids=["IPv4", "IPv6", "with a peer", "loopback", "loopback of IPv6", "no attribute", "cut off", "empty"],
)
def test_an_address_is_told_with_its_prefix(data: bytes, expected: list[tuple[int, str]]) -> None:
    assert list(addresses.address(data)) == expected


@given(st.binary(max_size=200))
def test_no_answer_does_more_than_be_left_out(data: bytes) -> None:
    for _, inner in addresses.messages(data):
        assert isinstance(list(addresses.address(inner)), list)
    assert isinstance(list(addresses.address(data)), list)


def test_the_addresses_of_this_machine_are_those_of_ip() -> None:
    listed = json.loads(subprocess.run(["ip", "-json", "address"], stdout=subprocess.PIPE, check=True).stdout)
    expected = {
        (link["ifname"], f"{each['local']}/{each['prefixlen']}")
        for link in listed
        for each in link["addr_info"]
        if each["scope"] != "host"
    }
    told = taken("/")["addresses"]
    assert isinstance(told, list)
    assert {(each["interface"], each["address"]) for each in told} == expected
